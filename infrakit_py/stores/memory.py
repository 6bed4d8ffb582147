"""A store that lives as long as its process."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice, takewhile
from threading import Lock

from infrakit_py.clock import Clock, SystemClock
from infrakit_py.errors import ClusterLocked
from infrakit_py.model.declared import Declared, Occurrence, Origin, RevisionRecord, SourceStatus
from infrakit_py.model.fingerprint import spec_digest as digest_of
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import GroupVersion, HistoryEntry, VersionRecord, VersionState
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.spi.store import Intent, Pause
from infrakit_py.stores import declaring, past
from infrakit_py.stores.kept import Kept
from infrakit_py.stores.transfer import Exported, Numbered


class MemoryStore:
    """See `infrakit_py.spi.store.Store` and `infrakit_py.stores.transfer.Transfer`."""

    def __init__(self, clock: Clock | None = None) -> None:
        """Begin with nothing. The clock says when a pause ended."""
        self._clock = clock or SystemClock()
        self._lock = Lock()
        self._clusters: dict[str, Kept] = {}
        self._sources: dict[str, SourceStatus] = {}
        self._occurrences: deque[tuple[int, Occurrence]] = deque(maxlen=past.OCCURRENCES_KEPT)
        self._last_occurrence = 0
        self._mark = 0
        self._held: set[str] = set()

    @classmethod
    def remembering(cls, cluster: str, remembered: past.Remembered, clock: Clock | None = None) -> "MemoryStore":
        """Return a store that begins with what another one remembers of a cluster. Nothing of it is declared."""
        store = cls(clock)
        numbers = {remembered.revision: remembered.spec_digest} if remembered.revision else {}
        if (in_force := remembered.in_force) is not None:
            numbers[in_force.revision] = in_force.spec_digest
        exported = Exported(
            intents=tuple(remembered.intents),
            revisions=tuple(Numbered(RevisionRecord(*number, at=0.0)) for number in sorted(numbers.items())),
            in_force=in_force,
            versions=tuple(remembered.versions),
            history=tuple(remembered.history),
            pauses=remembered.pauses,
            healthy_since=remembered.healthy_since,
        )
        store.restore(cluster, exported)
        return store

    def record(self, intents: Sequence[Intent]) -> None:
        with self._lock:
            for intent in intents:
                self._of(intent.cluster).intents[intent.group][intent.provider, intent.slot] = intent

    def intents(self, cluster: str, group: str | None = None) -> Sequence[Intent]:
        with self._lock:
            groups = self._seen(cluster).intents
            chosen = groups.values() if group is None else (groups.get(group, {}),)
            return [intent for places in chosen for intent in places.values()]

    def forget(self, intents: Sequence[Intent]) -> None:
        with self._lock:
            for intent in intents:
                places = self._seen(intent.cluster).intents.get(intent.group, {})
                if places.get((intent.provider, intent.slot)) == intent:
                    del places[intent.provider, intent.slot]

    def revision(self, cluster: str, spec_digest: str, now: float) -> int:
        with self._lock:
            return self._of(cluster).note(spec_digest, now)

    def note_version(self, cluster: str, version: GroupVersion, state: VersionState, now: float, reason: str) -> None:
        with self._lock:
            kept = self._of(cluster)
            records = kept.versions[version.group.name]
            before = records.get(version.fingerprint)
            if before is not None and (before.state, before.reason) == (state, reason):
                return
            records.pop(version.fingerprint, None)
            records[version.fingerprint] = VersionRecord(version, state, now, reason)
            alike = [other for other, record in records.items() if past.kept(record.state) == past.kept(state)]
            for fingerprint in alike[: -past.kept(state)]:
                del records[fingerprint]
            kept.history.append(past.version_entry(version, state.value, now, reason))

    def versions(self, cluster: str, group: str) -> Sequence[VersionRecord]:
        with self._lock:
            return list(self._seen(cluster).versions.get(group, {}).values())

    def forget_version(self, cluster: str, group: str, fingerprint: str, now: float, reason: str) -> None:
        with self._lock:
            kept = self._seen(cluster)
            record = kept.versions.get(group, {}).pop(fingerprint, None)
            if record is not None:
                kept.history.append(past.version_entry(record.version, past.RETRIED, now, reason))

    def history(self, cluster: str, group: str | None = None) -> Sequence[HistoryEntry]:
        with self._lock:
            return [entry for entry in self._seen(cluster).history if group in (None, entry.group)]

    def pause(self, cluster: str, group: str, pause: Pause | None) -> None:
        with self._lock:
            kept = self._of(cluster)
            entry = past.pause_entry(group, kept.pauses.get(group), pause, self._clock.now())
            if entry is None:
                return
            kept.pauses.pop(group, None)
            if pause is not None:
                kept.pauses[group] = pause
            kept.history.append(entry)

    def pauses(self, cluster: str) -> Mapping[str, Pause]:
        with self._lock:
            return dict(self._seen(cluster).pauses)

    def note_healthy(self, cluster: str, since: Mapping[InstanceId, float | None]) -> None:
        with self._lock:
            healthy = self._of(cluster).healthy
            for instance, at in since.items():
                if at is None:
                    healthy.pop(instance, None)
                else:
                    healthy[instance] = at

    def healthy_since(self, cluster: str) -> Mapping[InstanceId, float]:
        with self._lock:
            return dict(self._seen(cluster).healthy)

    def declare(self, spec: ClusterSpec, origin: Origin, now: float, *, expected: int | None = None) -> int:
        spec_digest = digest_of(spec)
        with self._lock:
            declaring.require(spec.name, self._seen(spec.name).in_force, expected)
            number, changed = self._of(spec.name).declare(spec, spec_digest, origin, now)
            self._mark += changed
            return number

    def withdraw(self, cluster: str, origin: Origin, now: float, *, prune: bool) -> None:
        with self._lock:
            kept = self._seen(cluster)
            in_force = declaring.withdrawn(kept.in_force, origin, now, prune=prune)
            self._mark += in_force != kept.in_force
            kept.in_force = in_force

    def retire(self, cluster: str, revision: int) -> None:
        with self._lock:
            kept = self._seen(cluster)
            if declaring.may_retire(kept.in_force, revision):
                kept.in_force = None
                self._mark += 1

    def declared(self) -> Mapping[str, Declared]:
        with self._lock:
            found = {cluster: kept.declared() for cluster, kept in sorted(self._clusters.items())}
            return {cluster: declared for cluster, declared in found.items() if declared is not None}

    def declared_mark(self) -> int:
        with self._lock:
            return self._mark

    def revisions(self, cluster: str) -> Sequence[RevisionRecord]:
        with self._lock:
            return [numbered.record for numbered in self._seen(cluster).revisions.values()]

    def note_source(self, status: SourceStatus) -> None:
        with self._lock:
            self._sources[status.name] = status

    def sources(self) -> Mapping[str, SourceStatus]:
        with self._lock:
            return dict(sorted(self._sources.items()))

    def note_standings(self, cluster: str, standings: Mapping[str, str]) -> None:
        with self._lock:
            before = self._of(cluster).standings
            before.update(standings)
            for group in [group for group, text in before.items() if not text]:
                del before[group]

    def standings(self, cluster: str) -> Mapping[str, str]:
        with self._lock:
            return dict(self._seen(cluster).standings)

    def note_occurrences(self, occurrences: Sequence[Occurrence]) -> None:
        with self._lock:
            for occurrence in occurrences:
                self._last_occurrence += 1
                self._occurrences.append((self._last_occurrence, occurrence))

    def occurrences(
        self, after: int = 0, *, cluster: str | None = None, limit: int = 1000
    ) -> Sequence[tuple[int, Occurrence]]:
        with self._lock:
            wanted = (each for each in reversed(self._occurrences) if cluster in (None, each[1].cluster))
            if after < 0:
                return list(islice(wanted, max(limit, 0)))[::-1]
            return list(takewhile(lambda each: each[0] > after, wanted))[::-1][: max(limit, 0)]

    def clusters(self) -> Sequence[str]:
        with self._lock:
            return sorted(cluster for cluster, kept in self._clusters.items() if kept.exported() != Exported())

    def dump(self, cluster: str) -> Exported:
        with self._lock:
            return self._seen(cluster).exported()

    def restore(self, cluster: str, exported: Exported) -> None:
        with self._lock:
            self._clusters[cluster] = Kept.restored(exported)
            self._mark += 1

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

    def _of(self, cluster: str) -> Kept:
        """Return what is remembered of a cluster, to write to it."""
        return self._clusters.setdefault(cluster, Kept())

    def _seen(self, cluster: str) -> Kept:
        """Return what is remembered of a cluster, where a name that nobody knows shall leave nothing behind."""
        return self._clusters.get(cluster) or Kept()
