"""A document that was read without a finding, as the spec that it declares."""

from infrakit_py.loading.documents import (
    ClusterDocument,
    GroupEntry,
    HealingEntry,
    HealthEntry,
    HttpEntry,
    RolloutEntry,
    WindowEntry,
)
from infrakit_py.loading.reading import Reading
from infrakit_py.model.spec import (
    ClusterSpec,
    FlavorSpec,
    GroupSpec,
    HealingSpec,
    HealthCheck,
    HttpCheck,
    ProviderSpec,
    RolloutSpec,
    Window,
)


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
        max_unavailable=document.budget.max_unavailable,
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
        health=_health(entry.health),
        rollout=_rollout(entry.rollout),
        healing=_healing(entry.healing),
        scale_down=entry.scale_down,
        max_age_seconds=entry.max_age,
        rebalance=entry.rebalance,
        depends_on=tuple(entry.depends_on),
        prevent_destroy=entry.prevent_destroy,
    )


def _health(entry: HealthEntry) -> HealthCheck:
    return HealthCheck(
        tcp=entry.tcp,
        http=None if entry.http is None else _http(entry.http),
        command=tuple(entry.command or ()),
        flavor=entry.flavor,
        interval_seconds=entry.interval,
        timeout_seconds=entry.timeout,
        healthy_after=entry.healthy_after,
        unhealthy_after=entry.unhealthy_after,
        grace_seconds=entry.grace,
    )


def _http(entry: HttpEntry) -> HttpCheck:
    return HttpCheck(
        port=entry.port,
        path=entry.path,
        https=entry.scheme == "https",
        verify=entry.verify,
        host=entry.host or "",
        headers=entry.headers,
        status=tuple(entry.status),
        body=entry.body or "",
    )


def _rollout(entry: RolloutEntry) -> RolloutSpec:
    return RolloutSpec(
        strategy=entry.strategy,
        max_surge=entry.max_surge,
        max_unavailable=entry.max_unavailable,
        steps=tuple(entry.steps),
        bake_seconds=entry.bake,
        min_ready_seconds=entry.min_ready,
        failure_limit=entry.failure_limit,
        on_failure=entry.on_failure,
        order=entry.order,
        windows=tuple(_window(window) for window in entry.windows),
        paused=entry.paused,
        keep_old_seconds=entry.keep_old,
        drain_timeout_seconds=entry.drain_timeout,
        progress_deadline_seconds=entry.progress_deadline,
    )


def _window(entry: WindowEntry) -> Window:
    return Window(
        start_minutes=entry.start,
        duration_seconds=entry.duration,
        days=tuple(sorted({day for days in entry.days or () for day in days})),
        time_zone=entry.time_zone,
    )


def _healing(entry: HealingEntry) -> HealingSpec:
    return HealingSpec(
        back_off_seconds=entry.back_off,
        max_back_off_seconds=entry.max_back_off,
        max_unhealthy=entry.max_unhealthy,
        max_failed_launches=entry.max_failed_launches,
        retry_seconds=entry.retry,
        max_alike=entry.max_alike,
    )
