"""Unmanaged instance groups: who is in them, who joins and who leaves."""

from collections.abc import Iterable, Mapping
from typing import Final

from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import GceError, invalid, not_found, required
from tests.fakes.gce.links import ROOT, link, path, read_link
from tests.fakes.gce.operations import check_scope, show_operation
from tests.fakes.gce.paging import page
from tests.fakes.gce.shelves import Handler, Shelf
from tests.fakes.gce.shown import status_of
from tests.fakes.gce.tables import Instance, InstanceGroup, Operation
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import Reply, checked, fingerprint, instant, without_none


def list_instances(world: World, asked: Asked) -> Reply:
    group = _find(world, asked)
    only_running = asked.body.get("instanceState") == "RUNNING"
    members = [world.instances[one] for one in group.members]
    statuses = [(one, status_of(world, one, world.machine(one))) for one in members]
    shown = [
        checked("InstanceWithNamedPorts", {"instance": ROOT + one.path, "status": status})
        for one, status in statuses
        if status == "RUNNING" or not only_running
    ]
    reply = page(asked, "instanceGroups", "InstanceWithNamedPorts", shown, asked.scope)
    return reply | {"kind": "compute#instanceGroupsListInstances"}


def add_instances(world: World, asked: Asked) -> Checked:
    """Let instances join a group. One that is in it spoils all."""
    group, found = _find(world, asked), _named(world, asked)
    for one in found:
        if one.machine in group.members:
            message = f"Instance '{one.path}' is already a member of '{_path(group)}'."
            raise GceError(400, "memberAlreadyExists", message)
        asked.permit("compute.instances.use", one.path)

    def then() -> None:
        for one in found:
            if not one.released:
                group.members.setdefault(one.machine, op.ends_at)
                group.left.pop(one.machine, None)

    op = _begin(world, asked, "addInstances", group)
    world.later(op.ends_at, then)
    world.settle()
    return show_operation(world, op)


def remove_instances(world: World, asked: Asked) -> Checked:
    """Let instances leave a group. One that is not in it spoils all."""
    group, found = _find(world, asked), _named(world, asked)
    for one in found:
        if one.machine not in group.members:
            message = f"Instance '{one.path}' is not a member of '{_path(group)}'."
            raise GceError(400, "memberNotFound", message)

    def then() -> None:
        for one in found:
            if group.members.pop(one.machine, None) is not None:
                group.left[one.machine] = op.ends_at

    op = _begin(world, asked, "removeInstances", group)
    world.later(op.ends_at, then)
    world.settle()
    return show_operation(world, op)


def _named(world: World, asked: Asked) -> list[Instance]:
    given = asked.body.get("instances", [])
    if not given:
        raise required("resource.instances")
    found = [find_by_link(world, one, f"resource.instances[{number}]") for number, one in enumerate(given)]
    for number, one in enumerate(found):
        if one.zone != asked["zone"]:
            raise invalid(f"resource.instances[{number}]", one.path, f"It is not in zone {asked['zone']}.")
    return found


def find_by_link(world: World, reference: Mapping[str, str], field: str) -> Instance:
    """Return the instance that a reference names."""
    if "instance" not in reference:
        raise required(f"{field}.instance")
    _, scope, name = read_link(reference["instance"], "instances", f"{field}.instance")
    found = world.named.get((scope.removeprefix("zones/"), name))
    if found is None:
        raise not_found(path(scope, "instances", name))
    return found


def _find(world: World, asked: Asked) -> InstanceGroup:
    check_scope(world, asked.scope)
    name = asked["instanceGroup"]
    found = world.groups.get((asked["zone"], name))
    if found is None:
        raise not_found(path(asked.scope, "instanceGroups", name))
    return found


def _begin(world: World, asked: Asked, kind: str, group: InstanceGroup) -> Operation:
    return world.begin(asked, f"compute.instanceGroups.{kind}", _path(group), group.id)


def _path(group: InstanceGroup) -> str:
    return path(f"zones/{group.zone}", "instanceGroups", group.name)


def _shown(world: World, project: str, scope: str) -> Iterable[Checked]:
    return [_group(one) for one in world.groups.values() if f"zones/{one.zone}" == scope]


def _group(one: InstanceGroup) -> Checked:
    scope = f"zones/{one.zone}"
    shown = {
        "kind": "compute#instanceGroup",
        "id": one.id,
        "creationTimestamp": instant(one.created_at),
        "name": one.name,
        "network": link("global", "networks", "default"),
        "namedPorts": [{"name": "http", "port": 80}],
        "size": len(one.members),
        "fingerprint": fingerprint([one.id]),
        "zone": link(scope),
        "selfLink": link(scope, "instanceGroups", one.name),
    }
    return checked("InstanceGroup", without_none(shown))


HANDLERS: Final[Mapping[str, Handler]] = {
    "instanceGroups.listInstances": list_instances,
    "instanceGroups.addInstances": add_instances,
    "instanceGroups.removeInstances": remove_instances,
    **Shelf("instanceGroups", "instanceGroup", "InstanceGroup", _shown, "zones").handlers(everywhere=True),
}
