"""What a cloud had no more of, for some minutes: pools are a type in a zone, at the full price or spot.

A pool that could not give many machines at once is asked for half as many, and only one that cannot give a single one
is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from threading import Lock

from infrakit_py.spi.provider import Now


@dataclass(frozen=True, slots=True)
class Pool:
    """Where machines come from."""

    type: str
    zone: str
    spot: bool


class Pools:
    """Safe for threads."""

    def __init__(self, clock: Now, memory_seconds: float) -> None:
        self._clock = clock
        self._memory_seconds = memory_seconds
        self._lock = Lock()
        self._room: dict[Pool, tuple[float, int]] = {}

    def room(self, pool: Pool) -> float:
        """Return how many machines it may have at least; infinity where nothing is known against it."""
        with self._lock:
            until, room = self._room.get(pool, (0.0, 0))
            return room if self._clock.now() < until else inf

    def had_none(self, pool: Pool, asked: int) -> None:
        """Remember that a pool could not give so many machines at once."""
        room = min(self.room(pool), asked // 2)
        with self._lock:
            self._room[pool] = self._clock.now() + self._memory_seconds, int(room)

    def any_left(self, types: Sequence[str], zones: Sequence[str], *, spot: bool) -> bool:
        """Tell whether there is still a pool to try."""
        return any(self.room(Pool(type_, zone, spot)) >= 1 for type_ in types for zone in zones)
