"""Calls that are made again where the error's class says that it may help."""

from collections.abc import Callable
from random import Random
from typing import Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from infrakit_py.errors import ProviderError, Transient
from infrakit_py.spi.provider import Now

T = TypeVar("T")

_ATTEMPTS: Final = 5
_FIRST_WAIT_SECONDS: Final = 0.2
_LONGEST_WAIT_SECONDS: Final = 5.0


class Repeater:
    """Makes a call up to five times. Safe for threads."""

    def __init__(self, clock: Now, chance: Random) -> None:
        """`chance` spreads what is tried again."""
        self._clock = clock
        self._chance = chance

    def repeated(self, call: Callable[[], T]) -> T:
        """Return what the call returns. An error that leaves says that it was tried again."""
        policy = Retrying(
            retry=retry_if_exception_type(Transient),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=self._wait,
            sleep=self._clock.sleep,
            reraise=True,
        )
        try:
            return policy(call)
        except ProviderError as exc:
            exc.tried_again = True
            raise

    def _wait(self, state: RetryCallState) -> float:
        longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0**state.attempt_number)
        return self._chance.uniform(longest / 4, longest)
