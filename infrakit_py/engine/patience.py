"""How soon a group that only waits is looked at again: at once, then half as often each time, down to the poll."""

from typing import Final

SOON_SECONDS: Final = 0.02
LIMITED_POLLS: Final = 5
"""A group that waits for a provider's limits is looked at so many times less often than others that wait."""


class Patience:
    """The waits of one group between its ticks. `reset` when it has acted, or something was heard of."""

    def __init__(self, poll_seconds: float) -> None:
        self._poll_seconds = poll_seconds
        self._seconds = SOON_SECONDS

    def reset(self) -> None:
        self._seconds = SOON_SECONDS

    def next(self) -> float:
        """Return how long to wait now, in seconds."""
        seconds = min(self._seconds, self._poll_seconds)
        self._seconds = min(self._seconds * 2, self._poll_seconds)
        return seconds

    def limited(self) -> float:
        """Return how long to wait at most for a provider's limits."""
        return self._poll_seconds * LIMITED_POLLS

    def tick_after(self, now: float, due: float, interval_seconds: float) -> float:
        """Return the first tick after `now` that is not before `due`: the ticks between find nothing changed."""
        if due <= now:
            due = now + self._seconds / 2
        while now < due:
            step = min(self.next(), interval_seconds)
            skipped = int((due - now) // step) if step == min(self._poll_seconds, interval_seconds) else 0
            now += max(1, skipped) * step
        return now
