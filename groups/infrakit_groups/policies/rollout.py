"""Interchangeable machines: healing, rolling replacement and scaling as one arithmetic.

With N wanted, S surge and U unavailable, in every tick:

- *good* are current machines that are ready or may become so; all other running ones have to be replaced;
- present machines never exceed N + S by what is created here;
- a machine that serves goes only while more than the floor N - U are ready;
- one that does not serve goes only while enough others stand: all present but the good ones that are still
  starting must stay at or above the floor, since a health check may be wrong about a whole group.

A new version that never gets ready therefore costs nothing that serves: only its own machines are made anew, each
after its grace, until somebody's patience ends.
"""

from itertools import islice

from infrakit_groups.policies.classify import RUNS, classify, names
from infrakit_groups.policies.order import free_slots, oldest_first, victims, youngest_first
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
    Block,
    Bounds,
    Cause,
    Condition,
    Desired,
    Destroy,
    GroupPlan,
    Version,
    Wait,
)
from infrakit_py.model.quantities import Amount

_DEFAULT_SURGE = Amount(1)
_DEFAULT_UNAVAILABLE = Amount(0)


def resolve(desired: Desired) -> Bounds:
    """Resolve counts and percentages: surge rounds up, unavailable down."""
    surge = (desired.rollout.max_surge or _DEFAULT_SURGE).rounded_up(desired.count)
    unavailable = (desired.rollout.max_unavailable or _DEFAULT_UNAVAILABLE).rounded_down(desired.count)
    return Bounds(desired.count, surge, unavailable, floor=max(0, desired.count - unavailable))


def decide_sized(desired: Desired, snapshot: Snapshot, now: float) -> GroupPlan:
    """Return the next tick's plan for a group of interchangeable machines."""
    members = classify(desired, snapshot, now)
    bounds = resolve(desired)
    if bounds.count and not bounds.surge and not bounds.unavailable:
        block = Block(
            f"max_surge and max_unavailable both come to 0 of {bounds.count} machines: nothing could be replaced",
            "raise one of them",
        )
        return GroupPlan(desired.group, bounds, members, block=block)
    if block_ := guard(desired, members):
        return GroupPlan(desired.group, bounds, members, block=block_)

    running = [a for a in members if a.condition in RUNS]
    good = [a for a in running if _is_good(a)]
    to_replace = victims([a for a in running if not _is_good(a)], running, oldest_first)
    arriving, waits = _arrivals(desired, snapshot, bounds, members, len(good), to_replace)
    leaving, dismissed = _departures(desired, bounds, running, good, to_replace)
    drained, drain_waits = finish_draining(desired, members, now)
    kept = [a for a in good if a.member.id not in dismissed]

    arriving = [*finish(desired, kept), *arriving]
    actions: list[Action] = [*_remove_dead(members), *arriving, *drained, *leaving, *retags(desired, kept)]
    stuck = [a for a in to_replace if a.member.id not in dismissed]
    if stuck and not actions:
        waits.append(Wait(f"{names(stuck)} to be replaced ({stuck[0].reason}); {bounds.floor} must stay ready"))
    return GroupPlan(
        desired.group,
        bounds,
        members,
        (*publishing(desired, snapshot, actions), *actions),
        (*waits, *drain_waits, *waiting_for(desired, [a for a in members if a.member.id not in dismissed])),
    )


def _is_good(assessed: Assessed) -> bool:
    return assessed.version is Version.CURRENT and assessed.condition is not Condition.UNHEALTHY


def _remove_dead(members: tuple[Assessed, ...]) -> list[Action]:
    """A machine that does not run serves nobody; nothing is lost with it."""
    return [
        Destroy(a.member.provider, a.member.id, a.member.name, f"dead: {a.reason}", Cause.REPLACE)
        for a in members
        if a.condition is Condition.DEAD
    ]


def _arrivals(
    desired: Desired,
    snapshot: Snapshot,
    bounds: Bounds,
    members: tuple[Assessed, ...],
    good: int,
    to_replace: list[Assessed],
) -> tuple[list[Action], list[Wait]]:
    """Create what is missing, as far as surge allows; ask again for what was never answered."""
    present = sum(a.condition in RUNS or a.condition is Condition.DRAINING for a in members)
    coming = [c for c in snapshot.in_flight if c.fingerprint == desired.fingerprint and c.logical_id is None]
    again = [c for c in coming if not c.accepted][: max(0, bounds.count - good)]
    missing = bounds.count - good - len(coming)
    room = bounds.count + bounds.surge - present - len(snapshot.in_flight)
    actions: list[Action] = [resume(desired, c) for c in again]
    short = max(0, bounds.count - good - len(coming) - len(to_replace))
    for number, slot in enumerate(islice(free_slots(snapshot), max(0, min(missing, room)))):
        if number < short:
            reason = f"{good + len(to_replace)} of {bounds.count} wanted"
        else:
            old = to_replace[number - short]
            reason = f"to replace {old.member.name} ({old.reason or 'unhealthy'})"
        actions.append(create(desired, snapshot, str(slot), None, reason))
    waits = [
        Wait(f"{desired.group}-{c.slot} was asked for and is not listed yet")
        for c in snapshot.in_flight
        if c not in again
    ]
    return actions, waits


def _departures(
    desired: Desired,
    bounds: Bounds,
    running: list[Assessed],
    good: list[Assessed],
    to_replace: list[Assessed],
) -> tuple[list[Action], set[str]]:
    """Dismiss what has to be replaced, then what is too many, as far as the floor allows."""
    ready = sum(a.condition is Condition.READY for a in running)
    starting = sum(a.condition is not Condition.READY for a in good)
    standing = len(running) - starting
    actions: list[Action] = []
    dismissed: set[str] = set()

    def dismiss_one(victim: Assessed, reason: str, cause: Cause) -> None:
        actions.append(dismiss(desired, victim, reason, cause))
        dismissed.add(victim.member.id)

    needed = bounds.count - len(good)
    for left, victim in zip(range(len(to_replace), 0, -1), to_replace, strict=True):
        serves = victim.condition is Condition.READY
        if standing <= bounds.floor or (serves and ready <= bounds.floor):
            continue
        standing -= 1
        ready -= serves
        replaced = left <= max(needed, 0) or len(running) <= bounds.count + bounds.surge
        dismiss_one(victim, victim.reason or "unhealthy", Cause.REPLACE if replaced else Cause.SCALE_DOWN)

    surplus = len(good) - bounds.count
    for victim in victims(good, running, youngest_first) if surplus > 0 else ():
        if surplus <= 0:
            break
        serves = victim.condition is Condition.READY
        if serves and ready <= bounds.floor:
            continue
        ready -= serves
        surplus -= 1
        dismiss_one(victim, f"{len(good)} machines where {bounds.count} are wanted", Cause.SCALE_DOWN)
    return actions, dismissed
