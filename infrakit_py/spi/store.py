"""What is remembered between ticks, and may be lost: it only ever makes things faster or clearer."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from infrakit_py.model.instance import InstanceId


@dataclass(frozen=True, slots=True)
class Intent:
    """The latest creation of a slot: about to be asked for, or asked for already.

    `instance_id` is known once the provider answered. `gone`: that instance was looked up by id and is no
    more, so the slot's next machine takes the next incarnation. `since` is Unix time in seconds.
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


class Store(Protocol):
    """Intents and revisions. Safe for threads; every write is durable when the call returns.

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

    def exclusive(self, cluster: str) -> AbstractContextManager[None]:
        """Hold the cluster against other processes on this machine. ClusterLocked if it is held.

        The hold ends with the process, however that ends.
        """
        ...
