"""What a rehearsal is played on: clouds that stand in for real providers, and what they begin with.

It knows no plugin and asks nobody outside: whoever sets the stage brings the clouds.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from infrakit_py.engine.cluster import Cluster
from infrakit_py.errors import PluginError
from infrakit_py.model.fingerprint import canonical
from infrakit_py.model.instance import Instance, InstanceId
from infrakit_py.model.plan import Condition, GroupPlan
from infrakit_py.model.quantities import format_duration
from infrakit_py.model.revision import VersionRecord
from infrakit_py.model.spec import ClusterSpec, GroupSpec, HealthCheck, Image, ImageFile, Json
from infrakit_py.spi.flavor import Flavor, MemberIdentity
from infrakit_py.spi.provider import (
    CallLimits,
    CallRates,
    DestroyRequest,
    Outcome,
    Pace,
    Probing,
    Provider,
    ProvisionRequest,
    Rehearsing,
    TagRequest,
)

ANY_PORT: Final = 1
BEGINNING: Final = 1_750_075_200.0
"""When rehearsals begin that begin with nothing real: a Monday, at noon in UTC."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a provider without a call to it. `zones`: of machine mappings, by their canonical text."""

    pace: Pace = field(default_factory=Pace)
    limits: CallLimits = field(default_factory=CallLimits)
    zones: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def limited(self) -> bool:
        return is_limited(self.limits)

    def zones_of(self, machine: Mapping[str, Json]) -> tuple[str, ...]:
        return self.zones.get(canonical(machine), ())


@dataclass(frozen=True, slots=True)
class Scene:
    """What a rehearsal begins with, by provider: its machines, those of them that are ill, its images.

    `at` is the Unix time in seconds at which it begins.
    """

    at: float = BEGINNING
    machines: Mapping[str, Sequence[Instance]] = field(default_factory=dict)
    ill: Collection[InstanceId] = ()
    published: Mapping[str, Sequence[Image]] = field(default_factory=dict)
    known: Mapping[str, Known] = field(default_factory=dict)

    def zones(self, provider: str) -> tuple[str, ...]:
        """Return all zones that are spoken of, in a fixed order."""
        known = self.known.get(provider, Known())
        of_machines = sorted({machine.zone for machine in self.machines.get(provider, ()) if machine.zone})
        return tuple(dict.fromkeys([*(zone for zones in known.zones.values() for zone in zones), *of_machines]))

    def set_up(self, provider: str, cloud: "StandIn") -> None:
        """Let a cloud take over what a provider has."""
        for image in self.published.get(provider, ()):
            cloud.publish(image, _unheard)
        machines = self.machines.get(provider, ())
        cloud.adopt(machines, healthy={machine.id: machine.id not in self.ill for machine in machines})


def scene(cluster: Cluster, plans: Mapping[str, GroupPlan], images: Sequence[Image], at: float) -> Scene:
    """Return what a cluster shows now, by the plans of a look. A machine that still starts is taken to come up."""
    machines: dict[str, list[Instance]] = {name: [] for name in cluster.providers}
    ill: set[InstanceId] = set()
    zones: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in cluster.providers}
    for assessed in (assessed for plan in plans.values() for assessed in plan.members):
        machines[assessed.member.provider].append(assessed.member.instance)
        if assessed.condition is Condition.UNHEALTHY:
            ill.add(assessed.member.id)
    for spec in (group.spec for group in cluster.groups.values() if group.spec is not None):
        zones[spec.provider][canonical(spec.machine)] = cluster.providers[spec.provider].zones(spec.machine)
    published: dict[str, list[Image]] = {}
    for name in sorted({group.desired.provider for group in cluster.groups.values() if group.desired.provider}):
        there = cluster.providers[name].published(images)
        published[name] = [image for image in images if image.identity in there]
    known = {name: Known(one.pace, one.limits, zones[name]) for name, one in cluster.providers.items()}
    return Scene(at, machines, ill, published, known)


