"""The one way to now. Time is Unix time in seconds; waiting goes through the clock, so that it can be virtual."""

import time
from threading import Condition
from typing import Final, Protocol

_SIGNAL_DELAY_SECONDS: Final = 0.5


class Clock(Protocol):
    """Source of time. Instants are seconds since 1970-01-01 UTC."""

    def now(self) -> float:
        """Return the current instant."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed; at once for zero or less."""
        ...

    def wait(self, condition: Condition, seconds: float) -> None:
        """Wait on a held condition until it is notified or `seconds` have passed, or wake early for no reason."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)

    def wait(self, condition: Condition, seconds: float) -> None:
        # CPython runs signal handlers in the main thread between instructions; a signal that comes just before a
        # long wait begins would be noticed only after it.
        if seconds > 0:
            condition.wait(min(seconds, _SIGNAL_DELAY_SECONDS))


class VirtualClock:
    """Time that moves only when somebody waits: hours of a rollout pass in milliseconds."""

    def __init__(self, start: float = 1_750_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += max(0.0, seconds)

    def wait(self, condition: Condition, seconds: float) -> None:
        del condition  # nobody else runs in virtual time, so nobody can notify
        self.sleep(seconds)
