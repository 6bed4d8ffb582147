"""A plan to its end: the policy's own ticks, in virtual time, on a world in which everything goes well. Pure.

What `infra plan` shows is what the engine will decide, wave by wave, if machines come up as fast as they usually do
with this provider and nothing else changes. It touches nothing and asks nobody.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Final, assert_never

from infrakit_py.engine.limits import Kind, Limiter, urgency_of
from infrakit_py.engine.patience import Patience
from infrakit_py.model import tags
from infrakit_py.model.instance import (
    Health,
    InFlight,
    Instance,
    InstanceId,
    InstanceState,
    Member,
    Snapshot,
    Verdict,
)
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
from infrakit_py.model.spec import HealthCheck
from infrakit_py.spi.policy import Course, Policy
from infrakit_py.spi.provider import CallLimits, Pace

_BY_THEN: Final = 0.9
"""In this world a machine is up within this share of its grace: one that never is would be replaced for ever."""


@dataclass(frozen=True, slots=True)
class World:
    """What a forecast assumes: the provider's pace and limits, how health is asked for, how often one looks."""

    pace: Pace = field(default_factory=Pace)
    limits: CallLimits = field(default_factory=CallLimits)
    health: HealthCheck = field(default_factory=HealthCheck)
    poll_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Wave:
    """What is done without waiting for a machine in between, how many were ready when it began, and when that is.

    `at_seconds` counts from the beginning.
    """

    actions: tuple[Action, ...]
    ready: int
    at_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """All waves of a group, from what is there to what is wanted.

    `first` is the plan of the very next tick; `lowest_ready` the fewest ready machines at any time from
    now on; `block` why it does not get there. `unseen`: the group could not be looked at, so nothing of this
    may be acted upon. `seconds` is how long it takes, None where it does not get there by itself. `goes_to` names
    the version that is gone to where that is not the declared one.
    """

    group: str
    bounds: Bounds
    first: GroupPlan
    waves: tuple[Wave, ...]
    lowest_ready: int
    block: Block | None = None
    unseen: bool = False
    seconds: float | None = None
    goes_to: str = ""

    @property
    def settled(self) -> bool:
        """Tell whether nothing is to be done or waited for, or nothing may be."""
        return self.first.block is not None or self.first.converged

    @property
    def actions(self) -> tuple[Action, ...]:
        return tuple(action for wave in self.waves for action in wave.actions)

    @property
    def counts(self) -> Mapping[str, int]:
        """Count what will be done: create, finish, replace, destroy, tag, publish."""
        counts = {"create": 0, "finish": 0, "replace": 0, "destroy": 0, "tag": 0, "publish": 0}
        for wave in self.waves:
            for action in wave.actions:
                match action:
                    case Create(completes=True):
                        counts["finish"] += 1
                    case Create():
                        counts["create"] += 1
                    case Destroy(cause=Cause.REPLACE | Cause.HEAL):
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


def forecast(
    policy: Policy,
    desired: Desired,
    snapshot: Snapshot,
    now: float,
    world: World | None = None,
) -> Forecast:
    """Run the policy until it has nothing more to do, is blocked, or waits for what never comes."""
    course = policy.follow(desired, snapshot, now)
    first = replace(course.plan(now), members=course.members)
    rehearsal = _Rehearsal(course, desired, snapshot, now, world or World(), began=now)
    limit = 16 * (len(snapshot.members) + len(snapshot.in_flight) + desired.count) + 64
    plan = rehearsal.run(limit)
    done = plan.converged or (plan.block is None and not plan.actions and not plan.waits and not plan.stopped)
    return Forecast(
        desired.group,
        plan.bounds,
        first,
        tuple(Wave(tuple(wave.actions), wave.ready, wave.at) for wave in rehearsal.waves),
        min(rehearsal.lowest, first.ready),
        first.block or plan.block,
        seconds=rehearsal.now - now if done else None,
    )


@dataclass(slots=True)
class _Wave:
    actions: list[Action]
    ready: int
    at: float


