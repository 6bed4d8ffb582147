"""What several controllers remember together, in etcd.

Who may write what of a cluster. A process that has claimed it writes only as long as it owns it: each write demands
so of etcd in its own transaction. A process that has not claimed it writes what an owner writes (`record`, `forget`,
`note_healthy`, `note_version`, `note_standings`, `retire`, `restore`) only as long as nobody owns it. A person's word
is written from anywhere (`declare`, `withdraw`, `pause`, `forget_version`, `note_version` of what is undone), and so
are `revision`, `note_source` and `note_occurrences`. What a source declares is written from anywhere too, but by a
process that has claimed the reading of the sources only as long as it owns that.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Lock

from infrakit_py.clock import Clock, SystemClock
from infrakit_py.errors import ClusterLocked, StoreError
from infrakit_py.model.declared import Declared, Occurrence, Origin, RevisionRecord, SourceStatus
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import GroupVersion, HistoryEntry, VersionRecord, VersionState
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.spi.store import Intent, Pause
from infrakit_py.stores.etcd_calls import EtcdCalls
from infrakit_py.stores.etcd_claims import EtcdClaims
from infrakit_py.stores.etcd_declared import EtcdDeclared
from infrakit_py.stores.etcd_events import EtcdEvents
from infrakit_py.stores.etcd_keys import Keys
from infrakit_py.stores.etcd_ledger import EtcdLedger
from infrakit_py.stores.etcd_machines import EtcdMachines
from infrakit_py.stores.etcd_past import EtcdPast
from infrakit_py.stores.etcd_transfer import EtcdTransfer
from infrakit_py.stores.transfer import Exported


class EtcdStore:
    """See `infrakit_py.spi.store.Store` and `infrakit_py.stores.transfer.Transfer`.

    What is too much for one transaction (more than 100 intents, say) is written in several, in order.
    """

    def __init__(self, calls: EtcdCalls, claims: EtcdClaims, keys: Keys, clock: Clock | None = None) -> None:
        """Ask nobody yet. The clock says when a pause ended."""
        ledger = EtcdLedger(calls, claims, keys, clock or SystemClock())
        self._calls = calls
        self._claims = claims
        self._machines = EtcdMachines(ledger)
        self._past = EtcdPast(ledger)
        self._declared = EtcdDeclared(ledger)
        self._events = EtcdEvents(ledger)
        self._transfer = EtcdTransfer(ledger)
        self._lock = Lock()
        self._exclusive: set[str] = set()

    def close(self) -> None:
        """End the connections. A lease lives on until it is resigned or runs out."""
        self._calls.close()

    def record(self, intents: Sequence[Intent]) -> None:
        self._machines.record(intents)

    def intents(self, cluster: str, group: str | None = None) -> Sequence[Intent]:
        return self._machines.intents(cluster, group)

    def forget(self, intents: Sequence[Intent]) -> None:
        self._machines.forget(intents)

    def revision(self, cluster: str, spec_digest: str, now: float) -> int:
        return self._declared.revision(cluster, spec_digest, now)

    def note_version(self, cluster: str, version: GroupVersion, state: VersionState, now: float, reason: str) -> None:
        self._past.note_version(cluster, version, state, now, reason)

    def versions(self, cluster: str, group: str) -> Sequence[VersionRecord]:
        return self._past.versions(cluster, group)

    def forget_version(self, cluster: str, group: str, fingerprint: str, now: float, reason: str) -> None:
        self._past.forget_version(cluster, group, fingerprint, now, reason)

    def history(self, cluster: str, group: str | None = None) -> Sequence[HistoryEntry]:
        return self._past.history(cluster, group)

    def pause(self, cluster: str, group: str, pause: Pause | None) -> None:
        self._past.pause(cluster, group, pause)

    def pauses(self, cluster: str) -> Mapping[str, Pause]:
        return self._past.pauses(cluster)

    def note_healthy(self, cluster: str, since: Mapping[InstanceId, float | None]) -> None:
        self._machines.note_healthy(cluster, since)

    def healthy_since(self, cluster: str) -> Mapping[InstanceId, float]:
        return self._machines.healthy_since(cluster)

    def declare(self, spec: ClusterSpec, origin: Origin, now: float, *, expected: int | None = None) -> int:
        return self._declared.declare(spec, origin, now, expected=expected)

    def withdraw(self, cluster: str, origin: Origin, now: float, *, prune: bool) -> None:
        self._declared.withdraw(cluster, origin, now, prune=prune)

    def retire(self, cluster: str, revision: int) -> None:
        self._declared.retire(cluster, revision)

    def declared(self) -> Mapping[str, Declared]:
        return self._declared.declared()

    def declared_mark(self) -> int:
        return self._declared.declared_mark()

    def revisions(self, cluster: str) -> Sequence[RevisionRecord]:
        return self._declared.revisions(cluster)

    def note_source(self, status: SourceStatus) -> None:
        self._events.note_source(status)

    def sources(self) -> Mapping[str, SourceStatus]:
        return self._events.sources()

    def note_standings(self, cluster: str, standings: Mapping[str, str]) -> None:
        self._events.note_standings(cluster, standings)

    def standings(self, cluster: str) -> Mapping[str, str]:
        return self._events.standings(cluster)

    def note_occurrences(self, occurrences: Sequence[Occurrence]) -> None:
        self._events.note_occurrences(occurrences)

    def occurrences(
        self, after: int = 0, *, cluster: str | None = None, limit: int = 1000
    ) -> Sequence[tuple[int, Occurrence]]:
        return self._events.occurrences(after, cluster=cluster, limit=limit)

    def clusters(self) -> Sequence[str]:
        return self._transfer.clusters()

    def dump(self, cluster: str) -> Exported:
        return self._transfer.dump(cluster)

    def restore(self, cluster: str, exported: Exported) -> None:
        self._transfer.restore(cluster, exported)

    @contextmanager
    def exclusive(self, cluster: str) -> Iterator[None]:
        """Claim the cluster. ClusterLocked where anybody has, in this process too.

        The claim hangs on the lease: `beat` must be called all the while, as for any other.
        """
        with self._held_here(cluster):
            if self._claims.claim(cluster) is None:
                raise ClusterLocked(
                    f"cluster {cluster} is owned by controller {self._owner(cluster)}",
                    hint="wait for it to let go, or stop it; nothing was touched",
                )
            try:
                yield
            finally:
                with suppress(StoreError):  # it is given back with the next renewal, or with the lease
                    self._claims.release(cluster)

    @contextmanager
    def _held_here(self, cluster: str) -> Iterator[None]:
        with self._lock:
            if cluster in self._exclusive or cluster in self._claims.held():
                raise ClusterLocked(f"cluster {cluster} is already being changed by this process")
            self._exclusive.add(cluster)
        try:
            yield
        finally:
            with self._lock:
                self._exclusive.discard(cluster)

    def _owner(self, cluster: str) -> str:
        with suppress(StoreError):
            return self._claims.owners().get(cluster, "another one")
        return "another one"
