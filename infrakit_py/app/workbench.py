"""One cluster with its providers opened: looked at, planned, changed. What it is made of comes from the app."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from random import Random
from threading import Event as Flag
from typing import Final

from infrakit_py.clock import Clock
from infrakit_py.engine.budget import Budget
from infrakit_py.engine.cluster import Cluster, Group
from infrakit_py.engine.converge import Settlement, converge
from infrakit_py.engine.engine import Engine
from infrakit_py.engine.events import Event, EventKind, Listener
from infrakit_py.engine.execute import Executor, allowed
from infrakit_py.engine.forecast import Forecast, World, forecast
from infrakit_py.engine.health import HealthMonitor
from infrakit_py.engine.limits import Limiter
from infrakit_py.engine.meter import Meter, NoMeter
from infrakit_py.engine.observe import Observer
from infrakit_py.engine.reconcile import Reconciler
from infrakit_py.engine.runner import Runner
from infrakit_py.engine.versions import Versions
from infrakit_py.errors import ProviderError
from infrakit_py.model.fingerprint import spec_digest
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.plan import Block, Bounds, GroupPlan
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.spi.provider import Leftover
from infrakit_py.spi.store import Store
from infrakit_py.stores.past import Remembered

POLL_SECONDS: Final = 1.0


@dataclass(slots=True)
class Workbench:
    """One cluster with its providers opened: look at it, plan it, change it.

    `unseen` names the groups that could not be seen at the last look.
    """

    spec: ClusterSpec
    cluster: Cluster
    observer: Observer
    monitor: HealthMonitor
    runner: Runner
    clock: Clock
    store: Store
    versions: Versions
    chance: Random
    limiters: Mapping[str, Limiter]
    permit: Callable[[], None] = allowed
    meter: Meter = field(default_factory=NoMeter)
    unseen: set[str] = field(default_factory=set)

    def look(self) -> Mapping[str, GroupPlan]:
        """Observe and decide once for every group, after its machines' health is known. Touch nothing."""
        reconciler = self._reconciler(_unheard)
        plans = self._decide_all(reconciler)
        deadline = self.clock.now() + self._longest_verdict_seconds()
        while self.clock.now() < deadline and not self._health_is_known(plans):
            self.clock.sleep(min(self._shortest_interval_seconds(), 1.0))
            plans = self._decide_all(reconciler)
        return plans

    def require_sight(self) -> None:
        """Raise ProviderError where a group cannot be seen."""
        for group in self.cluster.groups.values():
            target = self.versions.target(group).group
            self.observer.observe(target, after_turn=0, max_age_seconds=inf)

    def remembered(self) -> Remembered:
        """Return what the store remembers, of the groups that are worked on."""
        name = self.spec.name
        return Remembered(
            self.store.intents(name),
            self.cluster.revision,
            spec_digest(self.spec),
            [record for group in self.cluster.groups for record in self.store.versions(name, group)],
            self.store.history(name),
            self.store.pauses(name),
            self.store.healthy_since(name),
        )

    def plan(self) -> tuple[Forecast, ...]:
        """Forecast every group. Touch nothing."""
        self.look()
        return tuple(self._forecast(group) for group in self.cluster.groups.values())

    def remember_good(self, forecasts: Sequence[Forecast]) -> None:
        """Remember the versions of groups that are as declared already: there may be a way back to them one day."""
        for seen in forecasts:
            group = self.cluster.groups[seen.group]
            if seen.first.converged and not seen.unseen and self.versions.target(group).back_from is None:
                self.versions.completed(group)

    def engine(
        self,
        listener: Listener,
        names: Collection[str],
        *,
        endless: bool = False,
        poll_seconds: float = POLL_SECONDS,
    ) -> Engine:
        """Make the engine that brings these groups to what is wanted, woken by the providers' events.

        `endless`: and keeps them there.
        """
        groups = {name: group for name, group in self.cluster.groups.items() if name in names}
        cluster = replace(self.cluster, groups=groups)
        engine = Engine(
            cluster,
            self._reconciler(listener),
            self.runner,
            self.clock,
            listener,
            poll_seconds=poll_seconds,
            chance=self.chance,
            endless=endless,
            meter=self.meter,
        )
        for name, provider in self.cluster.providers.items():
            provider.watch(partial(engine.heard, name))
        return engine

    def converge(self, engine: Engine, *, timeout_seconds: float, stop: Flag) -> Settlement:
        return converge(engine, self.clock, timeout_seconds=timeout_seconds, stop=stop)

    def leftovers(self, groups: Sequence[str], *, keep_data: bool) -> Mapping[str, Sequence[Leftover]]:
        """Return, by provider, what would remain of these groups, or of the whole cluster where none is named."""
        found: dict[str, Sequence[Leftover]] = {}
        for name, provider in self.cluster.providers.items():
            found[name] = [
                leftover
                for leftover in provider.leftovers(self.cluster.name)
                if not (keep_data and leftover.holds_data) and (not groups or leftover.group in groups)
            ]
        return found

    def sweep(self, groups: Sequence[str], *, keep_data: bool, listener: Listener) -> tuple[ProviderError, ...]:
        """Delete what remains of a destroyed cluster, and return what could not be deleted."""
        errors: list[ProviderError] = []
        for name, leftovers in self.leftovers(groups, keep_data=keep_data).items():
            if not leftovers:
                continue
            self.permit()
            outcomes = self.cluster.providers[name].sweep(self.cluster.name, leftovers)
            for leftover, outcome in zip(leftovers, outcomes, strict=True):
                if outcome.error is not None:
                    errors.append(outcome.error)
                    continue
                text = f"{leftover.kind} {leftover.name}"
                listener(Event(self.clock.now(), EventKind.SWEPT, leftover.group or "-", text))
        return tuple(errors)

    def _reconciler(self, listener: Listener) -> Reconciler:
        executor = Executor(
            self.cluster, self.store, self.runner, self.clock, listener, self.limiters, self.permit, self.meter
        )
        sizes = {name: group.desired.count for name, group in self.cluster.groups.items()}
        budget = Budget(self.cluster.max_unavailable, sizes)
        return Reconciler(self.observer, executor, self.versions, budget, self.clock)

    def _decide_all(self, reconciler: Reconciler) -> Mapping[str, GroupPlan]:
        turn = self.observer.turn()
        return {name: self._decide(reconciler, group, turn) for name, group in self.cluster.groups.items()}

    def _decide(self, reconciler: Reconciler, group: Group, after_turn: int) -> GroupPlan:
        self.unseen.discard(group.name)
        try:
            return reconciler.decide(group, after_turn=after_turn, max_age_seconds=inf)[0]
        except ProviderError as exc:
            self.unseen.add(group.name)
            return _blind(group, exc)

    def _forecast(self, group: Group) -> Forecast:
        target = self.versions.target(group)
        try:
            observation = self.observer.observe(target.group, after_turn=0, max_age_seconds=POLL_SECONDS)
        except ProviderError as exc:
            plan = _blind(group, exc)
            return Forecast(group.name, plan.bounds, plan, (), 0, plan.block, unseen=True)
        seen = forecast(
            group.policy, target.group.desired, observation.snapshot, self.clock.now(), self._world(target.group)
        )
        if target.back_from is None:
            return seen
        left = target.back_from
        why = f"revision {left.version.revision} is {left.why}"
        return replace(seen, goes_to=f"{_version(target.group)}, because {why}")

    def _world(self, group: Group) -> World:
        provider = self.cluster.providers.get(group.desired.provider)
        if provider is None or group.spec is None:
            return World(poll_seconds=POLL_SECONDS)
        return World(provider.pace, provider.limits, group.spec.health, POLL_SECONDS)

    def _health_is_known(self, plans: Mapping[str, GroupPlan]) -> bool:
        running = [
            (a.member.provider, a.member.id)
            for plan in plans.values()
            for a in plan.members
            if a.member.instance.state is InstanceState.RUNNING
        ]
        return self.monitor.is_settled(running)

    def _longest_verdict_seconds(self) -> float:
        checks = [g.spec.health for g in self.cluster.groups.values() if g.spec is not None]
        return max(
            (
                (c.interval_seconds + c.timeout_seconds) * max(c.healthy_after, c.unhealthy_after)
                for c in checks
                if c.asks
            ),
            default=0.0,
        )

    def _shortest_interval_seconds(self) -> float:
        checks = [g.spec.health for g in self.cluster.groups.values() if g.spec is not None]
        return min((c.interval_seconds for c in checks), default=1.0)


def _blind(group: Group, error: ProviderError) -> GroupPlan:
    """Return the plan for a group that cannot be seen: to do nothing, and to say why."""
    bounds = Bounds(group.desired.count, surge=0, unavailable=0, floor=group.desired.count)
    return GroupPlan(group.name, bounds, block=Block(str(error), error.hint or ""))


def _version(group: Group) -> str:
    if (version := group.version) is None:
        return "-"
    return f"{version.image.name} ({version.image.short}) of revision {version.revision}"


def _unheard(event: Event) -> None:
    """Looking tells nobody anything."""