@dataclass(slots=True)
class _Rehearsal:
    """The kind world and its clock. `later` holds what time will do: a machine comes up, is drained, is gone."""

    course: Course
    desired: Desired
    snapshot: Snapshot
    now: float
    world: World
    waves: list[_Wave] = field(default_factory=list)
    lowest: int = 0
    began: float = 0.0
    later: list[tuple[float, int, tuple[str, InstanceId], Member | None]] = field(default_factory=list)
    serial: "count[int]" = field(default_factory=count)
    in_flight: list[InFlight] = field(default_factory=list)

    def run(self, limit: int) -> GroupPlan:
        self.began = self.now
        limiter = Limiter(self.world.limits, self.now)
        patience = Patience(self.world.poll_seconds)
        self._populate()
        plan = self.course.plan(self.now)
        self.lowest = plan.ready
        waited = True
        for _ in range(limit):
            if plan.block is not None or plan.converged:
                break
            more_at = 0.0
            if plan.actions:
                done, more_at = self._act(plan, limiter, waited=waited)
                patience.reset()
                waited = not done
                if done:
                    self.now += self.world.pace.call_seconds
            if waited or not plan.actions:
                waited = True
                if (due := self._next(plan, more_at, patience)) is None:
                    break
                self.now = due
                self._let_happen()
            plan = self.course.plan(self.now)
            self.lowest = min(self.lowest, plan.ready)
        return plan

    def _populate(self) -> None:
        """Take what is there, and foresee what becomes of it."""
        pace = self.world.pace
        for member in self.snapshot.members:
            state = member.instance.state
            if (
                member.health.verdict is Verdict.HEALTHY
                and state is InstanceState.RUNNING
                and tags.DRAINING not in member.instance.tags
            ):
                continue
            key = (member.provider, member.id)
            if state is InstanceState.LEAVING:
                self._plan_for(self.now + pace.gone_seconds, key, None)
            elif state in (InstanceState.PENDING, InstanceState.RUNNING):
                if member.draining_since is not None:
                    self._plan_for(self.now, key, replace(member, drained=True))
                elif self._comes_up(member):
                    up_at = max(self.now, member.instance.launched_at + self._boot_seconds())
                    self._plan_for(up_at, key, self._well(member))
        self.in_flight = list(self.snapshot.in_flight)
        for coming in self.snapshot.in_flight:
            self._plan_for(max(self.now, coming.since + self._boot_seconds()), *self._arrived(coming))

    def _comes_up(self, member: Member) -> bool:
        if member.health.verdict is Verdict.HEALTHY and member.instance.state is InstanceState.RUNNING:
            return False
        in_grace = self.now < member.instance.launched_at + self.desired.grace_seconds
        return (in_grace and not member.health.ever_healthy) or member.health.verdict is Verdict.UNKNOWN

    def _act(self, plan: GroupPlan, limiter: Limiter, *, waited: bool) -> tuple[bool, float]:
        """Carry a plan out as far as limits allow; tell whether anything was done, and when more may be."""
        creates = [action for action in plan.actions if isinstance(action, Create)]
        destroys = [action for action in plan.actions if isinstance(action, Destroy)]
        more_at = inf
        allowed: set[int] = set()
        for kind, actions in ((Kind.PROVISION, creates), (Kind.DESTROY, destroys)):
            if not actions:
                continue
            urgencies = [urgency_of(action, plan) for action in actions]
            grant = limiter.take(kind, Counter(urgencies), self.now)
            first = sorted(range(len(actions)), key=urgencies.__getitem__)[: grant.machines]
            allowed |= {id(actions[number]) for number in first}
            if grant.more_at:
                more_at = min(more_at, grant.more_at)
        done = [a for a in plan.actions if not isinstance(a, Create | Destroy) or id(a) in allowed]
        if done:
            if waited or not self.waves:
                self.waves.append(_Wave([], plan.ready, self.now - self.began))
            self.waves[-1].actions += done
            for action in done:
                self._do(action)
        return bool(done), 0.0 if more_at == inf else more_at

    def _do(self, action: Action) -> None:
        match action:
            case Create():
                self._create(action)
            case Destroy():
                self._destroy((action.provider, action.instance_id))
            case Drain():
                key = (action.provider, action.instance_id)
                if (member := self.course.member(*key)) is not None:
                    draining = _tagged(member, {tags.DRAINING: repr(self.now)}, ())
                    self._put(draining)
                    self._plan_for(self.now, key, replace(draining, drained=True))
            case Retag():
                if (member := self.course.member(action.provider, action.instance_id)) is not None:
                    self._put(_tagged(member, action.set_tags, action.remove_tags))
            case Publish():
                self.course.publish(action.image.identity)
            case _:
                assert_never(action)

    def _create(self, action: Create) -> None:
        place = (action.slot, action.incarnation)
        if any((coming.slot, coming.incarnation) == place for coming in self.in_flight):
            self.in_flight = [  # asked for once more, it answers: it is on its way already
                replace(coming, accepted=True) if (coming.slot, coming.incarnation) == place else coming
                for coming in self.in_flight
            ]
            self.course.expect(tuple(self.in_flight))
            return
        new = _created(self.desired, action, self.now)
        there = [one.member for one in self.course.members if (one.member.slot, one.member.incarnation) == place]
        for member in there if action.resumes else ():
            if action.completes and member.instance.state is InstanceState.RUNNING:
                whole = replace(member, instance=replace(member.instance, lacks=""))
                self._put(whole)
                self._plan_for(self.now, (member.provider, member.id), self._well(whole))
                return
            self._forget((member.provider, member.id))
        self._put(new)
        self._plan_for(self.now + self._boot_seconds(), (new.provider, new.id), self._well(new))

    def _destroy(self, key: tuple[str, InstanceId]) -> None:
        member = self.course.member(*key)
        if member is None:
            return
        if not self.world.pace.gone_seconds:
            self._forget(key)
            return
        self._put(replace(member, instance=replace(member.instance, state=InstanceState.LEAVING)))
        self._plan_for(self.now + self.world.pace.gone_seconds, key, None)

    def _next(self, plan: GroupPlan, more_at: float, patience: Patience) -> float | None:
        """Return when the engine looks next and finds something changed, None if nothing ever changes."""
        instants = [wait.until for wait in plan.waits if wait.until is not None and wait.until > self.now]
        if more_at > self.now:
            instants.append(min(more_at, self.now + patience.limited()))
        if self.later:
            instants.append(patience.tick_after(self.now, self.later[0][0], self.world.health.interval_seconds))
        return min(instants, default=None)

    def _let_happen(self) -> None:
        while self.later and self.later[0][0] <= self.now:
            _, _, key, member = heappop(self.later)
            self.in_flight = [c for c in self.in_flight if _in_flight_id(c) != key[1]]
            if member is None:
                self._forget(key)
            elif self.course.member(*key) is not None or key[1].startswith(_COMING):
                self._put(replace(member, health=replace(member.health, since=self.now)))
        self.course.expect(tuple(self.in_flight))

    def _plan_for(self, at: float, key: tuple[str, InstanceId], member: Member | None) -> None:
        heappush(self.later, (at, next(self.serial), key, member))

    def _put(self, member: Member) -> None:
        self.course.put(member)

    def _forget(self, key: tuple[str, InstanceId]) -> None:
        self.course.drop(*key)

    def _boot_seconds(self) -> float:
        health = self.world.health
        answers = (health.healthy_after - 1) * health.interval_seconds if health.asks else 0.0
        seconds = self.world.pace.boot_seconds + self.world.pace.call_seconds + answers
        return min(seconds, self.desired.grace_seconds * _BY_THEN) if self.desired.grace_seconds else seconds

    def _well(self, member: Member) -> Member:
        instance = replace(member.instance, state=InstanceState.RUNNING)
        return replace(member, instance=instance, health=Health(Verdict.HEALTHY, ever_healthy=True))

    def _arrived(self, coming: InFlight) -> tuple[tuple[str, InstanceId], Member]:
        action = Create(self.desired.provider, coming.slot, coming.incarnation, coming.logical_id, "", "")
        member = _tagged(_created(self.desired, action, coming.since), {tags.CONFIG_HASH: coming.fingerprint}, ())
        member = replace(member, instance=replace(member.instance, id=_in_flight_id(coming)))
        return (member.provider, member.id), self._well(member)


