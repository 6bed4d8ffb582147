"""What is remembered of a cluster, in all stores alike: how much of it, and in which words. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import GroupVersion, HistoryEntry, VersionRecord, VersionState
from infrakit_py.spi.store import Intent, Pause
from infrakit_py.stores.declaring import InForce

GOOD_KEPT: Final = 10
"""Good versions of a group that are kept, to go back to."""
OTHERS_KEPT: Final = 20
"""Versions of a group that are kept in all other states together."""
HISTORY_KEPT: Final = 1000
"""Lines of history of a cluster that are kept."""

OCCURRENCES_KEPT: Final = 10_000
"""Events of all clusters together that are kept."""

RETRIED: Final = "retried"
PAUSED: Final = "paused"
RESUMED: Final = "resumed"


@dataclass(frozen=True, slots=True)
class Remembered:
    """All that a store remembers of one cluster, in the order in which the store gives it."""

    intents: Sequence[Intent] = ()
    revision: int = 0
    spec_digest: str = ""
    versions: Sequence[VersionRecord] = ()
    history: Sequence[HistoryEntry] = ()
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    healthy_since: Mapping[InstanceId, float] = field(default_factory=dict)
    in_force: InForce | None = None


def kept(state: VersionState) -> int:
    """Return how many versions of a group are kept beside one another in this state, or in those like it."""
    return GOOD_KEPT if state is VersionState.GOOD else OTHERS_KEPT


def version_entry(version: GroupVersion, event: str, at: float, reason: str) -> HistoryEntry:
    """Return the line that tells what became of a version."""
    image = version.image
    return HistoryEntry(
        at, version.group.name, event, version.revision, image.name, image.identity, version.fingerprint, reason
    )


def pause_entry(group: str, before: Pause | None, now: Pause | None, at: float) -> HistoryEntry | None:
    """Return the line that tells of a pause or its end; None where nothing changes. A pause is its reason."""
    if (before.reason if before is not None else None) == (now.reason if now is not None else None):
        return None
    if now is None:
        return HistoryEntry(at, group, RESUMED, 0, "", "", "")
    return HistoryEntry(now.at, group, PAUSED, 0, "", "", "", now.reason)
