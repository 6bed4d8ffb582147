"""What is wrong with what a group wants, judged by what EC2 has. Pure: whoever calls has asked before.

One finding tells all that there is to tell of one side of a group; its grade is that of the worst of it.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infrakit_providers.aws.balancers import name_of
from infrakit_providers.aws.machine import Capacity, Machine
from infrakit_py.spi.provider import Finding, Grade

_ORDER: Final = (Grade.OK, Grade.WARNING, Grade.PROBLEM)
_STANDARD: Final = re.compile(r"(?!hpc|inf|mac|trn|dl)[acdhimrtz]")
"""Families that share the quotas of Standard instances: EC2 User Guide, "Amazon EC2 instance type quotas"."""
_ELSEWHERE: Final = "write the id of one in the provider's account and region"

Raw = Mapping[str, Any]
"""A thing as EC2 describes it."""


@dataclass(frozen=True, slots=True)
class Case:
    """Machines of a group, for an examination. `missing`: so many of `count` are not there yet."""

    group: str
    machine: Machine
    image_id: str
    count: int
    missing: int
    named: bool

    def about(self, what: str) -> str:
        return f"group {self.group}: {what}"


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that is not well."""

    grade: Grade
    text: str
    hint: str = ""


def summed(about: str, fine: str, remarks: Iterable[Remark]) -> Finding:
    """Return one finding for all remarks, the worst first; without any it is `fine`."""
    ordered = sorted(remarks, key=lambda one: -_ORDER.index(one.grade))
    if not ordered:
        return Finding(about, Grade.OK, fine)
    hint = next((one.hint for one in ordered if one.hint), "")
    return Finding(about, ordered[0].grade, "\n".join(one.text for one in ordered), hint)


def of_image(case: Case, image: Raw | None, types: Mapping[str, Raw]) -> Finding:
    """Judge an image. None for one that EC2 does not know; `types` are those whose architecture is known."""
    if image is None:
        text = f"{case.image_id} does not exist here, or this account may not use it"
        return summed(case.about("image"), "", [Remark(Grade.PROBLEM, text, _ELSEWHERE)])
    architecture, state = image.get("Architecture", ""), image.get("State", "")
    root = f"root {image.get('RootDeviceName', 'unknown')}"
    fine = f"{case.image_id} ({architecture}, {state}, {root})"
    return summed(case.about("image"), fine, _of_image(case, image, types))


def _of_image(case: Case, image: Raw, types: Mapping[str, Raw]) -> Iterator[Remark]:
    architecture, state = image.get("Architecture", ""), image.get("State", "")
    if state != "available":
        yield Remark(Grade.PROBLEM, f"{case.image_id} is {state}, not available", "take an image that is available")
    for name in case.machine.instance_types:
        theirs = _architectures(types[name]) if name in types else [architecture]
        if architecture not in theirs:
            text = f"{case.image_id} is for {architecture}, and {name} has {' and '.join(theirs)}"
            yield Remark(Grade.PROBLEM, text, "take an image and instance types of one architecture")
    disk = case.machine.root_disk
    if disk is None:
        return
    device = image.get("RootDeviceName", "")
    if disk.device is not None and device and disk.device != device:
        text = f"root_disk.device is {disk.device}, and the image's root {device}: it will be another disk"
        yield Remark(Grade.WARNING, text, "leave root_disk.device out")
    least = _root_gib(image)
    if disk.size_gib is not None and disk.size_gib < least:
        text = f"root_disk has {disk.size_gib}GiB, and the image needs {least}GiB"
        yield Remark(Grade.PROBLEM, text, f"write root_disk.size: {least}GiB or more")


def _root_gib(image: Raw) -> int:
    """Return how large an image's root disk is at least; 0 where that is not known."""
    disks = (one for one in image.get("BlockDeviceMappings", ()) if one["DeviceName"] == image.get("RootDeviceName"))
    return next((int(one.get("Ebs", {}).get("VolumeSize", 0)) for one in disks), 0)


def of_types(
    case: Case, types: Mapping[str, Raw], offered: Mapping[str, Collection[str]], zones: Sequence[str]
) -> Finding:
    """Judge the instance types of a group. `offered`: in which zones there are machines of each type."""
    names = case.machine.instance_types
    words = [f"{name}{_shape(types[name])}" for name in names if name in types]
    fine = ", ".join(words) + (f"; offered in {', '.join(zones)}" if zones else "")
    return summed(case.about("instance types"), fine, _of_types(names, types, offered, zones))


