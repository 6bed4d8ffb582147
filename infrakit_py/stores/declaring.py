"""What is in force of a cluster, and which number a spec gets: the same decisions in all stores. Pure.

Numbers are shared with `infra apply`, which declares nothing: what it applied has a number of the same sequence, and
what is declared stays what it is.
"""

from dataclasses import dataclass, replace
from typing import Final

from infrakit_py.errors import Conflict
from infrakit_py.model.declared import Declared, Origin
from infrakit_py.model.spec import ClusterSpec

REVISIONS_KEPT: Final = 1000
"""Numbers of a cluster that are kept, besides the one in force."""
CONTENTS_KEPT: Final = 20
"""Specs of a cluster that are kept in full, that in force among them."""


@dataclass(frozen=True, slots=True)
class InForce:
    """What counts of a cluster: the revision and who declared it last. See `Declared`; its spec is the revision's.

    `origin` is None where this release cannot read it.
    """

    revision: int
    spec_digest: str
    origin: Origin | None
    at: float
    withdrawn: bool = False
    prune: bool = False


def number(in_force: InForce | None, last: int, last_digest: str, spec_digest: str) -> int:
    """Return a spec's number: that in force if it is the same, else the last if that is the same, else the next.

    `last` is 0, with any digest, before the first.
    """
    if in_force is not None and in_force.spec_digest == spec_digest:
        return in_force.revision
    return last if last and last_digest == spec_digest else last + 1


def declared(before: InForce | None, revision: int, spec_digest: str, origin: Origin, now: float) -> InForce:
    """Return what is in force once a spec of that number is declared.

    A repetition keeps the time since when it is so, and the last origin counts: paths of the spec lie there.
    """
    if before is not None and before.revision == revision and not before.withdrawn:
        return replace(before, origin=origin)
    return InForce(revision, spec_digest, origin, now)


def withdrawn(before: InForce | None, origin: Origin, now: float, *, prune: bool) -> InForce | None:
    """Return what is in force once nobody declares the cluster any more; the very same where that is so already."""
    if before is None or (before.withdrawn and before.prune == prune):
        return before
    return replace(before, origin=origin, at=now, withdrawn=True, prune=prune)


def may_retire(in_force: InForce | None, revision: int) -> bool:
    """Tell whether what is in force may be dropped: it is that revision, and nobody declares it any more."""
    return in_force is not None and in_force.withdrawn and in_force.revision == revision


def as_declared(in_force: InForce, spec: ClusterSpec) -> Declared | None:
    """Return what is in force with its spec; None where it cannot be said who declared it."""
    if in_force.origin is None:
        return None
    return Declared(spec, in_force.revision, in_force.origin, in_force.at, in_force.withdrawn, in_force.prune)


def require(cluster: str, in_force: InForce | None, expected: int | None) -> None:
    """Raise Conflict where a number is expected to be in force (0: none, or it was withdrawn) and another one is."""
    revision = in_force.revision if in_force is not None and not in_force.withdrawn else 0
    if expected is not None and expected != revision:
        found = f"revision {revision}" if revision else "no revision"
        wanted = f"revision {expected}" if expected else "none"
        raise Conflict(
            f"cluster {cluster}: {found} is in force, and not {wanted} as expected",
            hint="look at what is in force now, and decide anew",
        )
