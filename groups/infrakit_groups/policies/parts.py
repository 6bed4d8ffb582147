"""The pieces that all policies' plans are made of: leaving, retagging, waiting, publishing."""

from collections.abc import Iterable, Sequence

from infrakit_groups.policies.classify import names
from infrakit_py.model.instance import InFlight, InstanceState, Snapshot
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


def finish_draining(desired: Desired, members: Iterable[Assessed], now: float) -> tuple[list[Action], list[Wait]]:
    """Destroy what is drained or had its time; wait for the rest."""
    actions: list[Action] = []
    waits: list[Wait] = []
    for assessed in members:
        member = assessed.member
        if assessed.condition is not Condition.DRAINING:
            continue
        deadline = (member.draining_since or 0.0) + desired.rollout.drain_timeout_seconds
        if member.drained or not desired.drains or now >= deadline:
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


def publishing(desired: Desired, snapshot: Snapshot, actions: Sequence[Action]) -> list[Action]:
    """Publish the image first where a plan creates machines from one that is not there yet."""
    image = desired.image
    if image is None or image.identity in snapshot.published:
        return []
    if not any(isinstance(action, Create) for action in actions):
        return []
    return [Publish(desired.provider, image, f"image {image.name} ({image.short}) is not at {desired.provider} yet")]


def create(desired: Desired, snapshot: Snapshot, slot: str, logical_id: str | None, reason: str) -> Create:
    """Make the creation of a new machine in a slot."""
    name = logical_id or f"{desired.group}-{slot}"
    return Create(desired.provider, slot, snapshot.incarnations.get(slot, 0), logical_id, name, reason)


def resume(desired: Desired, coming: InFlight) -> Create:
    """Ask once more for a creation whose answer was lost; the token makes it the same machine."""
    name = coming.logical_id or f"{desired.group}-{coming.slot}"
    reason = "its creation was begun and never answered"
    return Create(desired.provider, coming.slot, coming.incarnation, coming.logical_id, name, reason, resumes=True)


def finish(desired: Desired, members: Iterable[Assessed]) -> list[Action]:
    """Finish current machines whose creation was cut short."""
    return [
        Create(desired.provider, m.slot, m.incarnation, m.logical_id, m.name, assessed.reason, resumes=True)
        for assessed in members
        if (m := assessed.member).instance.state is InstanceState.INCOMPLETE
        and assessed.condition is Condition.STARTING
    ]


def waiting_for(desired: Desired, members: Sequence[Assessed]) -> list[Wait]:
    """Say what is still on its way, and until when it is waited for."""
    waits: list[Wait] = []
    starting = [a for a in members if a.condition is Condition.STARTING]
    if starting:
        until = min(a.member.instance.launched_at + desired.grace_seconds for a in starting)
        why = next((f": {a.reason}" for a in starting if a.reason), "")
        waits.append(Wait(f"{names(starting)} starting{why}", until))
    unknown = [a for a in members if a.condition is Condition.UNKNOWN]
    if unknown:
        why = next((f": {a.reason}" for a in unknown if a.reason), "")
        waits.append(Wait(f"health of {names(unknown)} is not known{why}"))
    leaving = [a for a in members if a.condition is Condition.LEAVING]
    if leaving:
        waits.append(Wait(f"{names(leaving)} leaving"))
    return waits
