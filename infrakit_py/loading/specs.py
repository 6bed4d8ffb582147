"""A document that was read without a finding, as the spec that it declares."""

from infrakit_py.loading.documents import ClusterDocument, GroupEntry
from infrakit_py.loading.reading import Reading
from infrakit_py.model.spec import ClusterSpec, FlavorSpec, GroupSpec, HealthCheck, ProviderSpec, RolloutSpec


def cluster_spec(reading: Reading, document: ClusterDocument, source: str) -> ClusterSpec:
    """Return the cluster. `reading` must have no findings."""
    return ClusterSpec(
        name=document.metadata.name,
        source=source,
        providers={
            name: ProviderSpec(name, entry.plugin, reading.providers[name].settings or {})
            for name, entry in document.providers.items()
        },
        images=reading.images,
        groups={name: _group(name, entry, reading) for name, entry in document.groups.items()},
    )


def _group(name: str, entry: GroupEntry, reading: Reading) -> GroupSpec:
    return GroupSpec(
        name=name,
        provider=entry.provider,
        image=entry.image,
        size=entry.size,
        logical_ids=None if entry.logical_ids is None else tuple(entry.logical_ids),
        machine=reading.machines[name],
        flavor=FlavorSpec(entry.flavor.kind, entry.flavor.tags, reading.options[name]),
        health=HealthCheck(
            tcp=entry.health.tcp,
            interval_seconds=entry.health.interval,
            timeout_seconds=entry.health.timeout,
            healthy_after=entry.health.healthy_after,
            unhealthy_after=entry.health.unhealthy_after,
            grace_seconds=entry.health.grace,
        ),
        rollout=RolloutSpec(
            max_surge=entry.rollout.max_surge,
            max_unavailable=entry.rollout.max_unavailable,
            drain_timeout_seconds=entry.rollout.drain_timeout,
            progress_deadline_seconds=entry.rollout.progress_deadline,
        ),
        depends_on=tuple(entry.depends_on),
        prevent_destroy=entry.prevent_destroy,
    )
