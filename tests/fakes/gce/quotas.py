"""Quotas by region: what is used of each, and what an instance would add."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from infrakit_py.model.instance import InstanceState
from tests.fakes.gce.launching import Wish
from tests.fakes.gce.settings import METRICS, region_of
from tests.fakes.gce.tables import MachineType, OpError
from tests.fakes.gce.world import World

_NO_CPUS: Final = (InstanceState.STOPPED, InstanceState.GONE)


def needs(world: World, wish: Wish) -> Counter[str]:
    """Return what one instance takes, by metric."""
    region = region_of(wish.zone)
    found = Counter({"INSTANCES": 1, _cpus(world, region, wish.type, spot=wish.spot): wish.type.vcpus})
    found["IN_USE_ADDRESSES"] = sum(one.external for one in wish.interfaces)
    for disk in wish.disks:
        if disk.source is None:
            found[disk_metric(disk.type)] += disk.size_gb
    return found


def disk_metric(type_: str) -> str:
    return {"pd-standard": "DISKS_TOTAL_GB", "hyperdisk-balanced": "HDB_TOTAL_GB"}.get(type_, "SSD_TOTAL_GB")


def used(world: World, region: str) -> Counter[str]:
    """Return what is in use, by metric."""
    found: Counter[str] = Counter()
    for one in world.instances.values():
        if region_of(one.zone) != region or one.doomed:
            continue
        found["INSTANCES"] += 1
        machine = world.machine(one)
        if machine and machine.state not in _NO_CPUS:
            found[_cpus(world, region, one.type, spot=one.spot)] += one.type.vcpus
        found["IN_USE_ADDRESSES"] += sum(bool(nic.nat_ip) for nic in one.interfaces)
    for disk in world.disks.values():
        if region_of(disk.zone) == region:
            found[disk_metric(disk.type)] += disk.size_gb
    for address in world.addresses.values():
        if address.scope == f"regions/{region}" and address.kind == "EXTERNAL":
            found["STATIC_ADDRESSES"] += 1
    return found


class Quotas:
    """What is left in a region, during one call."""

    def __init__(self, world: World, region: str) -> None:
        self._region = region
        limits = {metric: world.limit(region, metric) for metric in METRICS}
        self._limits = {metric: limit for metric, limit in limits.items() if limit is not None}
        self._used = used(world, region) if self._limits else Counter()

    def take(self, needed: Mapping[str, int]) -> OpError | None:
        """Take what is needed, all or none. Return the error where there is too little."""
        for metric, amount in needed.items():
            limit = self._limits.get(metric)
            if amount and limit is not None and self._used[metric] + amount > limit:
                return exceeded(metric, limit, self._region)
        self._used.update(needed)
        return None


def exceeded(metric: str, limit: float, region: str) -> OpError:
    info = {
        "metricName": f"compute.googleapis.com/{metric.lower()}",
        "limitName": f"{metric.replace('_', '-')}-per-project-region",
        "dimensions": {"region": region},
        "limit": limit,
    }
    message = f"Quota '{metric}' exceeded.  Limit: {limit:.1f} in region {region}."
    return OpError("QUOTA_EXCEEDED", message, 403, "FORBIDDEN", ({"quotaInfo": info},))


def _cpus(world: World, region: str, type_: MachineType, *, spot: bool) -> str:
    """Return what an instance's vCPUs count as: Spot VMs have their own quota where the project has one."""
    if spot and world.limit(region, "PREEMPTIBLE_CPUS") is not None:
        return "PREEMPTIBLE_CPUS"
    return type_.metric