class StandIn(Provider):
    """A simulated cloud in a provider's place. Where that one is of another kind, `known` is what is known of it."""

    def __init__(self, cloud: Provider, known: Known | None = None) -> None:
        """PluginError for a cloud that cannot be rehearsed on, or cannot answer for its machines' health."""
        if not isinstance(cloud, Rehearsing) or not isinstance(cloud, Probing):
            raise PluginError("the simulated provider that is installed cannot be rehearsed on")
        self.limits = known.limits if known is not None else cloud.limits
        self.pace = cloud.pace
        self.listing_lag_seconds = cloud.listing_lag_seconds
        self.mishaps = cloud.mishaps
        self._cloud: Provider = cloud
        self._stage: Rehearsing = cloud
        self._health: Probing = cloud
        self._known = known

    def describe(self, cluster: str) -> Sequence[Instance]:
        return self._cloud.describe(cluster)

    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        return self._cloud.lookup(instance_ids)

    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        return self._cloud.provision([replace(request, machine=self._read(request.machine)) for request in requests])

    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        return self._cloud.destroy(requests)

    def tag(self, requests: Sequence[TagRequest]) -> Sequence[Outcome]:
        return self._cloud.tag(requests)

    def published(self, images: Sequence[Image]) -> frozenset[str]:
        return self._cloud.published(images)

    def publish(self, image: Image, progress: Callable[[int, int], None]) -> None:
        self._cloud.publish(image, progress)

    def zones(self, machine: Mapping[str, Json]) -> tuple[str, ...]:
        return self._known.zones_of(machine) if self._known is not None else self._cloud.zones(machine)

    def watch(self, wake: Callable[[], None]) -> None:
        self._cloud.watch(wake)

    def probe(self, instance_id: InstanceId, check: HealthCheck) -> str | None:
        return self._health.probe(instance_id, check)

    def adopt(self, instances: Sequence[Instance], *, healthy: Mapping[InstanceId, bool]) -> None:
        self._stage.adopt(instances, healthy=healthy)

    def mishap(self, kind: str, amount: float, target: str) -> None:
        self._stage.mishap(kind, amount, target)

    def close(self) -> None:
        self._cloud.close()

    def _read(self, machine: Mapping[str, Json]) -> Mapping[str, Json]:
        if self._known is None:
            return machine
        zones = self._known.zones_of(machine)
        return {"zones": list(zones)} if zones else {}


class StillFlavor:
    """A flavor that talks to nobody: what is to be drained is drained at once."""

    def __init__(self, flavor: Flavor) -> None:
        self.drains = flavor.drains
        self.review = flavor.review
        self.material = flavor.material
        self.user_data: Callable[[MemberIdentity], bytes | None] = flavor.user_data

    def healthy(self, instance: Instance) -> str | None:
        del instance
        return None

    def drain(self, instance: Instance) -> bool:
        del instance
        return True


def rehearsable(spec: ClusterSpec) -> ClusterSpec:
    """Return a spec whose checks ask nobody but the provider that stands in, and whose images are all there."""
    return replace(
        spec,
        images={name: _rehearsable_image(image) for name, image in spec.images.items()},
        groups={name: rehearsable_group(group) for name, group in spec.groups.items()},
    )


def _rehearsable_image(image: Image) -> Image:
    """Let an image that is not built be taken for one: on a stand-in nothing boots from its files."""
    if image.is_built or image.recipe is None:
        return image
    return replace(image, files={"kernel": ImageFile(image.recipe.file, image.recipe.key, 0)})


def rehearsable_group(group: GroupSpec) -> GroupSpec:
    check = group.health
    if not check.asks:
        return group
    check = replace(check, tcp=check.tcp or ANY_PORT, http=None, command=(), flavor=False)
    return replace(group, health=check)


def rehearsable_version(record: VersionRecord) -> VersionRecord:
    return replace(record, version=replace(record.version, group=rehearsable_group(record.version.group)))


def is_limited(limits: CallLimits) -> bool:
    """Tell whether so many machines may be made in a time and no more."""
    return limits.provision != CallRates()


def cloud_settings(known: Known, zones: Sequence[str]) -> dict[str, Json]:
    """Return the simulated provider's settings for a cloud like a provider that is known."""
    pace = known.pace
    settings: dict[str, Json] = {
        "boot_time": format_duration(pace.boot_seconds),
        "destroy_time": format_duration(pace.gone_seconds),
        "listing_lag": format_duration(pace.listed_seconds),
        "provision_delay": format_duration(pace.call_seconds),
        "limits": "ec2" if known.limited else "none",
    }
    return settings | ({"zones": dict.fromkeys(zones)} if zones else {})


def _unheard(done: int, total: int) -> None:
    """An image that is there already is told of to nobody."""
