"""How much more the machines of a spec need of what Compute Engine counts, and whether that is allowed. Pure.

Which machines count where: Compute Engine documentation, "Allocation quotas". What a region does not report is
counted elsewhere at Google, and cannot be judged here.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from infrakit_providers.gcp.diagnoses import Case, Quota, Shape
from infrakit_providers.gcp.disks import LOCAL_SSD_GIB, Storage
from infrakit_providers.gcp.families import default_disk_type, family_of
from infrakit_providers.gcp.images import Picture
from infrakit_py.spi.provider import Finding, Grade

_NEARLY_FULL: Final = 0.8
_PLAIN_FAMILIES: Final = frozenset({"e2", "n1", "f1", "g1"})
_METRICS_OF_DISKS: Final = {
    "pd-standard": "DISKS_TOTAL_GB",
    "pd-balanced": "SSD_TOTAL_GB",
    "pd-ssd": "SSD_TOTAL_GB",
    "hyperdisk-balanced": "HDB_TOTAL_GB",
    "local-ssd": "LOCAL_SSD_TOTAL_GB",
}
_EVERYWHERE: Final = {"CPUS": "CPUS_ALL_REGIONS", "GPUS": "GPUS_ALL_REGIONS"}
"""Those of the project, by the end of their name in a region."""
_HINT: Final = "ask Google for a higher quota (IAM & Admin, Quotas), or need less"


@dataclass(slots=True)
class Demand:
    """How much more is needed. `perhaps`: so much of it is there already where members have kept theirs."""

    surely: float = 0.0
    perhaps: float = 0.0


def demands(
    cases: Iterable[Case],
    shapes: Mapping[str, Shape],
    disk_images: Mapping[str, Picture | None],
    quotas: Sequence[Quota],
) -> dict[str, Demand]:
    """Return what all machines that are missing need, by metric: each of the type that its group prefers."""
    found: defaultdict[str, Demand] = defaultdict(Demand)
    preemptible = {one.metric for one in quotas if one.metric.startswith("PREEMPTIBLE_") and one.limit > 0}
    for case in cases:
        if not case.missing:
            continue
        for metric, amount in _of_machine(case, shapes, preemptible):
            found[metric].surely += amount * case.missing
        for metric, amount in _of_disks(case, disk_images, preemptible):
            found[metric].surely += amount * case.missing
        for metric, amount in _of_kept(case):
            found[metric].perhaps += amount * case.missing
    return dict(found)


def _of_machine(case: Case, shapes: Mapping[str, Shape], preemptible: set[str]) -> Iterator[tuple[str, float]]:
    machine, preferred = case.machine, case.machine.machine_types[0]
    yield "INSTANCES", 1
    if machine.external_ip != "none":
        yield "IN_USE_ADDRESSES", 1
    shape = shapes.get(preferred)
    if shape is not None:
        family = family_of(preferred)
        usual = "CPUS" if family in _PLAIN_FAMILIES else f"{family.upper()}_CPUS"
        yield _counted(usual, "PREEMPTIBLE_CPUS", preemptible, spot=machine.is_spot), shape.cpus
    given = {one.type: one.count for one in machine.accelerators}
    for type_, count in {**(shape.accelerators if shape else {}), **given}.items():
        usual = f"{type_.replace('nvidia-tesla-', 'nvidia-').replace('-', '_').upper()}_GPUS"
        yield _counted(usual, f"PREEMPTIBLE_{usual}", preemptible, spot=machine.is_spot), count


def _of_disks(
    case: Case, disk_images: Mapping[str, Picture | None], preemptible: set[str]
) -> Iterator[tuple[str, float]]:
    machine = case.machine
    boot = machine.boot_disk
    image_gib = case.image.size_gib if case.image is not None else 0
    yield from _of_disk(case, boot, boot.size_gib or image_gib)
    for disk in machine.disks:
        if disk.is_local:
            preempted = "PREEMPTIBLE_LOCAL_SSD_GB"
            yield _counted("LOCAL_SSD_TOTAL_GB", preempted, preemptible, spot=machine.is_spot), LOCAL_SSD_GIB
            continue
        image = disk_images.get(disk.image) if disk.image is not None else None
        yield from _of_disk(case, disk, disk.size_gib or (image.size_gib if image else 0))


def _of_kept(case: Case) -> Iterator[tuple[str, float]]:
    """Yield what a member keeps when its machine goes, so that it may be there already."""
    for disk in case.machine.data_disks:
        yield from _of_disk(case, disk, disk.gib)
    if case.machine.external_ip == "static":
        yield "STATIC_ADDRESSES", 1
    if case.machine.internal_ip == "static":
        yield "INTERNAL_ADDRESSES", 1


def _of_disk(case: Case, disk: Storage, gib: int) -> Iterator[tuple[str, float]]:
    metric = _METRICS_OF_DISKS.get(disk.type or default_disk_type(case.machine.machine_types[0]))
    if metric is not None:
        yield metric, gib


def _counted(usual: str, preempted: str, preemptible: set[str], *, spot: bool) -> str:
    """Return where something counts: spot machines apart once the project has been given a quota for them."""
    return preempted if spot and preempted in preemptible else usual


def of_quotas(
    needed: Mapping[str, Demand], region: str, regional: Sequence[Quota], everywhere: Sequence[Quota]
) -> Iterator[Finding]:
    """Judge demands by what is allowed in the region, and in the project as a whole."""
    known = {one.metric: one for one in regional}
    for metric in sorted(needed):
        if metric in known:
            yield _of_quota(known[metric], needed[metric], f"in {region}")
    whole = {one.metric: one for one in everywhere}
    for ending, metric in _EVERYWHERE.items():
        counted = [needed[one] for one in needed if one.endswith(ending) and not one.startswith("PREEMPTIBLE_")]
        if metric in whole and (sum_ := sum(one.surely for one in counted)):
            yield _of_quota(whole[metric], Demand(sum_), "in all regions")
    if unknown := sorted(set(needed) - set(known)):
        text = f"not examined, for {region} does not report {', '.join(unknown)}"
        yield Finding("other quotas", Grade.OK, text)


def _of_quota(quota: Quota, demand: Demand, where: str) -> Finding:
    about = f"quota {quota.metric}"
    more = demand.surely + demand.perhaps
    there = f"{_number(quota.usage)} of {_number(quota.limit)} {where} in use"
    text = f"{_number(more)} more wanted, {there}"
    if quota.usage + demand.surely > quota.limit:
        return Finding(about, Grade.PROBLEM, text, _HINT)
    if quota.usage + more > quota.limit:
        return Finding(about, Grade.WARNING, f"{text}; enough only for members that have kept theirs", _HINT)
    if quota.usage + more > _NEARLY_FULL * quota.limit:
        return Finding(about, Grade.WARNING, f"{text}: more than 80% then", _HINT)
    return Finding(about, Grade.OK, text)


def _number(value: float) -> str:
    return f"{value:.10g}"
