"""Fleets to measure on: snapshots of any size, and the real engine on any provider."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Final

from infrakit_groups.flavors.vanilla import plugin as vanilla
from infrakit_groups.policies import rolling
from infrakit_py.clock import Clock
from infrakit_py.engine.budget import Budget
from infrakit_py.engine.cluster import Cluster, declared, revived
from infrakit_py.engine.engine import Engine
from infrakit_py.engine.events import Event
from infrakit_py.engine.execute import Executor
from infrakit_py.engine.health import HealthMonitor
from infrakit_py.engine.limits import Limiters
from infrakit_py.engine.observe import Observer
from infrakit_py.engine.reconcile import Reconciler
from infrakit_py.engine.runner import Runner
from infrakit_py.engine.versions import Versions
from infrakit_py.model import tags
from infrakit_py.model.instance import Health, Instance, InstanceId, InstanceState, Member, Snapshot, Verdict
from infrakit_py.model.plan import Desired
from infrakit_py.model.spec import FlavorSpec, GroupSpec, HealthCheck, Image, ImageForm, Json, RolloutSpec
from infrakit_py.spi.provider import Provider
from infrakit_py.spi.store import Store

IMAGES: Final = {
    name: Image(name, digit * 64, ImageForm.REFERENCE, reference=name) for name, digit in (("v1", "1"), ("v2", "2"))
}
_ZONES: Final = ("a", "b", "c")


def snapshot(group: str, machines: int, *, outdated_share: float) -> Snapshot:
    """Make a group of healthy machines, so many of which are of another version, spread evenly."""
    every = int(1 / outdated_share)
    members = []
    for number in range(machines):
        old = number % every == 0
        held = {
            tags.CLUSTER: "bench",
            tags.GROUP: group,
            tags.CONFIG_HASH: "v1-old" if old else "v1-new",
            tags.IMAGE: IMAGES["v1" if old else "v2"].identity,
            tags.REVISION: "1",
            tags.TOKEN: tags.token("bench", group, str(number), 0) if machines <= 1000 else str(number),
            tags.SLOT: str(number),
            tags.INCARNATION: "0",
        }
        zone = _ZONES[number % len(_ZONES)]
        instance = Instance(
            InstanceId(f"i-{group}-{number}"), held, InstanceState.RUNNING, 1000.0 + number, zone=zone
        )
        members.append(Member(instance, "cloud", Health(Verdict.HEALTHY, ever_healthy=True, since=2000.0)))
    return Snapshot(tuple(members), published=frozenset(image.identity for image in IMAGES.values()))


def wanted(group: str, machines: int, rollout: RolloutSpec) -> Desired:
    """Want the new version of such a group."""
    return Desired("bench", group, "cloud", IMAGES["v2"], "v1-new", machines, checks_health=True, rollout=rollout)


@dataclass
class Fleet:
    """One group at a provider, and the engine that works on it."""

    provider: Provider
    clock: Clock
    runner: Callable[[], Runner]
    store: Store
    images: Mapping[str, Image] = field(default_factory=lambda: IMAGES)
    events: list[Event] = field(default_factory=list)
    runners: list[Runner] = field(default_factory=list)

    def close(self) -> None:
        """Wait for what runs."""
        for runner in self.runners:
            runner.close()

    def engine(self, group: GroupSpec, *, endless: bool = False) -> Engine:
        """Make the engine as `infra apply` does."""
        runner = self.runner()
        self.runners.append(runner)
        flavor = vanilla.open(group.flavor.options, cluster="bench", group=group.name)
        made = {group.name: declared("bench", group, self.images[group.image], flavor, rolling, revision=1)}
        providers: dict[str, Provider] = {"cloud": self.provider}
        cluster = Cluster("bench", 1, providers, made, {})
        observer = Observer("bench", providers, self.store, HealthMonitor(self.clock, runner), self.clock, Random(1))
        limiters = Limiters().of(providers, self.clock.now())
        executor = Executor(cluster, self.store, runner, self.clock, self.events.append, limiters)
        versions = Versions(
            "bench", self.store, self.clock, lambda version, now: revived("bench", version, now, flavor, rolling)
        )
        budget = Budget(None, {})
        reconciler = Reconciler(observer, executor, versions, budget, self.clock)
        return Engine(
            cluster,
            reconciler,
            runner,
            self.clock,
            self.events.append,
            poll_seconds=1.0,
            chance=Random(1),
            endless=endless,
        )

    def converge(self, group: GroupSpec) -> float:
        """Bring the group to what is wanted; return the seconds that it took by the fleet's clock."""
        engine, began = self.engine(group), self.clock.now()
        while True:
            due = engine.step()
            if engine.settled:
                return self.clock.now() - began
            engine.wait(min(due, inf))


def group(
    size: int,
    image: str = "v1",
    rollout: RolloutSpec | None = None,
    check: HealthCheck | None = None,
    machine: Mapping[str, Json] | None = None,
) -> GroupSpec:
    """Declare a group. Without a check a machine is healthy when it runs."""
    return GroupSpec(
        name="web",
        provider="cloud",
        image=image,
        size=size,
        machine=machine or {},
        flavor=FlavorSpec(),
        health=check or HealthCheck(grace_seconds=600.0),
        rollout=rollout or RolloutSpec(progress_deadline_seconds=86400.0),
    )
