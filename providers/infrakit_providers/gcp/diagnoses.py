"""What is wrong with the machines that a group wants, by what Compute Engine has. Pure: others have asked before.

One finding tells all that there is to tell of one side of a group; its grade is that of the worst of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from infrakit_providers.gcp.fields import MAX_METADATA, metadata_size
from infrakit_providers.gcp.images import Picture
from infrakit_providers.gcp.instance_body import KEPT_FOR_OURS
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.zones import UP
from infrakit_py.model.quantities import format_size
from infrakit_py.spi.provider import Finding, Grade

_ORDER: Final = (Grade.OK, Grade.WARNING, Grade.PROBLEM)
_ARM: Final = "ARM64"
_LITTLE_ROOM: Final = 32 * 1024
"""Bytes for user data; LinuxKit's with a few files and keys in it has about as many."""
_CAPABLE: Final = {"sev": "SEV_CAPABLE", "sev_snp": "SEV_SNP_CAPABLE", "tdx": "TDX_CAPABLE"}
"""What an image must be for a confidential machine. Source: API reference, GuestOsFeature."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A machine type of a zone. `accelerators` are built in: how many by their type."""

    name: str
    cpus: int
    architecture: str = ""
    accelerators: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quota:
    """How much there may be of something that Compute Engine counts, and how much there is."""

    metric: str
    limit: float
    usage: float


@dataclass(frozen=True, slots=True)
class Reservation:
    """Machines that are set aside in a zone: so many of a type, of which `free` are not in use."""

    zone: str
    type: str
    free: int
    status: str = "READY"


@dataclass(frozen=True, slots=True)
class Case:
    """Machines of a group, for an examination. `missing`: so many of `count` are not there yet.

    `image` is None where there is none or nobody could tell; `zones` are those that are there and up.
    """

    group: str
    machine: Machine
    image: Picture | None
    zones: tuple[str, ...]
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


def of_zones(about: str, zones: Sequence[str], statuses: Mapping[str, str]) -> Finding:
    """Judge where a group's machines go."""
    remarks = []
    for zone in zones:
        if zone not in statuses:
            hint = f"the region's zones are {', '.join(sorted(statuses))}"
            remarks.append(Remark(Grade.PROBLEM, f"{zone} does not exist for this project", hint))
        elif statuses[zone] != UP:
            grade = Grade.WARNING if any(statuses.get(one) == UP for one in zones) else Grade.PROBLEM
            remarks.append(Remark(grade, f"{zone} is {statuses[zone]}", "take other zones"))
    return summed(about, ", ".join(zones), remarks)


def of_image(
    case: Case, image: Picture, shapes: Mapping[str, Shape], disk_images: Mapping[str, Picture | None]
) -> Finding:
    """Judge a group's image, and those of its other disks. `shapes` are the machine types that are known."""
    size = f"{image.size_gib}GiB"
    state = "published by the next apply" if image.is_planned else image.status
    fine = f"{image.path} ({', '.join(filter(None, (image.architecture, state, size)))})"
    remarks = [*_of_use(image), *_of_fit(case, image, shapes), *_of_features(case.machine, image)]
    for reference, found in disk_images.items():
        if found is None:
            remarks.append(Remark(Grade.PROBLEM, f"{reference}: there is no such image for a disk"))
            continue
        remarks += _of_use(found)
        for disk in case.machine.disks:
            if disk.image == reference and disk.size_gib is not None and disk.size_gib < found.size_gib:
                text = f"a disk has {disk.size_gib}GiB, and its image {found.path} needs {found.size_gib}GiB"
                remarks.append(Remark(Grade.PROBLEM, text, "make the disk larger, or leave its size out"))
    return summed(case.about("image"), fine, remarks)


def _of_use(image: Picture) -> Iterator[Remark]:
    if image.is_planned:
        return
    if image.status != "READY":
        text = f"{image.path} is {image.status}, not READY"
        yield Remark(Grade.PROBLEM, text, "wait until it is, or take another image")
    if image.deprecation in ("", "ACTIVE"):
        return
    text = f"{image.path} is {image.deprecation}" + (", so no machine boots from it" if image.is_withdrawn else "")
    newer = f"take {image.replacement}" if image.replacement else "take another image"
    yield Remark(Grade.PROBLEM if image.is_withdrawn else Grade.WARNING, text, newer)


def _of_fit(case: Case, image: Picture, shapes: Mapping[str, Shape]) -> Iterator[Remark]:
    hint = "take an image and machine types of one architecture"
    for name in case.machine.machine_types:
        theirs = shapes[name].architecture if name in shapes else ""
        if image.architecture and theirs and image.architecture != theirs:
            text = f"{image.path} is for {image.architecture}, and {name} is {theirs}"
            yield Remark(Grade.PROBLEM, text, hint)
        elif not image.architecture and theirs == _ARM:
            text = f"{image.path} does not say what it is for, and {name} is {theirs}"
            yield Remark(Grade.WARNING, text, "make the image again, with --architecture=ARM64")
    size = case.machine.boot_disk.size_gib
    if size is not None and size < image.size_gib:
        text = f"boot_disk has {size}GiB, and the image needs {image.size_gib}GiB"
        yield Remark(Grade.PROBLEM, text, f"write boot_disk.size: {image.size_gib}GiB or more, or leave it out")


