"""What is remembered between ticks, and may be lost: it only ever makes things faster or clearer."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import GroupVersion, HistoryEntry, VersionRecord, VersionState

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

    Raise StoreError where the store cannot be used.
    """

    def record(self, intents: Sequence[Intent]) -> None:
        """Write intents, replacing those of the same cluster, group, provider and slot. All or none."""
        ...

    def intents(self, cluster: str) -> Sequence[Intent]:
        """Return the cluster's intents."""
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

    def exclusive(self, cluster: str) -> AbstractContextManager[None]:
        """Hold the cluster against other processes on this machine. ClusterLocked if it is held.

        The hold ends with the process, however that ends.
        """
        ...
