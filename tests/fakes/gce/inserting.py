"""Inserts: from what is accepted to instances, each with an operation of its own."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from infrakit_providers.simulated.machines import Launch
from infrakit_py.errors import NoCapacity, QuotaExceeded
from infrakit_py.model.spec import Image, ImageForm
from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import GceError, already_exists, required
from tests.fakes.gce.launching import Wish, instance_path, read_wish
from tests.fakes.gce.links import path
from tests.fakes.gce.making import make_instance
from tests.fakes.gce.operations import check_scope, show_operation
from tests.fakes.gce.quotas import Quotas, exceeded, needs
from tests.fakes.gce.settings import region_of
from tests.fakes.gce.tables import Instance, Operation, OpError
from tests.fakes.gce.world import World

Made = tuple[Operation, Instance | None]
Own = Mapping[str, Any]


def insert(world: World, asked: Asked) -> Checked:
    check_scope(world, asked.scope)
    if "sourceInstanceTemplate" in asked.parameters or "sourceMachineImage" in asked.parameters:
        raise GceError(400, "unsupportedOperation", "The fake does not know instance templates or machine images")
    zone, name = asked["zone"], asked.body.get("name")
    if name is None:
        raise required("resource.name")
    if (zone, name) in world.named:
        raise already_exists(instance_path(zone, name))
    wish = read_wish(world, asked, zone, asked.body, bulk=False)
    refuse_over_quota(world, wish, 1)
    ((op, _),) = launch(world, asked, wish, {name: {}}, world.settings.accept_seconds)
    op.request_id = asked.request_id
    world.keep(op)
    world.settle()
    return show_operation(world, op)


def refuse_over_quota(world: World, wish: Wish, count: int) -> None:
    """Refuse so many instances, where Google is to say at once that there is no quota for them."""
    if world.settings.quota_answer == "operation":
        return
    needed = {metric: amount * count for metric, amount in needs(world, wish).items()}
    if error := Quotas(world, region_of(wish.zone)).take(needed):
        raise GceError(403, "quotaExceeded", error.message)


def launch(
    world: World,
    asked: Asked,
    wish: Wish,
    wanted: Mapping[str, Own],
    appear_seconds: float,
    group: str = "",
    at_least: int = 0,
) -> list[Made]:
    """Begin instances, each with an operation: by name, with what is said of that one alone.

    GceError, and nothing is begun, where there is no room for `at_least`.
    """
    errors = _refusals(world, wish, list(wanted))
    machines = _machines(world, wish, [name for name in wanted if name not in errors], at_least, errors)
    made: list[Made] = []
    for name, own in wanted.items():
        id_, error = world.new_id(), errors.get(name)
        op = world.operation(asked.scope, "insert", instance_path(wish.zone, name), id_, asked.caller)
        op.group = group
        instance = None
        if error is None or error.code.startswith("ZONE_"):
            visible_at = world.now() + appear_seconds
            instance = make_instance(world, wish, name, id_, machines.get(name, ""), visible_at, own)
            instance.insert = op
        _plan_end(world, op, instance, error)
        made.append((world.keep(op), instance))
    return made


def _plan_end(world: World, op: Operation, instance: Instance | None, error: OpError | None) -> None:
    if error is None and instance:
        machine = world.machine(instance)
        op.ends_at = min(machine.row.boots_at, machine.row.dies_at) if machine else world.now()
        return
    op.errors = (error,) if error else ()
    op.ends_at = world.now() + (world.settings.stockout_seconds if instance else world.settings.operation_seconds)
    if instance:
        world.later(op.ends_at, partial(world.release, instance))


def _refusals(world: World, wish: Wish, names: Sequence[str]) -> dict[str, OpError]:
    """Return which instances cannot be made, for want of anything but room."""
    region = region_of(wish.zone)
    match world.forced.pop(0) if world.forced else "":
        case "capacity":
            return dict.fromkeys(names, no_room(world, wish.zone, wish.type.name))
        case "quota":
            limit = world.limit(region, wish.type.metric) or 0.0
            return dict.fromkeys(names, exceeded(wish.type.metric, limit, region))
    quotas, needed = Quotas(world, region), needs(world, wish)
    refused = {name: error for name in names if (error := quotas.take(needed))}
    free = min(world.free_ips(one.subnet) for one in wish.interfaces)
    subnet = wish.interfaces[0].subnet.name
    for name in [name for name in names if name not in refused][free:]:
        message = f"IP space of '{path(f'regions/{region}', 'subnetworks', subnet)}' is exhausted."
        refused[name] = OpError("IP_SPACE_EXHAUSTED", message, 400, "BAD REQUEST")
    return refused


def _machines(
    world: World, wish: Wish, names: Sequence[str], at_least: int, errors: dict[str, OpError]
) -> dict[str, str]:
    """Begin the machines that there is room for. Return the id of each by name; note the errors of the others."""
    image = wish.disks[0].image
    reference = image.name if image else "disk"
    booted = Image(reference, reference, ImageForm.REFERENCE, reference=reference)
    call = world.number()
    launches = [
        Launch(f"{wish.zone}/{name}/{call}", name, wish.labels, booted, "", wish.type.name, (wish.zone,))
        for name in names
    ]
    try:
        answers = world.cloud.launch(launches, at_least=at_least)
    except NoCapacity as exc:
        raise GceError(503, "insufficientCapacity", no_room(world, wish.zone, wish.type.name).message) from exc
    found: dict[str, str] = {}
    for name, answer in zip(names, answers, strict=True):
        match answer:
            case str():
                found[name] = answer
            case NoCapacity():
                errors[name] = no_room(world, wish.zone, wish.type.name)
            case QuotaExceeded():
                errors[name] = exceeded("INSTANCES", float(len(world.instances)), region_of(wish.zone))
            case _:
                raise answer
    return found


def no_room(world: World, zone: str, type_: str) -> OpError:
    """Return the error of an insert that found no room in its zone."""
    message = f"The zone '{path(f'zones/{zone}')}' does not have enough resources available to fulfill the request."
    if not world.settings.stockout_details:
        text = f"{message}  Try a different zone, or try again later."
        return OpError("ZONE_RESOURCE_POOL_EXHAUSTED", text, 503, "SERVICE UNAVAILABLE")
    info = {
        "reason": "resource_availability",
        "domain": "compute.googleapis.com",
        "metadatas": {"zone": zone, "vmType": type_, "attachment": "", "zonesAvailable": ""},
    }
    return OpError(
        "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        f"{message} '(resource type:compute)'.",
        503,
        "SERVICE UNAVAILABLE",
        ({"errorInfo": info},),
    )