_COMING: Final = "(coming) "


def _in_flight_id(coming: InFlight) -> InstanceId:
    return InstanceId(f"{_COMING}{coming.slot}/{coming.incarnation}")


def _created(desired: Desired, action: Create, now: float) -> Member:
    fingerprint, image = desired.fingerprint, desired.image
    if action.previous and desired.previous is not None:
        fingerprint, image = desired.previous.fingerprint, desired.previous.image
    own = {
        tags.CLUSTER: desired.cluster,
        tags.GROUP: desired.group,
        tags.CONFIG_HASH: fingerprint,
        tags.SLOT: action.slot,
        tags.INCARNATION: str(action.incarnation),
    }
    if action.logical_id is not None:
        own[tags.LOGICAL_ID] = action.logical_id
    if image is not None:
        own[tags.IMAGE] = image.identity
    id_ = InstanceId(f"(new) {action.slot}/{action.incarnation}")
    instance = Instance(id_, tags.with_user_tags(own, desired.user_tags), InstanceState.PENDING, now)
    return Member(instance, action.provider)


def _tagged(member: Member, set_: Mapping[str, str], remove: tuple[str, ...]) -> Member:
    changed = {key: value for key, value in {**member.instance.tags, **set_}.items() if key not in remove}
    return replace(member, instance=replace(member.instance, tags=changed))
