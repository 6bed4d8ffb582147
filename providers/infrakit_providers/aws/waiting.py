"""Waiting for what AWS has accepted and not done yet: looked at now and then, and never for ever."""

from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import RetryCallState, RetryError, Retrying, retry_if_result, wait_exponential

from infrakit_py.errors import Transient
from infrakit_py.spi.provider import Now

T = TypeVar("T")

_FIRST_LOOK_SECONDS: Final = 1.0
_SELDOM_SECONDS: Final = 15.0


class Overdue(Transient):
    """It took longer than was waited for. It may come yet, so whoever repeats looks again, and not at once."""


def awaited(clock: Now, look: Callable[[], T | None], what: str, *, seconds: float) -> T:
    """Return what `look` finds as soon as it is anything. Overdue where that takes longer than `seconds`."""
    until = clock.now() + seconds

    def is_over(state: RetryCallState) -> bool:
        del state
        return clock.now() >= until

    policy = Retrying(
        retry=retry_if_result(lambda found: found is None),
        stop=is_over,
        wait=wait_exponential(multiplier=_FIRST_LOOK_SECONDS, max=_SELDOM_SECONDS),
        sleep=clock.sleep,
    )
    try:
        found = policy(look)
    except RetryError as exc:
        raise Overdue(f"aws: {what} has taken more than {seconds / 60:.0f} minutes") from exc
    if found is None:  # what is retried until it is none of it
        raise Overdue(f"aws: {what} came to nothing")
    return found
