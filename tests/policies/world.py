"""A world for policies: machines that boot, fall ill and die, and that carry plans out in part. Pure and seeded."""

from dataclasses import dataclass, field, replace
from typing import assert_never

from infrakit_groups.policies import rolling
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
    Assessed,
    Condition,
    Create,
    Desired,
    Destroy,
    Drain,
    GroupPlan,
    Publish,
    Retag,
    Version,
)
from infrakit_py.model.quantities import Amount
from infrakit_py.model.spec import Image, ImageForm, RolloutSpec

WELL = Health(Verdict.HEALTHY, ever_healthy=True)
ILL = Health(Verdict.UNHEALTHY, "tcp 8080: connection refused", ever_healthy=True)
GRACE = 60.0


def image(name: str) -> Image:
    return Image(name, (name * 64)[:64], ImageForm.REFERENCE, reference=name)


def desired(
    count: int = 3,
    *,
    version: str = "v1",
    surge: Amount | int | None = None,
    unavailable: Amount | int | None = None,
    names: tuple[str, ...] | None = None,
    allow: bool = False,
    drains: bool = False,
    undeclared: bool = False,
    user_tags: dict[str, str] | None = None,
    prevent_destroy: bool = False,
) -> Desired:
    """A group `web` (or `db`, where it has names) at a version."""
    rollout = RolloutSpec(
        max_surge=Amount(surge) if isinstance(surge, int) else surge,
        max_unavailable=Amount(unavailable) if isinstance(unavailable, int) else unavailable,
    )
    return Desired(
        cluster="shop",
        group="db" if names is not None else "web",
        provider="" if undeclared else "local",
        image=None if undeclared else image(version),
        fingerprint="" if undeclared else f"v1-{version}",
        count=len(names) if names is not None else count,
        logical_ids=names,
        grace_seconds=GRACE,
        checks_health=not undeclared,
        rollout=rollout,
        user_tags=user_tags or {},
        drains=drains,
        undeclared=undeclared,
        allow_mass_destroy=allow,
        prevent_destroy=prevent_destroy,
    )


def member(
    slot: str | int,
    *,
    version: str = "v1",
    state: InstanceState = InstanceState.RUNNING,
    health: Health | None = None,
    launched_at: float = 0.0,
    named: bool = False,
    zone: str = "",
    incarnation: int = 0,
    provider: str = "local",
    draining: float | None = None,
    user_tags: dict[str, str] | None = None,
) -> Member:
    """A machine of the group, by default one that is ready."""
    if health is None:
        health = WELL if state is InstanceState.RUNNING else Health(Verdict.UNKNOWN)
    own = {
        tags.CLUSTER: "shop",
        tags.GROUP: "db" if named else "web",
        tags.CONFIG_HASH: f"v1-{version}",
        tags.IMAGE: image(version).identity,
        tags.SLOT: str(slot),
        tags.INCARNATION: str(incarnation),
    }
    if named:
        own[tags.LOGICAL_ID] = str(slot)
    if draining is not None:
        own[tags.DRAINING] = repr(draining)
    id_ = InstanceId(f"i-{slot}-{incarnation}-{version}")
    instance = Instance(id_, tags.with_user_tags(own, user_tags or {}), state, launched_at, zone=zone)
    return Member(instance, provider, health)


def snapshot(*members: Member, in_flight: tuple[InFlight, ...] = (), published: bool = True) -> Snapshot:
    identities = frozenset({image(v).identity for v in ("v1", "v2", "v3")}) if published else frozenset()
    incarnations = {m.slot: m.incarnation + 1 for m in members}
    return Snapshot(members, in_flight, incarnations, identities)


def decide(wanted: Desired, now_there: Snapshot, now: float = 1000.0) -> GroupPlan:
    """Decide, and check on the way that the same input gives the same plan and that no promise is broken by it."""
    plan = rolling.decide(wanted, now_there, now)
    assert plan == rolling.decide(wanted, now_there, now), "the same input must give the same plan"
    check_promises(wanted, now_there, plan)
    return plan


