"""Instances as they are changed: stopped and started, disks given and taken."""

from functools import partial

from infrakit_providers.simulated.machines import NEVER, Row
from infrakit_py.model.instance import InstanceState
from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import GceError, invalid, not_ready, required
from tests.fakes.gce.instances import begin_on, find_instance
from tests.fakes.gce.links import path
from tests.fakes.gce.operations import show_operation
from tests.fakes.gce.site import Site, unhonoured
from tests.fakes.gce.tables import Attachment, Disk, Instance, Operation, OpError
from tests.fakes.gce.wished_disks import check_disk_fits, read_source
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import Reply

_ON_ITS_WAY_OUT = (InstanceState.LEAVING, InstanceState.GONE)
_HONOURED = frozenset({"source", "deviceName", "mode", "autoDelete", "interface", "type", "boot", "kind"})


def stop_instance(world: World, asked: Asked) -> Checked:
    """Begin to stop an instance. One that has stopped stays so."""
    instance = find_instance(world, asked)
    machine = world.machine(instance)
    if machine is None or instance.stopping or machine.state in _ON_ITS_WAY_OUT:
        raise not_ready(instance.path)
    if machine.state is InstanceState.STOPPED:
        return show_operation(world, begin_on(world, asked, "stop", instance, seconds=0.0))
    world.halt(instance, world.settings.stop_seconds)
    op = begin_on(world, asked, "stop", instance, seconds=world.settings.stop_seconds)
    world.settle()
    return show_operation(world, op)


def start_instance(world: World, asked: Asked) -> Checked:
    """Begin to start an instance. One that runs goes on."""
    instance = find_instance(world, asked)
    machine = world.machine(instance)
    if machine is None or instance.stopping or machine.state in _ON_ITS_WAY_OUT:
        raise not_ready(instance.path)
    if machine.state is not InstanceState.STOPPED:
        return show_operation(world, begin_on(world, asked, "start", instance, seconds=0.0))
    boots_at = world.now() + world.settings.boot_seconds

    def started(row: Row, now: float) -> Row:
        return row._replace(dies_at=NEVER, boots_at=boots_at, cause="")

    world.cloud.interfere([instance.machine], started)
    instance.started_at, instance.written = world.now(), None
    for one in instance.interfaces:
        if one.external and not one.nat_ip:
            one.nat_ip = world.public_ip()
    op = instance.insert = begin_on(world, asked, "start", instance, seconds=world.settings.boot_seconds)
    world.settle()
    return show_operation(world, op)


def attach_disk(world: World, asked: Asked) -> Checked:
    instance, body = find_instance(world, asked), asked.body
    unhonoured("resource", body, _HONOURED)
    if asked.get("forceAttach"):
        raise invalid("forceAttach", "true", "It is for regional disks only.")
    if "source" not in body:
        raise required("resource.source")
    disk = read_source(Site(world, asked, instance.zone), body["source"], "resource.source")
    if body.get("boot") and any(one.boot for one in instance.disks):
        raise invalid("resource.boot", "true", "The instance has a boot disk.")
    check_disk_fits(instance.type, disk.type)
    device = body.get("deviceName") or _free_device(instance)
    if any(one.device == device for one in instance.disks):
        raise invalid("resource.deviceName", device, "The instance has a disk of that device name.")
    disk.user = instance.machine
    attachment = Attachment(
        disk, device, body.get("boot", False), body.get("autoDelete", False), body.get("mode", "READ_WRITE")
    )
    op = begin_on(world, asked, "attachDisk", instance)
    world.later(op.ends_at, partial(_attach, world, instance, attachment, op))
    world.settle()
    return show_operation(world, op)


def _attach(world: World, instance: Instance, attachment: Attachment, op: Operation) -> None:
    disk = attachment.disk
    if instance.released:
        disk.user = ""
        op.errors = (_gone(instance),)
        return
    instance.disks.append(attachment)
    instance.written, disk.attached_at = None, world.now()


def _free_device(instance: Instance) -> str:
    taken = {one.device for one in instance.disks}
    return next(name for name in (f"persistent-disk-{i}" for i in range(len(taken) + 1)) if name not in taken)


def detach_disk(world: World, asked: Asked) -> Checked:
    instance = find_instance(world, asked)
    attachment = _attachment(instance, asked["deviceName"])
    asked.permit("compute.disks.use", path(asked.scope, "disks", attachment.disk.name))
    machine = world.machine(instance)
    if attachment.boot and machine and machine.state is not InstanceState.STOPPED:
        raise GceError(
            400,
            "invalidResourceUsage",
            "Invalid resource usage: 'A boot disk can only be detached from a stopped instance.'.",
        )
    op = begin_on(world, asked, "detachDisk", instance)
    world.later(op.ends_at, partial(_detach, world, instance, attachment.disk))
    world.settle()
    return show_operation(world, op)


def _detach(world: World, instance: Instance, disk: Disk) -> None:
    if disk.user == instance.machine:
        world.detach(instance, disk)


def set_disk_auto_delete(world: World, asked: Asked) -> Checked:
    instance = find_instance(world, asked)
    attachment = _attachment(instance, asked["deviceName"])
    wanted = asked["autoDelete"]
    asked.permit("compute.disks.update", path(asked.scope, "disks", attachment.disk.name))

    def then() -> None:
        attachment.auto_delete, instance.written = wanted, None

    op = begin_on(world, asked, "setDiskAutoDelete", instance, then=then)
    world.settle()
    return show_operation(world, op)


def _attachment(instance: Instance, device: str) -> Attachment:
    for one in instance.disks:
        if one.device == device:
            return one
    raise invalid("deviceName", device, "No attached disk found with device name.")


def get_serial_port_output(world: World, asked: Asked) -> Reply:
    instance = find_instance(world, asked)
    start, text = int(asked.get("start", 0)), instance.console
    return {
        "kind": "compute#serialPortOutput",
        "contents": text[start:],
        "start": str(min(start, len(text))),
        "next": str(len(text)),
    }


def may(world: World, asked: Asked) -> Reply:
    """Answer which of some permissions the caller has on an instance."""
    find_instance(world, asked, named="resource")
    return granted(asked, asked.body.get("permissions", []))


def granted(asked: Asked, permissions: list[str]) -> Reply:
    found = [one for one in permissions if one not in asked.denied]
    return {"permissions": found} if found else {}


def _gone(instance: Instance) -> OpError:
    return OpError("RESOURCE_NOT_FOUND", f"The resource '{instance.path}' was not found", 404, "NOT FOUND")
