"""Named machines: one at a time, the failed one first, never below a quorum by our own act.

A name exists once: its machine goes before the next of that name comes, which finds its data disk again.
"""

from collections import defaultdict

from infrakit_groups.policies.classify import classify, names
from infrakit_groups.policies.order import oldest_first, victims
from infrakit_groups.policies.parts import (
    create,
    dismiss,
    finish,
    finish_draining,
    publishing,
    resume,
    retags,
    waiting_for,
)
from infrakit_groups.policies.scaling import guard
from infrakit_py.model.instance import Snapshot
from infrakit_py.model.plan import (
    Action,
    Assessed,
    Bounds,
    Cause,
    Condition,
    Desired,
    GroupPlan,
    Version,
    Wait,
)

_ON_ITS_WAY_OUT = frozenset({Condition.DRAINING, Condition.LEAVING})
_IN_TRANSITION = _ON_ITS_WAY_OUT | {Condition.STARTING}


def quorum(count: int) -> int:
    """Return how many must stay ready: the majority, or all but one where a majority leaves none to replace."""
    return min(count // 2 + 1, max(0, count - 1))


def decide_named(desired: Desired, logical_ids: tuple[str, ...], snapshot: Snapshot, now: float) -> GroupPlan:
    """Return the next tick's plan for a group of named machines."""
    members = classify(desired, snapshot, now)
    floor = quorum(len(logical_ids))
    bounds = Bounds(count=len(logical_ids), surge=0, unavailable=len(logical_ids) - floor, floor=floor)
    if block := guard(desired, members):
        return GroupPlan(desired.group, bounds, members, block=block)

    holders = _holders(members)
    kept = [holders[name][0] for name in logical_ids if name in holders]
    unwanted = [a for a in members if a not in kept]
    arriving, waits = _arrivals(desired, logical_ids, snapshot, kept, holders)
    drained, drain_waits = finish_draining(desired, members, now)
    actions: list[Action] = [*drained, *arriving]
    dismissed: set[str] = set()
    to_go = [
        *victims([a for a in unwanted if a.condition not in _ON_ITS_WAY_OUT], members, oldest_first),
        *victims([a for a in kept if _needs_replacement(a)], kept, oldest_first),
    ]
    victim = None if actions or waits else _next_victim(to_go, members, floor)
    if victim:
        cause = Cause.REPLACE if victim in kept else Cause.SCALE_DOWN
        reason = victim.reason or ("no longer declared" if victim in unwanted else "unhealthy")
        actions.append(dismiss(desired, victim, reason, cause))
        dismissed.add(victim.member.id)
    elif to_go and not actions:
        waits.append(
            Wait(f"{names(to_go)} to be replaced, one at a time; {floor} of {len(logical_ids)} must stay ready")
        )
    staying = [a for a in kept if a.member.id not in dismissed and a.version is Version.CURRENT]
    actions += retags(desired, [a for a in staying if a.condition not in (Condition.DEAD, *_ON_ITS_WAY_OUT)])
    return GroupPlan(
        desired.group,
        bounds,
        members,
        (*publishing(desired, snapshot, actions), *actions),
        (*waits, *drain_waits, *waiting_for(desired, [a for a in members if a.member.id not in dismissed])),
    )


def _holders(members: tuple[Assessed, ...]) -> dict[str, list[Assessed]]:
    """Group members by name, the one to keep first: ready before current before lower incarnation."""
    holders: dict[str, list[Assessed]] = defaultdict(list)
    for assessed in members:
        if assessed.member.logical_id is not None:
            holders[assessed.member.logical_id].append(assessed)
    for held in holders.values():
        held.sort(
            key=lambda a: (
                a.condition is not Condition.READY,
                a.version is not Version.CURRENT,
                a.member.incarnation,
                a.member.id,
            )
        )
    return holders


def _arrivals(
    desired: Desired,
    logical_ids: tuple[str, ...],
    snapshot: Snapshot,
    kept: list[Assessed],
    holders: dict[str, list[Assessed]],
) -> tuple[list[Action], list[Wait]]:
    """Create every name that nobody holds: that only adds to what is there."""
    coming = {c.logical_id: c for c in snapshot.in_flight if c.logical_id is not None}
    actions: list[Action] = finish(desired, kept)
    waits: list[Wait] = []
    for name in logical_ids:
        if name in holders:
            continue
        if name not in coming:
            reason = "its predecessor is gone" if snapshot.incarnations.get(name) else "it has no machine yet"
            actions.append(create(desired, snapshot, name, name, reason))
        elif coming[name].accepted:
            waits.append(Wait(f"{name} was asked for and is not listed yet"))
        else:
            actions.append(resume(desired, coming[name]))
    waits += [Wait(f"{c.slot} may still be coming up") for c in snapshot.in_flight if c.logical_id not in logical_ids]
    return actions, waits


def _needs_replacement(assessed: Assessed) -> bool:
    if assessed.condition in _ON_ITS_WAY_OUT:
        return False
    return assessed.version is Version.OUTDATED or assessed.condition in (Condition.DEAD, Condition.UNHEALTHY)


def _next_victim(to_go: list[Assessed], members: tuple[Assessed, ...], floor: int) -> Assessed | None:
    """Choose the one that goes now: the failed first, and one that may serve only if a quorum is known to stay.

    Nobody goes while another is on its way in or out.
    """
    ready = sum(a.condition is Condition.READY for a in members)
    for victim in sorted(to_go, key=lambda a: a.condition is Condition.READY):
        if any(a.condition in _IN_TRANSITION for a in members if a is not victim):
            continue
        may_serve = victim.condition in (Condition.READY, Condition.UNKNOWN)
        if not may_serve or ready - (victim.condition is Condition.READY) >= floor:
            return victim
    return None
