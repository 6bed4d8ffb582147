"""A cluster made ready to be worked on: its spec, opened plugins and what is wanted of each group."""

from collections.abc import Mapping
from dataclasses import dataclass

from infrakit_py.model.fingerprint import fingerprint
from infrakit_py.model.plan import Desired
from infrakit_py.model.spec import ClusterSpec, GroupSpec
from infrakit_py.spi.flavor import Flavor
from infrakit_py.spi.policy import Policy
from infrakit_py.spi.provider import Provider


@dataclass(frozen=True, slots=True)
class Group:
    """One group, with all that a tick needs. `spec` and `flavor` are None for a group that nobody declares."""

    desired: Desired
    policy: Policy
    spec: GroupSpec | None = None
    flavor: Flavor | None = None

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


def want(spec: ClusterSpec, group: GroupSpec, flavor: Flavor, *, allow_mass_destroy: bool = False) -> Desired:
    """Return what the spec wants of a group."""
    image = spec.images[group.image]
    return Desired(
        cluster=spec.name,
        group=group.name,
        provider=group.provider,
        image=image,
        fingerprint=fingerprint(image_identity=image.identity, machine=group.machine, flavor=flavor.material()),
        count=group.count,
        logical_ids=group.logical_ids,
        grace_seconds=group.health.grace_seconds,
        checks_health=group.health.tcp is not None,
        rollout=group.rollout,
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
