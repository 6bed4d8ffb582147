"""Threads in which the controller is asked, so that a slow store holds up nobody but who waits for it."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final, TypeVar

from anyio import CapacityLimiter, move_on_after
from anyio.to_thread import run_sync

from infrakit_py.api.problems import RETRY_SECONDS, Refusal

T = TypeVar("T")

_AT_ONCE: Final = 16
_WAITING: Final = 64
_PROMPT_SECONDS: Final = 5.0


class Threads:
    """Runs calls in threads: some at once, some more wait, all others are turned away. Used in one event loop."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(_AT_ONCE)
        self._prompt = CapacityLimiter(_AT_ONCE)
        self._asked = 0

    async def call(self, call: Callable[[], T]) -> T:
        """Run a call that may take its time. Refusal (503) where too many wait."""
        if self._asked >= _AT_ONCE + _WAITING:
            raise _busy("too many requests wait for the controller")
        self._asked += 1
        try:
            return await run_sync(call, limiter=self._limiter)
        finally:
            self._asked -= 1

    async def promptly(self, call: Callable[[], T]) -> T:
        """Run a call that takes no time, whatever else is going on. Refusal (503) where it does."""
        with move_on_after(_PROMPT_SECONDS):
            return await run_sync(call, limiter=self._prompt, abandon_on_cancel=True)
        raise _busy("the controller does not answer")


def _busy(detail: str) -> Refusal:
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_SECONDS)})
