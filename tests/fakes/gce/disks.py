"""Disks by themselves: made, looked at, labelled, deleted."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import GceError, already_exists, in_use, not_found, not_ready, required
from tests.fakes.gce.images import find_image
from tests.fakes.gce.instances import check_label_fingerprint
from tests.fakes.gce.labels import check_labels
from tests.fakes.gce.links import ROOT, link, path
from tests.fakes.gce.operations import check_scope, show_operation
from tests.fakes.gce.quotas import Quotas, disk_metric
from tests.fakes.gce.shelves import Handler, Shelf
from tests.fakes.gce.site import Site, unhonoured
from tests.fakes.gce.tables import Disk, Operation
from tests.fakes.gce.wished_disks import check_size, read_disk_type
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import checked, fingerprint, instant, without_none

_HONOURED: Final = frozenset(
    {"name", "sizeGb", "type", "labels", "description", "sourceImage", "provisionedIops", "provisionedThroughput"}
    | {"kind", "zone", "architecture"}
)


def insert_disk(world: World, asked: Asked) -> Checked:
    check_scope(world, asked.scope)
    site, body = Site(world, asked, asked["zone"]), asked.body
    unhonoured("resource", body, _HONOURED)
    if "name" not in body:
        raise required("resource.name")
    where = path(asked.scope, "disks", body["name"])
    if (site.zone, body["name"]) in world.disks:
        raise already_exists(where)
    labels = dict(body.get("labels", {}))
    check_labels(labels, "resource.labels")
    if labels:
        asked.permit("compute.disks.setLabels", where)
    written = asked.get("sourceImage") or body.get("sourceImage")
    image = find_image(world, asked, written, "resource.sourceImage") if written else None
    type_ = read_disk_type(site, body.get("type"), "resource.type")
    size_gb = check_size(body.get("sizeGb"), image, type_, "resource.sizeGb")
    disk = Disk(
        world.new_id(),
        site.zone,
        body["name"],
        size_gb,
        type_,
        world.now(),
        labels,
        body.get("description", ""),
        image,
        "CREATING",
        iops=body.get("provisionedIops", ""),
        throughput=body.get("provisionedThroughput", ""),
    )
    error = Quotas(world, site.region).take({disk_metric(type_): size_gb})
    if error and world.settings.quota_answer == "request":
        raise GceError(403, "quotaExceeded", error.message)
    op = _begin(world, asked, "insert", disk)
    if error:
        op.errors = (error,)
    else:
        world.disks[disk.zone, disk.name] = disk
        world.later(op.ends_at, partial(_set_status, disk, "READY"))
    world.settle()
    return show_operation(world, op)


def delete_disk(world: World, asked: Asked) -> Checked:
    disk = _find(world, asked, asked["disk"])
    where = path(asked.scope, "disks", disk.name)
    if disk.user:
        raise in_use(where, world.instances[disk.user].path)
    if disk.status != "READY":
        raise not_ready(where)
    disk.status = "DELETING"
    op = _begin(world, asked, "delete", disk)
    world.later(op.ends_at, partial(world.forget_disk, disk))
    world.settle()
    return show_operation(world, op)


def set_disk_labels(world: World, asked: Asked) -> Checked:
    disk = _find(world, asked, asked["resource"])
    labels = dict(asked.body.get("labels", {}))
    check_labels(labels, "resource.labels")
    check_label_fingerprint(asked.body.get("labelFingerprint", ""), disk.labels)

    def then() -> None:
        disk.labels = labels

    op = _begin(world, asked, "setLabels", disk)
    world.later(op.ends_at, then)
    world.settle()
    return show_operation(world, op)


def _find(world: World, asked: Asked, name: str) -> Disk:
    check_scope(world, asked.scope)
    disk = world.disks.get((asked["zone"], name))
    if disk is None:
        raise not_found(path(asked.scope, "disks", name))
    return disk


def _begin(world: World, asked: Asked, kind: str, disk: Disk) -> Operation:
    return world.begin(asked, kind, path(asked.scope, "disks", disk.name), disk.id)


def _set_status(disk: Disk, status: str) -> None:
    disk.status = status


def _shown(world: World, project: str, scope: str) -> Iterable[Checked]:
    zone = scope.removeprefix("zones/")
    return [_disk(world, one) for one in world.disks.values() if one.zone == zone]


def _disk(world: World, one: Disk) -> Checked:
    """Return a disk as it is shown. What was written before is given again until something changes."""
    key = (one.status, one.user, one.attached_at, one.detached_at, id(one.labels))
    if one.written and one.written[0] == key:
        return one.written[1]
    scope = f"zones/{one.zone}"
    shown: dict[str, Any] = {
        "kind": "compute#disk",
        "id": one.id,
        "creationTimestamp": instant(one.created_at),
        "name": one.name,
        "description": one.description,
        "sizeGb": str(one.size_gb),
        "type": link(scope, "diskTypes", one.type),
        "status": one.status,
        "zone": link(scope),
        "labels": one.labels or None,
        "labelFingerprint": fingerprint(one.labels),
        "lastAttachTimestamp": _instant(one.attached_at),
        "lastDetachTimestamp": _instant(one.detached_at),
        "users": [ROOT + world.instances[one.user].path] if one.user else [],
        "physicalBlockSizeBytes": "4096",
        "provisionedIops": one.iops,
        "provisionedThroughput": one.throughput,
        "selfLink": link(scope, "disks", one.name),
    }
    if one.image:
        shown |= {
            "sourceImage": link("global", "images", one.image.name, project=one.image.project),
            "sourceImageId": one.image.id,
            "architecture": one.image.arch,
        }
    one.written = (key, checked("Disk", without_none(shown)))
    return one.written[1]


def _instant(at: float | None) -> str | None:
    return None if at is None else instant(at)


HANDLERS: Final[Mapping[str, Handler]] = {
    "disks.insert": insert_disk,
    "disks.delete": delete_disk,
    "disks.setLabels": set_disk_labels,
    **Shelf("disks", "disk", "Disk", _shown, "zones").handlers(everywhere=True),
}
