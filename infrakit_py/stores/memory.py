"""A store that lives as long as its process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from infrakit_py.errors import ClusterLocked
from infrakit_py.spi.store import Intent

_Key = tuple[str, str, str, str]


def key(intent: Intent) -> _Key:
    """Return what an intent replaces: one creation a slot is under way at most."""
    return intent.cluster, intent.group, intent.provider, intent.slot


class MemoryStore:
    """See `infrakit_py.spi.store.Store`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._intents: dict[_Key, Intent] = {}
        self._revisions: dict[str, tuple[int, str]] = {}
        self._held: set[str] = set()

    def record(self, intents: Sequence[Intent]) -> None:
        with self._lock:
            self._intents.update((key(intent), intent) for intent in intents)

    def intents(self, cluster: str) -> Sequence[Intent]:
        with self._lock:
            return [intent for intent in self._intents.values() if intent.cluster == cluster]

    def forget(self, intents: Sequence[Intent]) -> None:
        with self._lock:
            for intent in intents:
                if self._intents.get(key(intent)) == intent:
                    del self._intents[key(intent)]

    def revision(self, cluster: str, spec_digest: str, now: float) -> int:
        del now
        with self._lock:
            number, digest = self._revisions.get(cluster, (0, ""))
            if digest != spec_digest:
                number += 1
                self._revisions[cluster] = (number, spec_digest)
            return number

    @contextmanager
    def exclusive(self, cluster: str) -> Iterator[None]:
        with self._lock:
            if cluster in self._held:
                raise ClusterLocked(f"cluster {cluster}: already being changed")
            self._held.add(cluster)
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(cluster)
