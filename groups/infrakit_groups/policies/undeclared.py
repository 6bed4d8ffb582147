"""A group that nobody wants any more: everything goes, dead or alive."""

from infrakit_groups.policies.classify import names
from infrakit_groups.policies.parts import waiting_for
from infrakit_groups.policies.roster import EVERY, OPEN, Roster
from infrakit_py.model.plan import Action, Block, Bounds, Cause, Condition, Destroy, GroupPlan, Wait

_HERE = tuple(condition for condition in Condition if condition is not Condition.LEAVING)


def decide_undeclared(roster: Roster, now: float) -> GroupPlan:
    """Destroy all members once that is allowed, then wait until they are gone. Protected ones stay, and block."""
    del now
    desired = roster.desired
    tally = roster.tally()
    bounds = Bounds(count=0, surge=0, unavailable=tally.members, floor=0)
    going = list(roster.of(EVERY, _HERE))
    if going and not desired.allow_mass_destroy:
        block = Block(
            f"group {desired.group} is no longer declared; removing it would destroy {names(going)}",
            "declare it again, or run apply with --allow-mass-destroy",
        )
        return GroupPlan(desired.group, bounds, block=block, tally=tally)
    going = list(roster.of(EVERY, _HERE, OPEN))
    actions: tuple[Action, ...] = tuple(
        Destroy(a.member.provider, a.member.id, a.member.name, "its group is not wanted", Cause.UNDECLARED)
        for a in going
    )
    protected = list(roster.of(EVERY, _HERE, (True,)))
    if protected and not actions:
        block = Block(
            f"group {desired.group} is not wanted, and {names(protected)} protected", "infra unprotect lets them go"
        )
        return GroupPlan(desired.group, bounds, block=block, tally=tally)
    waits = [wait for wait in waiting_for(roster, set()) if wait.reason.endswith("leaving")]
    waits += [Wait(f"slot {coming.slot} may still be coming up") for coming in roster.in_flight]
    return GroupPlan(desired.group, bounds, actions=actions, waits=tuple(waits), tally=tally)
