"""Trying a read again within one tick. Writes are repeated by the next tick, under the same token."""

from collections.abc import Callable
from random import Random
from typing import Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from infrakit_py.clock import Clock
from infrakit_py.errors import NoCapacity, ProviderError

T = TypeVar("T")

_ATTEMPTS: Final = 3
_FIRST_WAIT_SECONDS: Final = 0.2
_LONGEST_WAIT_SECONDS: Final = 5.0
_LONGEST_BACK_OFF_SECONDS: Final = 60.0


def retrying(clock: Clock, chance: Random, call: Callable[[], T]) -> T:
    """Run `call`, again with jittered waits while its error's class says so, and raise the last error."""

    def wait(state: RetryCallState) -> float:
        return _jittered(chance, state.attempt_number, _FIRST_WAIT_SECONDS, 0.0, _LONGEST_WAIT_SECONDS)

    policy = Retrying(
        retry=retry_if_exception(_is_worth_repeating),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait,
        sleep=clock.sleep,
        reraise=True,
    )
    return policy(call)


def is_retryable(error: BaseException) -> bool:
    return isinstance(error, ProviderError) and error.retryable


def _is_worth_repeating(error: BaseException) -> bool:
    return isinstance(error, ProviderError) and error.retryable and not error.tried_again


def back_off_seconds(chance: Random, attempt: int, error: ProviderError | None) -> float:
    """Return how long a group waits after its `attempt`th failed tick in a row, at random so that many spread out."""
    first = 10.0 if isinstance(error, NoCapacity) else 1.0
    return _jittered(chance, attempt, first, first / 2, _LONGEST_BACK_OFF_SECONDS)


def _jittered(chance: Random, attempt: int, first: float, least: float, most: float) -> float:
    return chance.uniform(least, max(least, min(most, first * 2.0 ** min(attempt - 1, 16))))
