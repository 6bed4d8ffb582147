"""When another controller has certainly stopped, whatever became of its lease.

etcd may end a lease early: one of its members that slept, or waited for its disk, goes on to believe that it leads,
and has leases end that were renewed elsewhere meanwhile. Their owner does not know, and works on until its own
deadline. So a controller leaves a sign with each renewal, before it counts on it, and that outlives the lease. Who
wants what it owned waits from when the last sign was first seen here, for as long as a renewal lasts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from infrakit_py.stores.etcd_wire import Found

_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class LastOwner:
    """Who claimed something last and has not given it back, and for how long its renewals last."""

    member: str
    lease: int
    ttl_seconds: int


class Sightings:
    """Signs of life, and when each was first seen. Safe for threads."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = Lock()
        self._seen: dict[int, tuple[int, float]] = {}

    def see(self, signs: Sequence[Found]) -> None:
        """Take note of signs that were just read. Who looks often waits less when it matters."""
        for sign in signs:
            self._first_seen(_lease(sign), sign.modified)

    def left_seconds(self, owner: LastOwner, signs: Sequence[Found]) -> float:
        """Return how long it may still believe to own what it did; `signs`: its own, as just read, if it is there.

        Nobody can know that of one whose sign was never seen, or is another one's by now: the time begins then.
        """
        modified = next((sign.modified for sign in signs if _lease(sign) == owner.lease), 0)
        return self._first_seen(owner.lease, modified) + owner.ttl_seconds - self._now()

    def _first_seen(self, lease: int, modified: int) -> float:
        with self._lock:
            known = self._seen.get(lease)
            if known is None or known[0] != modified:
                known = self._seen[lease] = (modified, self._now())
                for old in list(self._seen)[:-_KEPT]:
                    del self._seen[old]
            return known[1]


def _lease(sign: Found) -> int:
    return int(sign.value)
