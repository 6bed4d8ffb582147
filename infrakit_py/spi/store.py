"""What is remembered between ticks, and may be lost: it only ever makes things faster or clearer."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from infrakit_py.model.declared import Declared, Occurrence, Origin, RevisionRecord, SourceStatus
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import GroupVersion, HistoryEntry, VersionRecord, VersionState
from infrakit_py.model.spec import ClusterSpec

ONCE: Final = 0.0
"""In place of the time since when a machine is healthy: it was so once, and is not any more."""


@dataclass(frozen=True, slots=True)
class Intent:
    """The latest creation of a slot: about to be asked for, or asked for already.

    `instance_id` is known once the provider answered. `gone`: that instance was looked up by id and is no
    more, so the slot's next machine takes the next incarnation. `since` is Unix time in seconds. `ticket` is what the
    provider arranged for the creation, so that it is the same when it is asked for again.
    """

    cluster: str
    group: str
    provider: str
    slot: str
    incarnation: int
    logical_id: str | None
    fingerprint: str
    since: float
    instance_id: InstanceId | None = None
    gone: bool = False
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """A person's word that a group's rollout shall not go on. `at` is Unix time in seconds."""

    reason: str
    at: float


class Store(Protocol):
    """Intents, revisions, versions of groups. Safe for threads; every write is durable when the call returns.

    Raise StoreError where the store cannot be used. Where several controllers share a store, a write that concerns a
    cluster which this one has claimed and does not own any more raises Fenced, and changes nothing.
    """

    def record(self, intents: Sequence[Intent]) -> None:
        """Write intents, replacing those of the same cluster, group, provider and slot. All or none."""
        ...

    def intents(self, cluster: str, group: str | None = None) -> Sequence[Intent]:
        """Return the intents of a cluster, or of one of its groups."""
        ...

    def forget(self, intents: Sequence[Intent]) -> None:
        """Drop intents, if they still are what is stored. Idempotent."""
        ...

    def revision(self, cluster: str, spec_digest: str, now: float) -> int:
        """Return the number of this spec: the last one if its digest is the same, else the next."""
        ...

    def note_version(self, cluster: str, version: GroupVersion, state: VersionState, now: float, reason: str) -> None:
        """Remember what became of a version, told apart by group and fingerprint, and enter it into the history.

        Nothing happens if its state and reason are so already.
        """
        ...

    def versions(self, cluster: str, group: str) -> Sequence[VersionRecord]:
        """Return the versions of a group that are remembered, that of the latest change last.

        Versions that this release cannot read are left out. All GOOD ones of the past are kept, up to some number.
        """
        ...

    def forget_version(self, cluster: str, group: str, fingerprint: str, now: float, reason: str) -> None:
        """Drop what became of a version, so that it is tried anew, and enter that into the history. Idempotent."""
        ...

    def history(self, cluster: str, group: str | None = None) -> Sequence[HistoryEntry]:
        """Return what happened to the versions of a group, or of all, the oldest first."""
        ...

    def pause(self, cluster: str, group: str, pause: Pause | None) -> None:
        """Remember that a group's rollout is paused, or (None) that it is not. Idempotent."""
        ...

    def pauses(self, cluster: str) -> Mapping[str, Pause]:
        """Return the paused groups."""
        ...

    def note_healthy(self, cluster: str, since: Mapping[InstanceId, float | None]) -> None:
        """Remember since when machines are healthy (ONCE: they were; None: nothing is known of them). Idempotent."""
        ...

    def healthy_since(self, cluster: str) -> Mapping[InstanceId, float]:
        """Return since when machines have been healthy, as last noted; ONCE for those that were, and are not now."""
        ...

    def declare(self, spec: ClusterSpec, origin: Origin, now: float, *, expected: int | None = None) -> int:
        """Put a validated spec in force and return its number: that in force if it is the same, else the next.

        A cluster that was withdrawn is declared again. Conflict where `expected` is given and the number in force is
        another (0: none is).
        """
        ...

    def withdraw(self, cluster: str, origin: Origin, now: float, *, prune: bool) -> None:
        """Remember that nobody declares the cluster any more, and whether its machines shall go. Idempotent.

        Nothing happens where it never was declared.
        """
        ...

    def retire(self, cluster: str, revision: int) -> None:
        """Drop a withdrawn cluster from what is declared, if that revision is still in force. Idempotent."""
        ...

    def declared(self) -> Mapping[str, Declared]:
        """Return what is in force, by cluster, also what is withdrawn. What this release cannot read is left out."""
        ...

    def declared_mark(self) -> int:
        """Return a number that grows whenever what `declared` returns may have changed. Cheap: ask it often."""
        ...

    def revisions(self, cluster: str) -> Sequence[RevisionRecord]:
        """Return the cluster's numbers, the oldest first, up to some number of them."""
        ...

    def note_source(self, status: SourceStatus) -> None:
        """Remember where a source stands, in place of what was remembered of it. Idempotent."""
        ...

    def sources(self) -> Mapping[str, SourceStatus]:
        """Return where sources stand, by name."""
        ...

    def note_standings(self, cluster: str, standings: Mapping[str, str]) -> None:
        """Remember where a cluster's groups stand, as texts for who asks another controller; "" drops one.

        May be lost, as everything here.
        """
        ...

    def standings(self, cluster: str) -> Mapping[str, str]:
        """Return what was last noted of each of the cluster's groups."""
        ...

    def note_occurrences(self, occurrences: Sequence[Occurrence]) -> None:
        """Remember what happened. A bounded number is kept, and the oldest go. It may be lost when power goes."""
        ...

    def occurrences(
        self, after: int = 0, *, cluster: str | None = None, limit: int = 1000
    ) -> Sequence[tuple[int, Occurrence]]:
        """Return what happened after a number, the oldest first, each with its own number; numbers only grow.

        `after` less than 0: the latest `limit` of them.
        """
        ...

    def exclusive(self, cluster: str) -> AbstractContextManager[None]:
        """Hold the cluster against other processes on this machine. ClusterLocked if it is held.

        The hold ends with the process, however that ends.
        """
        ...
