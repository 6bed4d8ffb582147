"""The pieces that all policies' plans are made of: leaving, retagging, waiting, publishing."""

from collections.abc import Iterable, Sequence
from math import inf

from infrakit_groups.policies.classify import RUNS, names
from infrakit_groups.policies.roster import CURRENT, EVERY, Roster
from infrakit_py.model.instance import InFlight, InstanceState, Member
from infrakit_py.model.plan import (
    Action,
    Assessed,
    Cause,
    Condition,
    Create,
    Desired,
    Destroy,
    Drain,
    Publish,
    Retag,
    Version,
    Wait,
)
from infrakit_py.model.tags import user_tag_changes


def dismiss(desired: Desired, victim: Assessed, reason: str, cause: Cause) -> Action:
    """Drain a machine that serves and has something to drain; destroy any other."""
    member = victim.member
    serves = victim.condition in (Condition.READY, Condition.UNKNOWN)
    if desired.drains and serves and desired.rollout.drain_timeout_seconds > 0:
        return Drain(member.provider, member.id, member.name, reason, cause)
    return Destroy(member.provider, member.id, member.name, reason, cause)


def finish_draining(roster: Roster, now: float) -> tuple[list[Action], list[Wait]]:
    """Destroy what is drained or had its time; wait for the rest. What somebody protects meanwhile stays."""
    actions: list[Action] = []
    waits: list[Wait] = []
    desired = roster.desired
    for assessed in roster.of(EVERY, (Condition.DRAINING,)):
        member = assessed.member
        deadline = (member.draining_since or 0.0) + desired.rollout.drain_timeout_seconds
        if member.protected:
            waits.append(Wait(f"{member.name} is draining and protected: it stays until that is lifted"))
        elif member.drained or not desired.drains or now >= deadline:
            reason = "drained" if member.drained else "drain timeout is over"
            actions.append(Destroy(member.provider, member.id, member.name, reason, Cause.REPLACE))
        else:
            waits.append(Wait(f"{member.name} is draining", deadline))
    return actions, waits


def retags(desired: Desired, members: Iterable[Assessed]) -> list[Action]:
    """Bring the user's tags up to date on machines that stay."""
    actions: list[Action] = []
    for assessed in members:
        member = assessed.member
        set_, remove = user_tag_changes(member.instance.tags, desired.user_tags)
        if set_ or remove:
            keys = ", ".join(sorted({*set_, *remove} - {"infrakit.tags"}))
            actions.append(
                Retag(member.provider, member.id, member.name, f"tags changed: {keys or 'none'}", set_, remove)
            )
    return actions


def publishing(roster: Roster, actions: Sequence[Action]) -> list[Action]:
    """Publish images first where a plan creates machines from one that is not there yet, or makes room for them."""
    desired = roster.desired
    creates = [action for action in actions if isinstance(action, Create)]
    # Whose place a new machine takes only goes once the new one can boot: a long upload leaves nobody missing.
    makes_room = any(isinstance(a, Destroy | Drain) and a.cause is Cause.REPLACE for a in actions)
    publishes: list[Action] = []
    previous = desired.previous.image if desired.previous is not None else None
    for image, wanted in ((desired.image, False), (previous, True)):
        if image is None or image.identity in roster.published:
            continue
        if any(action.previous is wanted for action in creates) or (makes_room and not wanted):
            reason = f"image {image.name} ({image.short}) is not at {desired.provider} yet"
            publishes.append(Publish(desired.provider, image, reason))
    return publishes


def create(
    roster: Roster,
    slot: str,
    logical_id: str | None,
    reason: str,
    *,
    previous: bool = False,
    failures: int = 0,
    heals: bool = False,
) -> Create:
    """Make the creation of a new machine in a slot."""
    desired = roster.desired
    name = logical_id or f"{desired.group}-{slot}"
    return Create(
        desired.provider,
        slot,
        roster.incarnations.get(slot, 0),
        logical_id,
        name,
        reason,
        previous=previous,
        failures=failures,
        heals=heals,
    )


def resume(desired: Desired, coming: InFlight, *, previous: bool = False) -> Create:
    """Ask once more for a creation whose answer was lost; the token makes it the same machine."""
    name = coming.logical_id or f"{desired.group}-{coming.slot}"
    reason = "its creation was begun and never answered"
    return Create(
        desired.provider,
        coming.slot,
        coming.incarnation,
        coming.logical_id,
        name,
        reason,
        resumes=True,
        previous=previous,
    )


def finish(desired: Desired, members: Iterable[Assessed]) -> list[Action]:
    """Finish current machines whose creation was cut short, or that lack something of their own."""
    return [
        Create(
            desired.provider,
            m.slot,
            m.incarnation,
            m.logical_id,
            m.name,
            assessed.member.instance.lacks or assessed.reason,
            resumes=True,
            completes=m.instance.state is not InstanceState.INCOMPLETE,
            failures=m.failures,
        )
        for assessed in members
        if _is_unfinished(m := assessed.member, assessed.condition)
    ]


def _is_unfinished(member: Member, condition: Condition) -> bool:
    if member.instance.state is InstanceState.INCOMPLETE:
        return condition is Condition.STARTING
    return bool(member.instance.lacks) and condition in RUNS


def waiting_for(roster: Roster, dismissed: set[str]) -> list[Wait]:
    """Say what is still on its way, and until when it is waited for."""
    waits: list[Wait] = []

    def of(condition: Condition) -> list[Assessed]:
        return [a for a in roster.of(EVERY, (condition,)) if a.member.id not in dismissed]

    if starting := of(Condition.STARTING):
        until = min(a.until for a in starting)
        why = next((f": {a.reason}" for a in starting if a.reason), "")
        waits.append(Wait(f"{names(starting)} starting{why}", until if until < inf else None))
    if unknown := of(Condition.UNKNOWN):
        why = next((f": {a.reason}" for a in unknown if a.reason), "")
        waits.append(Wait(f"health of {names(unknown)} is not known{why}"))
    if leaving := of(Condition.LEAVING):
        waits.append(Wait(f"{names(leaving)} leaving"))
    return waits


def retags_due(roster: Roster, dismissed: set[str]) -> list[Action]:
    """Retag current machines that stay."""
    on_their_way = (Condition.DEAD, Condition.DRAINING, Condition.LEAVING)
    staying = [
        a
        for a in roster.retags()
        if a.version in (*CURRENT, Version.EXPIRED)
        and a.condition not in on_their_way
        and a.member.id not in dismissed
    ]
    return retags(roster.desired, staying)
