"""A plan to its end: the policy's own ticks, on a world in which everything goes well. Pure.

What `infra plan` shows is what the engine will decide, wave by wave, if machines come up and nothing else
changes. It touches nothing and asks nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, assert_never

from infrakit_py.model import tags
from infrakit_py.model.instance import Health, Instance, InstanceId, InstanceState, Member, Snapshot, Verdict
from infrakit_py.model.plan import (
    Action,
    Block,
    Bounds,
    Cause,
    Create,
    Desired,
    Destroy,
    Drain,
    GroupPlan,
    Publish,
    Retag,
)
from infrakit_py.spi.policy import Policy

_WELL: Final = Health(Verdict.HEALTHY, ever_healthy=True)
_TICK_SECONDS: Final = 1.0
_AHEAD_SECONDS: Final = 1e6


@dataclass(frozen=True, slots=True)
class Wave:
    """What is done without waiting for a machine in between, and how many were ready when it began."""

    actions: tuple[Action, ...]
    ready: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """All waves of a group, from what is there to what is wanted.

    `first` is the plan of the very next tick; `lowest_ready` the fewest ready machines at any time from
    now on; `block` why it does not get there. `unseen`: the group could not be looked at, so nothing of this
    may be acted upon.
    """

    group: str
    bounds: Bounds
    first: GroupPlan
    waves: tuple[Wave, ...]
    lowest_ready: int
    block: Block | None = None
    unseen: bool = False

    @property
    def settled(self) -> bool:
        """Tell whether nothing is to be done or waited for, or nothing may be."""
        return self.first.block is not None or self.first.converged

    @property
    def actions(self) -> tuple[Action, ...]:
        return tuple(action for wave in self.waves for action in wave.actions)

    @property
    def counts(self) -> Mapping[str, int]:
        """Count what will be done: create, replace, destroy, tag, publish."""
        counts = {"create": 0, "replace": 0, "destroy": 0, "tag": 0, "publish": 0}
        for action in self.actions:
            match action:
                case Create():
                    counts["create"] += 1
                case Destroy(cause=Cause.REPLACE):
                    counts["replace"] += 1
                case Destroy():
                    counts["destroy"] += 1
                case Retag():
                    counts["tag"] += 1
                case Publish():
                    counts["publish"] += 1
                case Drain():
                    pass
                case _:
                    assert_never(action)
        return counts


def forecast(policy: Policy, desired: Desired, snapshot: Snapshot, now: float) -> Forecast:
    """Run the policy until it has nothing more to do, is blocked, or goes round in circles."""
    first = plan = policy.decide(desired, snapshot, now)
    waves: list[Wave] = []
    lowest = plan.ready
    waited = True
    limit = 8 * (len(snapshot.members) + len(snapshot.in_flight) + desired.count) + 16
    for _ in range(limit):
        if plan.block is not None or plan.converged:
            break
        if plan.actions:
            if waited:
                waves.append(Wave((), plan.ready))
            waves[-1] = replace(waves[-1], actions=(*waves[-1].actions, *plan.actions))
            snapshot = _after(desired, snapshot, plan.actions, now)
        elif snapshot == (settled := _settle(desired, snapshot, now)):
            break
        else:
            snapshot = settled
        waited = not plan.actions
        now += _TICK_SECONDS
        plan = policy.decide(desired, snapshot, now)
        lowest = min(lowest, plan.ready)
    return Forecast(desired.group, plan.bounds, first, tuple(waves), lowest, first.block or plan.block)


def _settle(desired: Desired, snapshot: Snapshot, now: float) -> Snapshot:
    """Let time do its work: what starts gets ready, what leaves is gone, what drains is drained."""
    members = [
        _settled(desired, member, now)
        for member in snapshot.members
        if member.instance.state not in (InstanceState.LEAVING, InstanceState.GONE)
    ]
    for coming in snapshot.in_flight:
        action = Create(desired.provider, coming.slot, coming.incarnation, coming.logical_id, "", "")
        tagged = {tags.CONFIG_HASH: coming.fingerprint}
        members.append(_tagged(_created(desired, action, now), tagged, ()))
    return replace(snapshot, members=tuple(members), in_flight=())


def _settled(desired: Desired, member: Member, now: float) -> Member:
    if member.instance.state not in (InstanceState.PENDING, InstanceState.RUNNING):
        return member
    if member.draining_since is not None:
        return replace(member, drained=True)
    in_grace = now < member.instance.launched_at + desired.grace_seconds and not member.health.ever_healthy
    if member.health.verdict is Verdict.UNHEALTHY and not in_grace:
        return member
    if member.instance.state is InstanceState.RUNNING and member.health is _WELL:
        return member
    return replace(member, instance=replace(member.instance, state=InstanceState.RUNNING), health=_WELL)


def _after(desired: Desired, snapshot: Snapshot, actions: tuple[Action, ...], now: float) -> Snapshot:
    members = {(member.provider, member.id): member for member in snapshot.members}
    published = snapshot.published
    for action in actions:
        match action:
            case Create():
                cut_short = [
                    k for k, m in members.items() if (m.slot, m.incarnation) == (action.slot, action.incarnation)
                ]
                for key in cut_short:
                    del members[key]
                new = _created(desired, action, now)
                members[new.provider, new.id] = new
            case Destroy():
                members.pop((action.provider, action.instance_id), None)
            case Drain():
                key = (action.provider, action.instance_id)
                if key in members:
                    members[key] = _tagged(members[key], {tags.DRAINING: repr(now)}, ())
            case Retag():
                key = (action.provider, action.instance_id)
                if key in members:
                    members[key] = _tagged(members[key], action.set_tags, action.remove_tags)
            case Publish():
                published |= {action.image.identity}
            case _:
                assert_never(action)
    return replace(snapshot, members=tuple(members.values()), published=published)


def _created(desired: Desired, action: Create, now: float) -> Member:
    own = {
        tags.CLUSTER: desired.cluster,
        tags.GROUP: desired.group,
        tags.CONFIG_HASH: desired.fingerprint,
        tags.SLOT: action.slot,
        tags.INCARNATION: str(action.incarnation),
    }
    if action.logical_id is not None:
        own[tags.LOGICAL_ID] = action.logical_id
    if desired.image is not None:
        own[tags.IMAGE] = desired.image.identity
    id_ = InstanceId(f"(new) {action.slot}/{action.incarnation}")
    launched_at = now + _AHEAD_SECONDS  # in this world nothing outlives its grace before it is ready
    instance = Instance(id_, tags.with_user_tags(own, desired.user_tags), InstanceState.PENDING, launched_at)
    return Member(instance, action.provider)


def _tagged(member: Member, set_: Mapping[str, str], remove: tuple[str, ...]) -> Member:
    changed = {key: value for key, value in {**member.instance.tags, **set_}.items() if key not in remove}
    return replace(member, instance=replace(member.instance, tags=changed))