def _of_types(
    names: Sequence[str], types: Mapping[str, Raw], offered: Mapping[str, Collection[str]], zones: Sequence[str]
) -> Iterator[Remark]:
    for name in names:
        if name not in types:
            yield Remark(Grade.PROBLEM, f"{name} does not exist in this region", "take another type, or leave it out")
    known = [name for name in names if name in types]
    if not zones or not known:
        return
    if not any(zone in offered.get(name, ()) for name in known for zone in zones):
        text = f"{' and '.join(known)}: not offered in {', '.join(zones)}"
        yield Remark(Grade.PROBLEM, text, "take another type, or other zones or subnets")
        return
    preferred = known[0]
    lacking = [zone for zone in zones if zone not in offered.get(preferred, ())]
    if lacking:
        bare = [zone for zone in lacking if not any(zone in offered.get(name, ()) for name in known)]
        text = f"{preferred} is not offered in {', '.join(lacking)}"
        if bare:
            text += f"; there will be no machines in {', '.join(bare)}"
        yield Remark(Grade.WARNING, text, "leave the zone out, or put a type first that all zones have")
    for name in known[1:]:
        if not any(zone in offered.get(name, ()) for zone in zones):
            yield Remark(Grade.WARNING, f"{name} is not offered in {', '.join(zones)}", "leave the type out")


def of_subnets(case: Case, subnets: Sequence[Raw]) -> Finding:
    """Judge where a group's machines go. `subnets` are those that EC2 has of what is written."""
    listed = ", ".join(f"{one['SubnetId']} ({one['AvailabilityZone']})" for one in subnets)
    fine = f"{listed}; {sum(map(_free, subnets))} addresses free"
    return summed(case.about("subnets"), fine, _of_subnets(case, subnets))


