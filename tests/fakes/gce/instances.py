"""Instances once they are there: look at them, change and end them."""

from collections.abc import Callable, Iterable
from functools import partial

from infrakit_py.model.instance import InstanceState
from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import GceError, not_found, not_ready
from tests.fakes.gce.filters import Filter, read_filter
from tests.fakes.gce.labels import check_labels
from tests.fakes.gce.launching import instance_path
from tests.fakes.gce.operations import check_scope, show_operation
from tests.fakes.gce.paging import aggregated, page
from tests.fakes.gce.settings import ZONES
from tests.fakes.gce.shown import show_instance
from tests.fakes.gce.site import check_metadata
from tests.fakes.gce.tables import Instance, Operation
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import Reply, fingerprint


def find_instance(world: World, asked: Asked, named: str = "instance") -> Instance:
    """Return the instance that a call names, by name or id."""
    check_scope(world, asked.scope)
    zone, name = asked["zone"], asked[named]
    found = world.named.get((zone, name))
    if found is None and name.isdigit():
        found = next((one for one in world.instances.values() if (one.zone, one.id) == (zone, name)), None)
    if found is None or found.visible_at > world.now():
        raise not_found(instance_path(zone, name))
    return found


def get_instance(world: World, asked: Asked) -> Checked:
    instance = find_instance(world, asked)
    return show_instance(world, instance, world.machine(instance))


def list_instances(world: World, asked: Asked) -> Reply:
    check_scope(world, asked.scope)
    filter_ = read_filter(asked.get("filter"), "Instance")
    return page(asked, "instance", "Instance", _listed(world, filter_).get(asked["zone"], []), asked.scope)


def aggregated_instances(world: World, asked: Asked) -> Reply:
    found: dict[str, list[Checked]] | None = None

    def listed(scope: str, filter_: Filter) -> Iterable[Checked]:
        nonlocal found
        if found is None:
            found = _listed(world, filter_)
        return found.get(scope.removeprefix("zones/"), [])

    scopes = tuple(f"zones/{one}" for one in ZONES)
    return aggregated(asked, "instance", "Instance", "instances", scopes, listed, world.lost)


def _listed(world: World, filter_: Filter) -> dict[str, list[Checked]]:
    """Return what listings may show, by zone: of few instances only, where a filter demands labels."""
    now = world.now()
    some = [world.labelled.get(label, {}) for label in filter_.labels.items()]
    candidates = min(some, key=len) if some else world.instances
    found: dict[str, list[Checked]] = {}
    if not candidates:
        return found
    listed_from = now - world.settings.listing_lag
    machines = {one.id: one for one in world.cloud.everything()}
    for instance in candidates.values():
        machine = machines.get(instance.machine)
        since = machine.row.listed_at if machine else instance.created_at + now - listed_from
        if max(since, instance.visible_at) <= now:
            found.setdefault(instance.zone, []).append(show_instance(world, instance, machine))
    return found


def begin_on(
    world: World,
    asked: Asked,
    kind: str,
    instance: Instance,
    *,
    seconds: float | None = None,
    then: Callable[[], None] | None = None,
) -> Operation:
    """Begin an operation on an instance."""
    return world.begin(asked, kind, instance.path, instance.id, seconds=seconds, then=then)


def delete_instance(world: World, asked: Asked) -> Checked:
    instance = find_instance(world, asked)
    if instance.protected:
        raise GceError(
            400,
            "invalidResourceUsage",
            "Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion. The deletion "
            "protection can be turned off'.",
        )
    machine = world.machine(instance)
    if machine and machine.state in (InstanceState.LEAVING, InstanceState.GONE):
        raise not_ready(instance.path)
    world.destroy([instance])
    now = world.now()
    until = instance.insert.ends_at - now if instance.doomed and instance.insert else world.settings.delete_seconds
    return show_operation(world, begin_on(world, asked, "delete", instance, seconds=max(0.0, until)))


def set_labels(world: World, asked: Asked) -> Checked:
    instance = find_instance(world, asked)
    labels = dict(asked.body.get("labels", {}))
    check_labels(labels, "resource.labels")
    check_label_fingerprint(asked.body.get("labelFingerprint", ""), instance.labels)
    op = begin_on(world, asked, "setLabels", instance, then=partial(world.relabel, instance, labels))
    world.settle()
    return show_operation(world, op)


def check_label_fingerprint(given: str, labels: dict[str, str]) -> None:
    if given != fingerprint(labels):
        raise GceError(412, "conditionNotMet", "Labels fingerprint either invalid or resource labels have changed")


def set_metadata(world: World, asked: Asked) -> Checked:
    instance = find_instance(world, asked)
    items = check_metadata(asked.body, "resource")
    if asked.body.get("fingerprint", "") != fingerprint(instance.metadata):
        raise GceError(412, "conditionNotMet", "Supplied fingerprint does not match current metadata fingerprint.")

    def then() -> None:
        instance.metadata, instance.written = items, None

    op = begin_on(world, asked, "setMetadata", instance, then=then)
    world.settle()
    return show_operation(world, op)


def set_deletion_protection(world: World, asked: Asked) -> Checked:
    instance = find_instance(world, asked, named="resource")
    wanted = asked.get("deletionProtection", True)

    def then() -> None:
        instance.protected, instance.written = wanted, None

    op = begin_on(world, asked, "setDeletionProtection", instance, then=then)
    world.settle()
    return show_operation(world, op)