def check_promises(wanted: Desired, before: Snapshot, plan: GroupPlan) -> None:
    """The floor is kept, surge is kept, names are unique, whatever part of the plan is carried out."""
    by_id = {assessed.member.id: assessed for assessed in plan.members}
    leaving = [by_id[a.instance_id] for a in plan.actions if isinstance(a, Destroy | Drain)]
    assert len({a.member.id for a in leaving}) == len(leaving), "a machine is dismissed twice"
    serving = [a for a in leaving if a.condition is Condition.READY]
    if serving and not wanted.undeclared:
        assert plan.ready - len(serving) >= plan.bounds.floor, f"below the floor: {plan}"
    if wanted.logical_ids is not None and leaving:
        others = {a.member.id: a for a in plan.members if a not in leaving}
        moving = [a for a in others.values() if a.condition in (Condition.STARTING, Condition.LEAVING)]
        begun = [a for a in leaving if a.condition is not Condition.DRAINING]
        assert len(begun) <= 1, f"more than one named member at a time: {plan}"
        assert not (begun and moving), f"one goes while another is on its way: {plan}"
    may_serve = [a for a in plan.members if _may_serve(a)]
    may_serve_leaving = [a for a in leaving if _may_serve(a)]
    if may_serve_leaving and wanted.logical_ids is None and not wanted.undeclared:
        left = len(may_serve) - len(may_serve_leaving)
        assert left >= plan.bounds.floor, f"trusts the health check with the whole group: {plan}"
    creates = [a for a in plan.actions if isinstance(a, Create) and not a.resumes]
    if creates and wanted.logical_ids is None:
        present = sum(_counts(a) for a in plan.members) + len(before.in_flight)
        assert present + len(creates) <= plan.bounds.count + plan.bounds.surge, f"above the surge: {plan}"
    slots = [a.slot for a in plan.actions if isinstance(a, Create)]
    assert len(set(slots)) == len(slots), "a slot is filled twice"
    held = {a.member.slot for a in plan.members if a.member.instance.state is not InstanceState.INCOMPLETE}
    assert not held & set(slots), "a slot is filled that somebody holds"
    if plan.block is not None:
        assert not plan.actions, "a blocked plan does something"


def _may_serve(assessed: Assessed) -> bool:
    """Everything that runs, but for the new that have not come up: health checks may be wrong about a whole group."""
    if assessed.condition in (Condition.DEAD, Condition.DRAINING, Condition.LEAVING):
        return False
    coming_up = assessed.condition in (Condition.STARTING, Condition.UNKNOWN)
    return not (assessed.version is Version.CURRENT and coming_up)


def _counts(assessed: Assessed) -> bool:
    return assessed.condition not in (Condition.DEAD, Condition.LEAVING)


@dataclass
class World:
    """Machines of one group over time. `sick_versions` never get healthy."""

    wanted: Desired
    members: dict[InstanceId, Member] = field(default_factory=dict)
    in_flight: tuple[InFlight, ...] = ()
    incarnations: dict[str, int] = field(default_factory=dict)
    published: frozenset[str] = frozenset()
    sick_versions: frozenset[str] = frozenset()
    now: float = 1000.0

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(tuple(self.members.values()), self.in_flight, dict(self.incarnations), self.published)

    def plan(self) -> GroupPlan:
        return decide(self.wanted, self.snapshot, self.now)

    def ready(self) -> int:
        return self.plan().ready

    def carry_out(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            self._apply(action)

    def boot_all(self) -> None:
        """Let what starts come up, as far as its version lets it."""
        for id_, m in self.members.items():
            if m.instance.state is InstanceState.PENDING:
                sick = m.fingerprint.removeprefix("v1-") in self.sick_versions
                health = Health(Verdict.UNHEALTHY, "refused") if sick else WELL
                instance = replace(m.instance, state=InstanceState.RUNNING)
                self.members[id_] = replace(m, instance=instance, health=health)

    def set_state(self, id_: InstanceId, state: InstanceState) -> None:
        m = self.members[id_]
        self.members[id_] = replace(m, instance=replace(m.instance, state=state))

    def set_health(self, id_: InstanceId, health: Health) -> None:
        self.members[id_] = replace(self.members[id_], health=health)

    def settle(self, rounds: int = 400) -> GroupPlan:
        """Tick in a kind world until nothing is left to do."""
        for _ in range(rounds):
            plan = self.plan()
            if plan.converged or plan.block is not None:
                return plan
            self.carry_out(plan.actions)
            self.boot_all()
            for id_, m in list(self.members.items()):
                if m.draining_since is not None:
                    self.members[id_] = replace(m, drained=True)
                if m.instance.state is InstanceState.LEAVING:
                    del self.members[id_]
            self.now += 10.0
        raise AssertionError(f"does not converge: {plan}")

    def _apply(self, action: Action) -> None:
        match action:
            case Create():
                m = member(
                    action.slot,
                    version=self.wanted.fingerprint.removeprefix("v1-"),
                    state=InstanceState.PENDING,
                    launched_at=self.now,
                    named=action.logical_id is not None,
                    incarnation=action.incarnation,
                    health=Health(Verdict.UNKNOWN),
                    user_tags=dict(self.wanted.user_tags),
                )
                self.members[m.id] = m
                self.incarnations[action.slot] = action.incarnation + 1
            case Destroy():
                self.members.pop(action.instance_id, None)
            case Drain():
                self._tag(action.instance_id, {tags.DRAINING: repr(self.now)}, ())
            case Retag():
                self._tag(action.instance_id, dict(action.set_tags), action.remove_tags)
            case Publish():
                self.published |= {action.image.identity}
            case _:
                assert_never(action)

    def _tag(self, id_: InstanceId, set_: dict[str, str], remove: tuple[str, ...]) -> None:
        if id_ in self.members:
            m = self.members[id_]
            changed = {k: v for k, v in {**m.instance.tags, **set_}.items() if k not in remove}
            self.members[id_] = replace(m, instance=replace(m.instance, tags=changed))
