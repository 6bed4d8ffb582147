"""A store that lives as long as its process."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock

from infrakit_py.clock import Clock, SystemClock
from infrakit_py.errors import ClusterLocked
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import GroupVersion, HistoryEntry, VersionRecord, VersionState
from infrakit_py.spi.store import Intent, Pause
from infrakit_py.stores import past

_Key = tuple[str, str, str, str]


def key(intent: Intent) -> _Key:
    """Return what an intent replaces: one creation a slot is under way at most."""
    return intent.cluster, intent.group, intent.provider, intent.slot


class MemoryStore:
    """See `infrakit_py.spi.store.Store`."""

    def __init__(self, clock: Clock | None = None) -> None:
        """Begin with nothing. The clock says when a pause ended."""
        self._clock = clock or SystemClock()
        self._lock = Lock()
        self._intents: dict[_Key, Intent] = {}
        self._revisions: dict[str, tuple[int, str]] = {}
        self._versions: defaultdict[tuple[str, str], dict[str, VersionRecord]] = defaultdict(dict)
        self._history: defaultdict[str, list[HistoryEntry]] = defaultdict(list)
        self._pauses: defaultdict[str, dict[str, Pause]] = defaultdict(dict)
        self._healthy: defaultdict[str, dict[InstanceId, float]] = defaultdict(dict)
        self._held: set[str] = set()

    @classmethod
    def remembering(cls, cluster: str, remembered: past.Remembered, clock: Clock | None = None) -> "MemoryStore":
        """Return a store that begins with what another one remembers of a cluster."""
        store = cls(clock)
        store._intents.update((key(intent), intent) for intent in remembered.intents)
        if remembered.revision:
            store._revisions[cluster] = (remembered.revision, remembered.spec_digest)
        for record in remembered.versions:
            store._versions[cluster, record.version.group.name][record.version.fingerprint] = record
        store._history[cluster].extend(remembered.history)
        store._pauses[cluster].update(remembered.pauses)
        store._healthy[cluster].update(remembered.healthy_since)
        return store

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

    def note_version(self, cluster: str, version: GroupVersion, state: VersionState, now: float, reason: str) -> None:
        with self._lock:
            records = self._versions[cluster, version.group.name]
            before = records.get(version.fingerprint)
            if before is not None and (before.state, before.reason) == (state, reason):
                return
            records.pop(version.fingerprint, None)
            records[version.fingerprint] = VersionRecord(version, state, now, reason)
            alike = [other for other, record in records.items() if past.kept(record.state) == past.kept(state)]
            for fingerprint in alike[: -past.kept(state)]:
                del records[fingerprint]
            self._enter(cluster, past.version_entry(version, state.value, now, reason))

    def versions(self, cluster: str, group: str) -> Sequence[VersionRecord]:
        with self._lock:
            return list(self._versions[cluster, group].values())

    def forget_version(self, cluster: str, group: str, fingerprint: str, now: float, reason: str) -> None:
        with self._lock:
            record = self._versions[cluster, group].pop(fingerprint, None)
            if record is not None:
                self._enter(cluster, past.version_entry(record.version, past.RETRIED, now, reason))

    def history(self, cluster: str, group: str | None = None) -> Sequence[HistoryEntry]:
        with self._lock:
            return [entry for entry in self._history[cluster] if group in (None, entry.group)]

    def pause(self, cluster: str, group: str, pause: Pause | None) -> None:
        with self._lock:
            pauses = self._pauses[cluster]
            entry = past.pause_entry(group, pauses.get(group), pause, self._clock.now())
            if entry is None:
                return
            pauses.pop(group, None)
            if pause is not None:
                pauses[group] = pause
            self._enter(cluster, entry)

    def pauses(self, cluster: str) -> Mapping[str, Pause]:
        with self._lock:
            return dict(self._pauses[cluster])

    def note_healthy(self, cluster: str, since: Mapping[InstanceId, float | None]) -> None:
        with self._lock:
            healthy = self._healthy[cluster]
            for instance, at in since.items():
                if at is None:
                    healthy.pop(instance, None)
                else:
                    healthy[instance] = at

    def healthy_since(self, cluster: str) -> Mapping[InstanceId, float]:
        with self._lock:
            return dict(self._healthy[cluster])

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

    def _enter(self, cluster: str, entry: HistoryEntry) -> None:
        lines = self._history[cluster]
        lines.append(entry)
        del lines[: -past.HISTORY_KEPT]