def _of_subnets(case: Case, subnets: Sequence[Raw]) -> Iterator[Remark]:
    there = {one["SubnetId"] for one in subnets}
    for id_ in case.machine.subnets or ():
        if id_ not in there:
            yield Remark(Grade.PROBLEM, f"{id_} does not exist here", _ELSEWHERE)
    for zone in case.machine.zones or ():
        if zone not in {one["AvailabilityZone"] for one in subnets}:
            yield Remark(Grade.PROBLEM, f"there is no default subnet in {zone}", "write machine.subnets instead")
    if not subnets and not case.machine.subnets and not case.machine.zones:
        yield Remark(Grade.PROBLEM, "the account has no default subnets here", "write machine.subnets")
    for one in subnets:
        if one.get("State", "available") != "available":
            yield Remark(Grade.PROBLEM, f"{one['SubnetId']} is {one['State']}, not available")
    if not subnets:
        return
    free, hint = sum(map(_free, subnets)), "take larger subnets, or more of them"
    if free < case.missing:
        text = f"{machines(case.missing)} to come, and {free} addresses free in {_few(sorted(there))}"
        yield Remark(Grade.PROBLEM, text, hint)
        return
    share = -(-case.missing // len(subnets))
    for one in subnets:
        if _free(one) < share:
            text = f"{one['SubnetId']} has {_free(one)} addresses free, and an even share is {share}"
            yield Remark(Grade.WARNING, f"{text}: zones will be filled unevenly", hint)


def of_shared_subnets(cases: Sequence[tuple[Case, Sequence[Raw]]]) -> Iterator[Finding]:
    """Judge whether subnets have room for all groups together, where each group alone would find it."""
    wanted = {one["SubnetId"]: _free(one) for _, subnets in cases for one in subnets}
    missing, free = sum(case.missing for case, subnets in cases if subnets), sum(wanted.values())
    if len(cases) > 1 and missing > free and all(case.missing <= sum(map(_free, raws)) for case, raws in cases):
        text = f"{machines(missing)} to come in all groups, and {free} addresses free in {_few(sorted(wanted))}"
        yield Finding("subnets of all groups", Grade.PROBLEM, text, "take larger subnets, or more of them")


def of_security_groups(case: Case, groups: Mapping[str, Raw], vpcs: Collection[str]) -> Finding:
    """Judge security groups. `vpcs` are those of the group's subnets; none where they are not known."""
    remarks = []
    for id_ in case.machine.security_groups:
        if id_ not in groups:
            remarks.append(Remark(Grade.PROBLEM, f"{id_} does not exist here", _ELSEWHERE))
        elif elsewhere := sorted({*vpcs} - {groups[id_]["VpcId"]}):
            text = f"{id_} is in {groups[id_]['VpcId']}, and the machines' subnets in {', '.join(elsewhere)}"
            remarks.append(Remark(Grade.PROBLEM, text, "take security groups of the subnets' VPC"))
    fine = ", ".join(f"{id_} ({groups[id_].get('GroupName', '')})" for id_ in groups)
    return summed(case.about("security groups"), fine, remarks)


def of_key_pair(case: Case, known: Collection[str]) -> Finding:
    """Judge the key pair."""
    name, about = case.machine.key_name or "", case.about("key pair")
    if name in known:
        return Finding(about, Grade.OK, name)
    return Finding(about, Grade.PROBLEM, f"there is no key pair {name} here", "make it, or leave key_name out")


def of_target_group(case: Case, target_group: str, found: Raw | None, vpcs: Collection[str]) -> Finding:
    """Judge a target group. None for one that does not exist."""
    name, hint = name_of(target_group), "make it in the provider's account and region, or leave it out"
    about = case.about(f"target group {name}")
    if found is None:
        return Finding(about, Grade.PROBLEM, "it does not exist here", hint)
    remarks = []
    if (kind := found.get("TargetType", "instance")) != "instance":
        text = f"its targets are of the type {kind}, and machines are instances"
        remarks.append(Remark(Grade.PROBLEM, text, "make a target group of the type instance"))
    if elsewhere := sorted({*vpcs} - {found.get("VpcId", "")}):
        text = f"it is in {found.get('VpcId', 'no VPC')}, and the machines' subnets in {', '.join(elsewhere)}"
        remarks.append(Remark(Grade.PROBLEM, text, "take a target group of the subnets' VPC"))
    fine = f"{found.get('Protocol', '')} {found.get('Port', '')}, targets are instances, in {found.get('VpcId', '')}"
    return summed(about, fine.strip(), remarks)


def of_quota(market: str, code: str, wanted: int, allowed: float) -> Finding:
    """Judge how many vCPUs all machines of the standard families have together."""
    about = f"quota: {market} vCPUs"
    text = f"{wanted} wanted (standard instance families), {allowed:.0f} allowed to the account in this region"
    if wanted <= allowed:
        return Finding(about, Grade.OK, text)
    return Finding(about, Grade.PROBLEM, text, f"ask AWS for more (Service Quotas, ec2, {code}), or need less")


def standard_vcpus(cases: Iterable[Case], types: Mapping[str, Raw], *, spot: bool) -> int:
    """Return how many vCPUs the machines of standard families have, each of the type that its group prefers."""
    return sum(
        _bought(case, spot=spot) * int(types[name]["VCpuInfo"]["DefaultVCpus"])
        for case in cases
        if (name := case.machine.instance_types[0]) in types
        and _STANDARD.match(name)
        and case.machine.placement.tenancy != "host"  # dedicated hosts have quotas of their own
    )


def on_demand_of(count: int, capacity: Capacity) -> int:
    """Return how many of a group's machines are on demand when all are there."""
    beyond = max(0, count - capacity.on_demand_base)
    return count - beyond + -(-beyond * (100 - capacity.spot_percent) // 100)


def machines(count: int) -> str:
    return f"{count} machine" if count == 1 else f"{count} machines"


def _bought(case: Case, *, spot: bool) -> int:
    on_demand = on_demand_of(case.count, case.machine.capacity)
    return case.count - on_demand if spot else on_demand


def _architectures(type_: Raw) -> list[str]:
    return list(type_.get("ProcessorInfo", {}).get("SupportedArchitectures", ()))


def _shape(type_: Raw) -> str:
    return f" ({'/'.join(_architectures(type_))}, {type_['VCpuInfo']['DefaultVCpus']} vCPUs)"


def _free(subnet: Raw) -> int:
    return int(subnet.get("AvailableIpAddressCount", 0))


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
