"""What is remembered of a cluster as one value, to be taken from one store to another."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from infrakit_py.model.declared import RevisionRecord
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import HistoryEntry, VersionRecord
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.spi.store import Intent, Pause, Store
from infrakit_py.stores.declaring import InForce

_NAME: Final = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
"""Names become parts of keys and of names of files, so that no other may come in."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """One number of a cluster's past, with its spec as long as that is kept; `infra apply` leaves none."""

    record: RevisionRecord
    spec: ClusterSpec | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """All that a store remembers of one cluster, each part in the order in which the store gives it.

    What belongs to a moment (leases, where groups stand) or to all clusters (sources, events) is not part of it. The
    spec of the revision in force is always there. `left_out`: how much of it this release cannot read.
    """

    intents: tuple[Intent, ...] = ()
    revisions: tuple[Numbered, ...] = ()
    in_force: InForce | None = None
    versions: tuple[VersionRecord, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    healthy_since: Mapping[InstanceId, float] = field(default_factory=dict)
    left_out: int = 0


class Transfer(Store, Protocol):
    """A store whose clusters can be taken elsewhere. What it gives holds secrets: specs and versions do."""

    def clusters(self) -> Sequence[str]:
        """Return the names of the clusters of which anything is remembered, in alphabetical order."""
        ...

    def dump(self, cluster: str) -> Exported:
        """Return what is remembered of a cluster, as of one moment; an empty value where nothing is.

        What this release cannot read is left out and counted, and `in_force` with its spec.
        """
        ...

    def restore(self, cluster: str, exported: Exported) -> None:
        """Remember exactly this of a cluster, in place of all that was remembered of it. All or nothing.

        A store that cannot write so much at once writes `in_force` last, and the call may be repeated. Later numbers
        of revisions follow those that were restored, and `declared_mark` grows. Fenced as every write is. The caller
        holds the cluster (`exclusive`) and has looked whether the value is whole (`require_whole`).
        """
        ...


def require_whole(cluster: str, exported: Exported) -> None:
    """Raise ValueError where the parts of a value do not fit the cluster or one another: where, without values."""
    groups = {*(intent.group for intent in exported.intents), *exported.pauses}
    groups.update(record.version.group.name for record in exported.versions)
    if not all(_NAME.fullmatch(name) for name in (cluster, *groups)):
        raise ValueError("a name of the cluster or of a group is none that a file can declare")
    numbers = [numbered.record.number for numbered in exported.revisions]
    if any(later <= earlier for earlier, later in zip([0, *numbers], numbers, strict=False)):
        raise ValueError("revisions: their numbers do not grow")
    if any(intent.cluster != cluster for intent in exported.intents):
        raise ValueError("intents: one is another cluster's")
    for numbered in exported.revisions:
        if numbered.spec is not None:
            _require_spec(cluster, numbered.record.number, numbered.spec)
    if exported.in_force is not None:
        _require_in_force(exported.in_force, exported.revisions)


def _require_spec(cluster: str, number: int, spec: ClusterSpec) -> None:
    if spec.name != cluster:
        raise ValueError(f"revision {number}: its spec is another cluster's")
    for name, group in spec.groups.items():
        if group.name != name or group.provider not in spec.providers or group.image not in spec.images:
            raise ValueError(f"revision {number}: a group has another name, or a provider or image that is not there")


def _require_in_force(in_force: InForce, revisions: Sequence[Numbered]) -> None:
    found = next((each for each in revisions if each.record.number == in_force.revision), None)
    if in_force.origin is None:
        raise ValueError("in_force: nobody declared it")
    if found is None or found.spec is None:
        raise ValueError(f"in_force: the spec of revision {in_force.revision} is not there")
    if found.record.spec_digest != in_force.spec_digest:
        raise ValueError(f"in_force: revision {in_force.revision} has another digest")
