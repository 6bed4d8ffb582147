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

    def repeated(
        self, call: Callable[[], T], *, changes: bool = False, definite: tuple[type[ProviderError], ...] = ()
    ) -> T:
        """Return what the call returns. An error that leaves says that it was tried again.

        `changes`: an attempt whose answer was lost may have been heeded, whatever is said to the next one; unless
        that answers with the first one's result, or with what is `definite`, nobody is told that nothing was done.
        """
        doubtful = False

        def once() -> T:
            nonlocal doubtful
            try:
                return call()
            except Transient as exc:
                doubtful = doubtful or not exc.refused
                raise

        policy = Retrying(
            retry=retry_if_exception_type(Transient),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=self._wait,
            sleep=self._clock.sleep,
            reraise=True,
        )
        try:
            return policy(once)
        except ProviderError as exc:
            error = exc
            says_nothing = (exc.refused or not exc.retryable) and not isinstance(exc, definite)
            if changes and doubtful and says_nothing:
                error = Transient(str(exc), hint=exc.hint)
            error.tried_again = True
            if error is exc:
                raise
            raise error from exc

    def _wait(self, state: RetryCallState) -> float:
        longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0**state.attempt_number)
        return self._chance.uniform(longest / 4, longest)
