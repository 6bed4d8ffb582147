"""Whether what happened was right: who acted when, and what there was at each moment. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.ha.ledger import Change, Life, What
from tests.ha.owners import Reign

HEARD_LATE_SECONDS: Final = 1.0
"""How much later than the claim itself it may have been heard of, on a machine that is busy."""
UNDER_WAY_SECONDS: Final = 1.0
"""How long a call may take that was permitted before its owner lost the cluster."""
_BEGINS: Final = {What.CREATED: "creating", What.DESTROYED: "destroying"}
_ENDS: Final = {What.CREATED: "created", What.DESTROYED: "destroyed"}


@dataclass(frozen=True, slots=True)
class Told:
    """What a controller said of a machine that it makes or destroys: just before the call, and just after it."""

    member: str
    at: float
    event: str
    cluster: str
    group: str
    name: str
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which a controller's process stood still."""

    member: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Deed:
    """A change at the provider, and who may have made it: `since` when each of them was about to."""

    change: Change
    since: Mapping[str, float]


def deeds(changes: Iterable[Change], told: Sequence[Told]) -> list[Deed]:
    """Say of each change whose it may be: of who said so afterwards, or of who was about to and was killed."""
    done: dict[tuple[str, str], set[str]] = defaultdict(set)
    about: dict[tuple[str, str, str, str], list[Told]] = defaultdict(list)
    for one in told:
        if one.event in _ENDS.values():
            done[one.event, one.machine].add(one.member)
        if one.event in _BEGINS.values():
            about[one.event, one.cluster, one.group, one.name].append(one)
    found = []
    for change in changes:
        begun = about[_BEGINS[change.what], change.cluster, change.group, change.name]
        since = {one.member: one.at for one in begun if one.at <= change.at + 0.1}
        said = done[_ENDS[change.what], change.machine]
        found.append(Deed(change, {member: at for member, at in since.items() if not said or member in said}))
    return found


def intrusions(acts: Iterable[Deed], reigns: Sequence[Reign], pauses: Sequence[Pause]) -> list[str]:
    """Return every change that none who owned the cluster can have made.

    The owners of a cluster follow each other in etcd's order, and so must who acts: once a later owner has acted, no
    earlier one does. A call that was under way when its controller lost the cluster is none of its doing.
    """
    owners: dict[str, list[Reign]] = defaultdict(list)
    for reign in sorted(reigns, key=lambda one: one.revision):
        owners[reign.name].append(reign)
    reached: dict[str, int] = defaultdict(int)
    found = []
    for act in acts:
        change = act.change
        fitting = [
            number
            for number, reign in enumerate(owners[change.cluster])
            if number >= reached[change.cluster] and _covers(reign, act)
        ]
        if fitting:
            reached[change.cluster] = fitting[0]
        elif not _was_under_way(act, owners[change.cluster], pauses):
            found.append(f"{change} by {dict(act.since)}; owners {owners[change.cluster]}")
    return found


def _covers(reign: Reign, act: Deed) -> bool:
    if reign.member not in act.since:
        return False
    return reign.began_at - HEARD_LATE_SECONDS <= act.change.at <= reign.ended_at


def _was_under_way(act: Deed, reigns: Sequence[Reign], pauses: Sequence[Pause]) -> bool:
    """Tell whether somebody was about to while the cluster was theirs, and the call just took until then."""
    for reign in reigns:
        began = act.since.get(reign.member)
        if began is None or not reign.began_at - HEARD_LATE_SECONDS <= began <= reign.ended_at:
            continue
        stood = sum(one.end - one.begin for one in pauses if one.member == reign.member and began <= one.begin)
        if act.change.at - began <= UNDER_WAY_SECONDS + stood:
            return True
    return False


def overlaps(reigns: Sequence[Reign]) -> list[str]:
    """Return where two owned the same at once."""
    found = []
    last: dict[str, Reign] = {}
    for reign in sorted(reigns, key=lambda one: one.revision):
        before = last.get(reign.name)
        if before is not None and before.ended_at > reign.began_at:
            found.append(f"{before} and {reign}")
        last[reign.name] = reign
    return found


def below_floor(lives: Iterable[Life], floors: Mapping[str, int], since: float) -> list[str]:
    """Return each moment from which on a cluster had fewer working machines than its floor."""
    return [
        f"{cluster} has {count} at {at:.3f}"
        for cluster, steps in _steps(lives, lambda life: (life.ready_at, life.gone_at)).items()
        for at, count in _after(steps, since)
        if count < floors[cluster]
    ]


def above(lives: Iterable[Life], limits: Mapping[str, int]) -> list[str]:
    """Return each moment from which on a cluster had more machines than its limit."""
    return [
        f"{cluster} has {count} at {at:.3f}"
        for cluster, steps in _steps(lives, lambda life: (life.created_at, life.gone_at)).items()
        for at, count in steps
        if count > limits[cluster]
    ]


def twins(lives: Iterable[Life]) -> list[str]:
    """Return machines that are the same one."""
    seen: dict[tuple[str, str, str, str], Life] = {}
    found = []
    for life in lives:
        key = (life.cluster, life.group, life.slot, life.incarnation)
        if key in seen:
            found.append(f"{seen[key]} and {life}")
        seen[key] = life
    return found


def _steps(lives: Iterable[Life], span: Callable[[Life], tuple[float, float]]) -> dict[str, list[tuple[float, int]]]:
    """Return, for each cluster, how many there are from each moment on at which that changes."""
    moves: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for life in lives:
        begin, end = span(life)
        if begin < end:
            moves[life.cluster] += [(begin, 1), (end, -1)]
    return {
        cluster: _running(sorted(found, key=lambda move: (move[0], -move[1]))) for cluster, found in moves.items()
    }


def _running(moves: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
    count, found = 0, []
    for at, by in moves:
        count += by
        found.append((at, count))
    return found


def _after(steps: Sequence[tuple[float, int]], since: float) -> Iterable[tuple[float, int]]:
    """Return what there was at a moment, and all that followed; what never comes is left out."""
    before = [count for at, count in steps if at <= since]
    return [(since, before[-1] if before else 0), *((at, count) for at, count in steps if since < at < float("inf"))]
