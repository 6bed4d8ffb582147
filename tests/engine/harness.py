"""A cluster on the simulated provider, in virtual time, driven by the real engine in one thread."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Event as Flag

from infrakit_groups.flavors.vanilla import plugin as vanilla
from infrakit_groups.policies import rolling
from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.machines import Machine
from infrakit_providers.simulated.provider import SimulatedProvider
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.clock import Clock, VirtualClock
from infrakit_py.engine.budget import Budget
from infrakit_py.engine.cluster import Cluster, Group, declared, revived, want_nothing
from infrakit_py.engine.converge import Settlement, converge
from infrakit_py.engine.engine import Engine
from infrakit_py.engine.events import Event, EventKind
from infrakit_py.engine.execute import Executor
from infrakit_py.engine.health import HealthMonitor
from infrakit_py.engine.limits import Limiters
from infrakit_py.engine.meter import Meter, NoMeter
from infrakit_py.engine.observe import Observer
from infrakit_py.engine.reconcile import Reconciler
from infrakit_py.engine.runner import InlineRunner
from infrakit_py.engine.versions import Revive, Versions
from infrakit_py.model.instance import Instance, InstanceId
from infrakit_py.model.quantities import Amount
from infrakit_py.model.revision import GroupVersion
from infrakit_py.model.spec import (
    ClusterSpec,
    FlavorSpec,
    GroupSpec,
    HealthCheck,
    Image,
    ImageForm,
    ProviderSpec,
)
from infrakit_py.spi.flavor import Flavor
from infrakit_py.spi.store import Store
from infrakit_py.stores.memory import MemoryStore

CHECK = HealthCheck(tcp=8080, interval_seconds=1.0, grace_seconds=60.0)


def image(name: str) -> Image:
    letters = re.sub(r"[^0-9a-f]", "", name) or "0"
    return Image(name, (letters * 64)[:64], ImageForm.REFERENCE, reference=name)


IMAGES = {name: image(name) for name in ("a1", "a2", "a3")}


class StillFlavor:
    """Has nothing to say and nothing to drain."""

    drains = False

    def review(self, members: object) -> tuple[()]:
        del members
        return ()

    def material(self) -> dict[str, str]:
        return {}

    def user_data(self, member: object) -> bytes | None:
        del member
        return None

    def healthy(self, instance: Instance) -> str | None:
        del instance
        return None

    def drain(self, instance: Instance) -> bool:
        del instance
        return True


def group(name: str = "web", **changes: object) -> GroupSpec:
    """A group of three on image a1, or what the changes make of it."""
    values: dict[str, object] = {"provider": "sim", "image": "a1", "size": 3, "health": CHECK, "flavor": FlavorSpec()}
    if "logical_ids" in changes:
        del values["size"]
    return GroupSpec(name=name, **{**values, **changes})  # type: ignore[arg-type]


def reconciler_of(
    cluster: Cluster,
    observer: Observer,
    executor: Executor,
    store: Store,
    clock: Clock,
    revive: Revive = lambda version, now: declared("shop", now, version.image, StillFlavor(), rolling),
) -> Reconciler:
    """Put together what decides and does."""
    sizes = {name: group.desired.count for name, group in cluster.groups.items()}
    budget = Budget(cluster.max_unavailable, sizes)
    return Reconciler(observer, executor, Versions(cluster.name, store, clock, revive), budget, clock)


class WallClock(VirtualClock):
    """A clock that somebody may set."""

    def set_back(self, seconds: float) -> None:
        self._now -= seconds


@dataclass
class Lab:
    """A simulated cloud and all that works on it. `run` starts the program anew each time, as `infra apply` does.

    Labs of one `path` share a cloud; those of one process share `limiters`.
    """

    settings: Mapping[str, object] = field(default_factory=dict)
    clock: VirtualClock = field(default_factory=VirtualClock)
    store: Store = field(default_factory=MemoryStore)
    events: list[Event] = field(default_factory=list)
    path: Path | None = None
    cluster: str = "shop"
    limiters: Limiters = field(default_factory=Limiters)
    meter: Meter = field(default_factory=NoMeter)

    def __post_init__(self) -> None:
        self.cloud = SimCloud(SimSettings.model_validate(self.settings), self.clock, self.path)
        self.provider = SimulatedProvider(self.cloud, on_close=lambda: None)
        self.on_event: Callable[[Event], None] = self.events.append

    def engine(
        self,
        *groups: GroupSpec,
        allow: bool = False,
        flavors: Mapping[str, Flavor] | None = None,
        budget: Amount | None = None,
        endless: bool = False,
    ) -> Engine:
        spec = ClusterSpec(
            self.cluster,
            "cluster.yml",
            {"sim": ProviderSpec("sim", "simulated")},
            IMAGES,
            {g.name: g for g in groups},
        )
        made: dict[str, Group] = {}
        observer = Observer(
            self.cluster, {"sim": self.provider}, self.store, self._monitor(), self.clock, Random(1), self.meter
        )
        for g in groups:
            flavor = (flavors or {}).get(g.name) or vanilla.open(g.flavor.options, cluster=self.cluster, group=g.name)
            image = spec.images[g.image]
            made[g.name] = declared(self.cluster, g, image, flavor, rolling, revision=1, allow_mass_destroy=allow)
        for name in sorted(observer.groups_seen(all_of_them=True) - made.keys()):
            made[name] = Group(want_nothing(self.cluster, name, allow_mass_destroy=allow), rolling)
        after = {g.name: g.depends_on for g in groups}
        cluster = Cluster(self.cluster, 1, {"sim": self.provider}, made, after, budget)

        def revive(version: GroupVersion, now_declared: GroupSpec) -> Group:
            flavor = (flavors or {}).get(now_declared.name) or vanilla.open(
                {}, cluster=self.cluster, group=now_declared.name
            )
            return revived(self.cluster, version, now_declared, flavor, rolling)

        limiters = self.limiters.of(cluster.providers, self.clock.now())
        executor = Executor(cluster, self.store, InlineRunner(), self.clock, self._tell, limiters)
        reconciler = reconciler_of(cluster, observer, executor, self.store, self.clock, revive)
        chance = Random(1)
        return Engine(
            cluster,
            reconciler,
            InlineRunner(),
            self.clock,
            self._tell,
            poll_seconds=1.0,
            chance=chance,
            endless=endless,
            meter=self.meter,
        )

    def run(
        self,
        *groups: GroupSpec,
        allow: bool = False,
        timeout: float = 7200.0,
        flavors: Mapping[str, Flavor] | None = None,
        budget: Amount | None = None,
    ) -> Settlement:
        """Converge as a new process would."""
        engine = self.engine(*groups, allow=allow, flavors=flavors, budget=budget)
        return converge(engine, self.clock, timeout_seconds=timeout, stop=Flag())

    def ticks(self, engine: Engine) -> Iterator[None]:
        """Drive an engine until it has settled, yielding after each step."""
        while True:
            due = engine.step()
            yield
            if engine.settled:
                return
            engine.wait(due)

    def machines(self, group: str = "web") -> list[Machine]:
        """What really exists of a group, however new, and is not gone."""
        return [m for m in self.cloud.everything() if m.tags.get("infrakit.group") == group and m.state != "gone"]

    def images(self, group: str = "web") -> list[str]:
        return sorted(m.tags["infrakit.image"][:2] for m in self.machines(group))

    def told(self, kind: EventKind) -> list[str]:
        return [event.text for event in self.events if event.kind is kind]

    def _tell(self, event: Event) -> None:
        self.on_event(event)

    def _monitor(self) -> HealthMonitor:
        def remember(since: Mapping[InstanceId, float | None]) -> None:
            self.store.note_healthy(self.cluster, since)

        return HealthMonitor(self.clock, InlineRunner(), self.store.healthy_since(self.cluster), remember)
