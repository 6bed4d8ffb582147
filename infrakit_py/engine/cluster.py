"""A cluster made ready to be worked on: its spec, opened plugins and what is wanted of each group."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from infrakit_py.model.fingerprint import fingerprint
from infrakit_py.model.plan import Desired
from infrakit_py.model.quantities import Amount
from infrakit_py.model.revision import GroupVersion
from infrakit_py.model.spec import GroupSpec, Image
from infrakit_py.spi.flavor import Flavor
from infrakit_py.spi.policy import Policy
from infrakit_py.spi.provider import Provider


@dataclass(frozen=True, slots=True)
class Group:
    """One group, with all that a tick needs. All but the first two are None for a group that nobody declares."""

    desired: Desired
    policy: Policy
    spec: GroupSpec | None = None
    flavor: Flavor | None = None
    version: GroupVersion | None = None

    @property
    def name(self) -> str:
        return self.desired.group


@dataclass(frozen=True, slots=True)
class Cluster:
    """`after` maps a group to the groups that must have settled before it may change anything."""

    name: str
    revision: int
    providers: Mapping[str, Provider]
    groups: Mapping[str, Group]
    after: Mapping[str, tuple[str, ...]]
    max_unavailable: Amount | None = None

    @property
    def size(self) -> int:
        """How many machines are wanted in all groups together."""
        return sum(group.desired.count for group in self.groups.values())


def declared(
    cluster: str,
    spec: GroupSpec,
    image: Image,
    flavor: Flavor,
    policy: Policy,
    *,
    provider: Provider | None = None,
    revision: int = 0,
    allow_mass_destroy: bool = False,
) -> Group:
    """Make a group as its declaration wants it. `provider` is where it runs, where that is open."""
    desired = want(cluster, spec, image, flavor, allow_mass_destroy=allow_mass_destroy)
    if provider is not None and provider.drains(spec.machine):
        desired = replace(desired, drains=True)
    kept = replace(image, recipe=None)  # what is remembered boots; how it was built is the cache's to know
    version = GroupVersion(spec, kept, desired.fingerprint, revision)
    return Group(desired, policy, spec, flavor, version)


def revived(
    cluster: str,
    version: GroupVersion,
    now: GroupSpec,
    flavor: Flavor,
    policy: Policy,
    provider: Provider | None = None,
) -> Group:
    """Make a group of an earlier version's machines, in the number and with the care that are declared now."""
    spec = replace(
        version.group,
        size=now.size,
        logical_ids=now.logical_ids,
        rollout=now.rollout,
        healing=now.healing,
        scale_down=now.scale_down,
        max_age_seconds=now.max_age_seconds,
        rebalance=now.rebalance,
        depends_on=now.depends_on,
        prevent_destroy=now.prevent_destroy,
    )
    group = declared(cluster, spec, version.image, flavor, policy, provider=provider, revision=version.revision)
    return replace(group, desired=replace(group.desired, fingerprint=version.fingerprint), version=version)


def want(
    cluster: str, group: GroupSpec, image: Image, flavor: Flavor, *, allow_mass_destroy: bool = False
) -> Desired:
    """Return what a declaration wants of a group."""
    return Desired(
        cluster=cluster,
        group=group.name,
        provider=group.provider,
        image=image,
        fingerprint=fingerprint(image_identity=image.identity, machine=group.machine, flavor=flavor.material()),
        count=group.count,
        logical_ids=group.logical_ids,
        grace_seconds=group.health.grace_seconds,
        checks_health=group.health.asks,
        rollout=group.rollout,
        healing=group.healing,
        scale_down=group.scale_down,
        max_age_seconds=group.max_age_seconds,
        rebalance=group.rebalance,
        user_tags=group.flavor.tags,
        drains=flavor.drains,
        prevent_destroy=group.prevent_destroy,
        allow_mass_destroy=allow_mass_destroy,
    )


def want_nothing(cluster: str, group: str, *, allow_mass_destroy: bool) -> Desired:
    """Return the wish that nothing of a group shall remain."""
    return Desired(
        cluster=cluster,
        group=group,
        provider="",
        image=None,
        fingerprint="",
        count=0,
        undeclared=True,
        allow_mass_destroy=allow_mass_destroy,
    )
