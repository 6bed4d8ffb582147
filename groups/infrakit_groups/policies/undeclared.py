"""A group that nobody wants any more: everything goes, dead or alive."""

from infrakit_groups.policies.classify import classify, names
from infrakit_groups.policies.parts import waiting_for
from infrakit_py.model.instance import Snapshot
from infrakit_py.model.plan import Action, Block, Bounds, Cause, Condition, Desired, Destroy, GroupPlan, Wait


def decide_undeclared(desired: Desired, snapshot: Snapshot, now: float) -> GroupPlan:
    """Destroy all members once that is allowed, then wait until they are gone."""
    members = classify(desired, snapshot, now)
    bounds = Bounds(count=0, surge=0, unavailable=len(members), floor=0)
    going = [assessed for assessed in members if assessed.condition is not Condition.LEAVING]
    if going and not desired.allow_mass_destroy:
        block = Block(
            f"group {desired.group} is no longer declared; removing it would destroy {names(going)}",
            "declare it again, or run apply with --allow-mass-destroy",
        )
        return GroupPlan(desired.group, bounds, members, block=block)
    actions: tuple[Action, ...] = tuple(
        Destroy(a.member.provider, a.member.id, a.member.name, "its group is not wanted", Cause.UNDECLARED)
        for a in going
    )
    waits = [wait for wait in waiting_for(desired, members) if wait.reason.endswith("leaving")]
    waits += [Wait(f"slot {coming.slot} may still be coming up") for coming in snapshot.in_flight]
    return GroupPlan(desired.group, bounds, members, actions, tuple(waits))
