"""A cluster on the simulated provider, in virtual time, driven by the real engine in one thread."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag

from infrakit_groups.flavors.vanilla import plugin as vanilla
from infrakit_groups.policies import rolling
from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.machines import Machine
from infrakit_providers.simulated.provider import SimulatedProvider
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.clock import VirtualClock
from infrakit_py.engine.cluster import Cluster, Group, want, want_nothing
from infrakit_py.engine.converge import Settlement, converge
from infrakit_py.engine.engine import Engine
from infrakit_py.engine.events import Event, EventKind
from infrakit_py.engine.execute import Executor
from infrakit_py.engine.health import HealthMonitor
from infrakit_py.engine.observe import Observer
from infrakit_py.engine.reconcile import Reconciler
from infrakit_py.engine.runner import InlineRunner
from infrakit_py.model.instance import Instance
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

    def drain(self, instance: Instance) -> bool:
        del instance
        return True


def group(name: str = "web", **changes: object) -> GroupSpec:
    """A group of three on image a1, or what the changes make of it."""
    values: dict[str, object] = {"provider": "sim", "image": "a1", "size": 3, "health": CHECK, "flavor": FlavorSpec()}
    if "logical_ids" in changes:
        del values["size"]
    return GroupSpec(name=name, **{**values, **changes})  # type: ignore[arg-type]


@dataclass
class Lab:
    """A simulated cloud and all that works on it. `run` starts the program anew each time, as `infra apply` does."""

    settings: Mapping[str, object] = field(default_factory=dict)
    clock: VirtualClock = field(default_factory=VirtualClock)
    store: Store = field(default_factory=MemoryStore)
    events: list[Event] = field(default_factory=list)
    path: Path | None = None

    def __post_init__(self) -> None:
        self.cloud = SimCloud(SimSettings.model_validate(self.settings), self.clock, self.path)
        self.provider = SimulatedProvider(self.cloud, on_close=lambda: None)
        self.on_event: Callable[[Event], None] = self.events.append

    def engine(self, *groups: GroupSpec, allow: bool = False, flavors: Mapping[str, Flavor] | None = None) -> Engine:
        spec = ClusterSpec(
            "shop", "cluster.yml", {"sim": ProviderSpec("sim", "simulated")}, IMAGES, {g.name: g for g in groups}
        )
        made: dict[str, Group] = {}
        observer = Observer("shop", {"sim": self.provider}, self.store, self._monitor(), self.clock)
        for g in groups:
            flavor = (flavors or {}).get(g.name) or vanilla.open(g.flavor.options, cluster="shop", group=g.name)
            made[g.name] = Group(want(spec, g, flavor, allow_mass_destroy=allow), rolling, g, flavor)
        for name in sorted(observer.groups_seen(all_of_them=True) - made.keys()):
            made[name] = Group(want_nothing("shop", name, allow_mass_destroy=allow), rolling)
        after = {g.name: g.depends_on for g in groups}
        cluster = Cluster("shop", 1, {"sim": self.provider}, made, after)
        executor = Executor(cluster, self.store, InlineRunner(), self.clock, self._tell)
        reconciler = Reconciler(observer, executor, self.clock)
        return Engine(cluster, reconciler, InlineRunner(), self.clock, self._tell, poll_seconds=1.0)

    def run(
        self,
        *groups: GroupSpec,
        allow: bool = False,
        timeout: float = 7200.0,
        flavors: Mapping[str, Flavor] | None = None,
    ) -> Settlement:
        """Converge as a new process would."""
        engine = self.engine(*groups, allow=allow, flavors=flavors)
        return converge(engine, self.clock, timeout_seconds=timeout, stop=Flag())

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
        return HealthMonitor(self.clock, InlineRunner())