def _of_features(machine: Machine, image: Picture) -> Iterator[Remark]:
    needed = [
        ("shielded_vm", "UEFI_COMPATIBLE", machine.shielded_vm is not None),
        ("nic_type: gvnic", "GVNIC", machine.nic_type == "gvnic"),
    ]
    if machine.confidential is not None:
        needed.append((f"confidential: {machine.confidential}", _CAPABLE[machine.confidential], True))
    for what, feature, wanted in needed:
        if wanted and feature not in image.features:
            text = f"{what} needs an image with the feature {feature}, which {image.path} does not have"
            yield Remark(Grade.PROBLEM, text, f"make the image again, with --guest-os-features={feature}")


def of_types(case: Case, known: Mapping[str, Mapping[str, Shape]]) -> Finding:
    """Judge the machine types of a group by zone. A zone that is not in `known` could not be asked."""
    zones = [zone for zone in case.zones if zone in known]
    shapes = {name: shape for zone in zones for name, shape in known[zone].items()}
    words = [f"{name} ({_shape(shapes[name])})" for name in case.machine.machine_types if name in shapes]
    return summed(
        case.about("machine types"), f"{', '.join(words)}; in {', '.join(zones)}", _of_types(case, zones, known)
    )


def _of_types(case: Case, zones: Sequence[str], known: Mapping[str, Mapping[str, Shape]]) -> Iterator[Remark]:
    preferred, *others = case.machine.machine_types
    everywhere = ", ".join(zones)
    lacking = [zone for zone in zones if preferred not in known[zone]]
    bare = [zone for zone in lacking if not any(name in known[zone] for name in others)]
    if len(lacking) == len(zones):
        hint = "look at its name, or take another type or other zones"
        yield Remark(Grade.PROBLEM, f"there is no {preferred} in {everywhere}", hint)
    elif lacking:
        hint = "leave the zone out, or put a type first that all zones have"
        yield Remark(Grade.WARNING, f"there is no {preferred} in {', '.join(lacking)}", hint)
    if bare and len(bare) < len(zones):
        yield Remark(Grade.WARNING, f"there will be no machines in {', '.join(bare)}")
    for name in others:
        if not any(name in known[zone] for zone in zones):
            yield Remark(Grade.WARNING, f"there is no {name} in {everywhere}", "leave the type out")


def of_accelerators(case: Case, most: Mapping[str, Mapping[str, int]]) -> Finding:
    """Judge accelerators. `most`: how many of each type a machine may have, by zone; those that there are."""
    remarks = []
    for one in case.machine.accelerators:
        there = most.get(one.type, {})
        lacking = [zone for zone in case.zones if zone not in there]
        if len(lacking) == len(case.zones):
            text = f"there is no {one.type} in {', '.join(case.zones)}"
            remarks.append(Remark(Grade.PROBLEM, text, "look at its name, or take other zones"))
        elif lacking:
            text = f"there is no {one.type} in {', '.join(lacking)}"
            remarks.append(Remark(Grade.WARNING, text, "leave the zone out"))
        if there and one.count > max(there.values()):
            text = f"a machine gets at most {max(there.values())} of {one.type}, not {one.count}"
            remarks.append(Remark(Grade.PROBLEM, text, "write fewer of them"))
    fine = ", ".join(f"{one.count} {one.type}" for one in case.machine.accelerators)
    return summed(case.about("accelerators"), fine, remarks)


def of_reservation(case: Case, found: Sequence[Reservation]) -> Finding:
    """Judge a reservation, of which each zone has one of its own."""
    name = case.machine.reservation or ""
    remarks = []
    if lacking := [zone for zone in case.zones if zone not in {one.zone for one in found}]:
        grade = Grade.WARNING if found else Grade.PROBLEM
        text = f"there is no reservation {name} in {', '.join(lacking)}"
        remarks.append(Remark(grade, text, "make it, or leave the zone out"))
    for one in found:
        if one.status != "READY":
            remarks.append(Remark(Grade.WARNING, f"{name} is {one.status} in {one.zone}"))
        if one.type and one.type not in case.machine.machine_types:
            text = f"{name} is of {one.type} in {one.zone}, and the group has none"
            remarks.append(Remark(Grade.PROBLEM, text, f"write {one.type} in machine_types"))
    free = sum(one.free for one in found)
    if found and free < case.missing:
        text = f"{machines(case.missing)} to come, and {free} free in {name}"
        remarks.append(Remark(Grade.PROBLEM, text, "make the reservation larger, or need less"))
    return summed(case.about("reservation"), f"{name}: {machines(free)} free", remarks)


def of_metadata(case: Case) -> Finding:
    """Judge how much room there is for user data beside the user's metadata."""
    size = metadata_size(case.machine.metadata)
    copies = len(case.machine.user_data_keys)
    room = max(0, MAX_METADATA - KEPT_FOR_OURS - size) // copies
    text = f"{format_size(size)}, and {format_size(room)} are left for user data"
    if room >= _LITTLE_ROOM:
        return Finding(case.about("metadata"), Grade.OK, text)
    hint = "let machines fetch what is large, or write one of user_data_keys only"
    return Finding(case.about("metadata"), Grade.WARNING if room else Grade.PROBLEM, text, hint)


def machines(count: int) -> str:
    return f"{count} machine" if count == 1 else f"{count} machines"


def _shape(shape: Shape) -> str:
    return f"{shape.architecture}, {shape.cpus} vCPUs".removeprefix(", ")
