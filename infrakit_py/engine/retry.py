"""Trying a read again within one tick. Writes are repeated by the next tick, under the same token."""

from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from infrakit_py.clock import Clock
from infrakit_py.errors import NoCapacity, ProviderError

T = TypeVar("T")

_ATTEMPTS: Final = 3
_FIRST_WAIT_SECONDS: Final = 0.2
_LONGEST_WAIT_SECONDS: Final = 5.0


def retrying(clock: Clock, call: Callable[[], T]) -> T:
    """Run `call`, again with jittered waits while its error's class says so, and raise the last error."""
    policy = Retrying(
        retry=retry_if_exception(is_retryable),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS),
        sleep=clock.sleep,
        reraise=True,
    )
    return policy(call)


def is_retryable(error: BaseException) -> bool:
    return isinstance(error, ProviderError) and error.retryable


def back_off_seconds(attempt: int, error: ProviderError | None) -> float:
    """Return how long a group waits after its `attempt`th failed tick in a row; jitter is the runner's affair."""
    first = 10.0 if isinstance(error, NoCapacity) else 1.0
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    return float(wait_random_exponential(multiplier=first, max=60.0, min=first / 2)(state))
