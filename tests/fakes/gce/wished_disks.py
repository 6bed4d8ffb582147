"""What a launch says of disks, checked against the project before anything is made."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tests.fakes.gce.errors import GceError, already_exists, in_use, invalid, not_ready
from tests.fakes.gce.images import find_image
from tests.fakes.gce.labels import check_labels
from tests.fakes.gce.links import NAME, path, read_link
from tests.fakes.gce.settings import DISK_TYPES
from tests.fakes.gce.site import Part, Site, unhonoured
from tests.fakes.gce.tables import Disk, Image, Labels, MachineType

_HONOURED_OF_DISKS: Final = frozenset(
    {"autoDelete", "boot", "deviceName", "initializeParams", "interface", "mode", "source", "type", "kind"}
    | {"diskSizeGb", "index"}
)
_HONOURED_PARAMS: Final = frozenset(
    {"diskName", "diskSizeGb", "diskType", "labels", "sourceImage", "description", "architecture"}
    | {"provisionedIops", "provisionedThroughput"}
)
_SMALLEST_GB: Final = {"hyperdisk-balanced": 4}
_LARGEST_GB: Final = 65_536


@dataclass(frozen=True, slots=True)
class DiskWish:
    """A disk that is there or to be made. Without a name it is called after the instance."""

    device: str
    boot: bool
    auto_delete: bool
    mode: str
    interface: str
    source: Disk | None = None
    name: str = ""
    size_gb: int = 0
    type: str = ""
    image: Image | None = None
    labels: Labels = field(default_factory=dict)
    description: str = ""
    iops: str = ""
    throughput: str = ""


def read_disks(site: Site, type_: MachineType, given: Sequence[Part]) -> tuple[DiskWish, ...]:
    """Return the disks of an instance of a type, the boot disk first."""
    where = f"{site.where}.disks"
    if not given:
        raise invalid(where, "", "No disks are specified.")
    wishes = tuple(_disk(site, type_, one, f"{where}[{number}]", number) for number, one in enumerate(given))
    if [number for number, one in enumerate(wishes) if one.boot] != [0]:
        raise invalid(where, "", "The first disk, and no other, must be the boot disk.")
    image = wishes[0].source.image if wishes[0].source else wishes[0].image
    if image and image.arch != type_.arch:
        why = f"The image's architecture {image.arch} is not that of machine type {type_.name}: {type_.arch}."
        raise invalid(f"{where}[0].initializeParams.sourceImage", image.name, why)
    if len({one.device for one in wishes}) < len(wishes):
        raise invalid(where, "", "Device names must be unique.")
    if len(names := [one.name for one in wishes if one.name]) > len(set(names)):
        raise invalid(where, "", "Disk names must be unique.")
    return wishes


def _disk(site: Site, type_: MachineType, one: Part, where: str, number: int) -> DiskWish:
    unhonoured(where, one, _HONOURED_OF_DISKS)
    if one.get("type") == "SCRATCH":
        raise GceError(400, "unsupportedOperation", f"The fake does not honour {where}: SCRATCH disks")
    if ("source" in one) == ("initializeParams" in one):
        raise invalid(where, "", "Exactly one of source and initializeParams must be specified.")
    wish = DiskWish(
        one.get("deviceName") or f"persistent-disk-{number}",
        one.get("boot", False),
        one.get("autoDelete", False),
        one.get("mode", "READ_WRITE"),
        one.get("interface", "SCSI"),
    )
    if "initializeParams" in one:
        return _new_disk(site, type_, wish, one, f"{where}.initializeParams")
    if site.bulk:
        raise invalid(f"{where}.source", one["source"], "Cannot be used with more than one instance.")
    source = read_source(site, one["source"], f"{where}.source")
    check_disk_fits(type_, source.type)
    return replace(wish, source=source)


def read_source(site: Site, written: str, field_: str) -> Disk:
    """Return a disk that can be attached. GceError where there is none, or an instance has it."""
    _, scope, name = read_link(written, "disks", field_)
    if scope != f"zones/{site.zone}":
        raise invalid(field_, written, f"The disk is not in zone {site.zone}.")
    disk, world = site.world.disks.get((site.zone, name)), site.world
    if disk is None:
        raise invalid(field_, written, "The referenced disk resource cannot be found.")
    where = path(scope, "disks", name)
    site.asked.permit("compute.disks.use", where)
    if disk.user:
        raise in_use(where, world.instances[disk.user].path)
    if disk.status != "READY":
        raise not_ready(where)
    return disk


def _new_disk(site: Site, type_: MachineType, wish: DiskWish, one: Part, where: str) -> DiskWish:
    params = one["initializeParams"]
    unhonoured(where, params, _HONOURED_PARAMS)
    site.asked.permit("compute.disks.create")
    name, written = params.get("diskName", ""), params.get("sourceImage")
    if name and site.bulk:
        raise invalid(f"{where}.diskName", name, "Cannot be used with more than one instance.")
    if name and not re.fullmatch(NAME, name):
        raise invalid(f"{where}.diskName", name, f"Must be a match of regex '{NAME}'")
    if name and (site.zone, name) in site.world.disks:
        raise already_exists(path(f"zones/{site.zone}", "disks", name))
    if not written and wish.boot:
        raise invalid(f"{where}.sourceImage", "", "A boot disk needs an image.")
    image = find_image(site.world, site.asked, written, f"{where}.sourceImage") if written else None
    labels = params.get("labels", {})
    check_labels(labels, f"{where}.labels")
    if labels:
        site.asked.permit("compute.disks.setLabels")
    disk_type = read_disk_type(site, params.get("diskType"), f"{where}.diskType", _default_type(type_))
    check_disk_fits(type_, disk_type)
    return replace(
        wish,
        name=name,
        size_gb=check_size(
            params.get("diskSizeGb") or one.get("diskSizeGb"), image, disk_type, f"{where}.diskSizeGb"
        ),
        type=disk_type,
        image=image,
        labels=labels,
        description=params.get("description", ""),
        iops=params.get("provisionedIops", ""),
        throughput=params.get("provisionedThroughput", ""),
    )


def _is_newer(type_: MachineType) -> bool:
    return type_.name.startswith("c3-")


def _default_type(type_: MachineType) -> str:
    return "pd-balanced" if _is_newer(type_) else "pd-standard"


def check_disk_fits(type_: MachineType, disk_type: str) -> None:
    """Refuse a disk of a type that machines of a type cannot have."""
    if disk_type == ("pd-standard" if _is_newer(type_) else "hyperdisk-balanced"):
        raise GceError(400, "badRequest", f"{disk_type} disk type cannot be used by {type_.name} machine type.")


def read_disk_type(site: Site, written: str | None, field_: str, otherwise: str = "pd-standard") -> str:
    """Return the name of a disk type: a bulk insert names it, all else has its URL."""
    if written is None:
        return otherwise
    name = written
    if not site.bulk:
        _, scope, name = read_link(written, "diskTypes", field_)
        if scope != f"zones/{site.zone}":
            raise invalid(field_, written, f"The disk type must be in zone {site.zone}.")
    if name not in DISK_TYPES:
        raise invalid(field_, written, "The referenced diskType resource cannot be found.")
    return name


def check_size(written: str | None, image: Image | None, type_: str, field_: str) -> int:
    """Return how many gigabytes a disk is to have."""
    smallest = max(image.size_gb if image else 1, _SMALLEST_GB.get(type_, 1))
    if not written:
        return smallest if image else max(smallest, 10)
    if not smallest <= int(written) <= _LARGEST_GB:
        raise invalid(field_, written, f"A disk must have from {smallest} to {_LARGEST_GB} GB.")
    return int(written)
