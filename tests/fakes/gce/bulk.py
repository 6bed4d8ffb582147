"""bulkInsert: many instances of one kind, at least so many of them or none."""

import uuid
from collections.abc import Sequence
from functools import partial
from math import inf

from tests.fakes.gce.asking import Asked
from tests.fakes.gce.bulk_names import read_names
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import already_exists, too_many_requests
from tests.fakes.gce.inserting import launch, refuse_over_quota
from tests.fakes.gce.launching import instance_path, read_wish
from tests.fakes.gce.links import path
from tests.fakes.gce.operations import check_scope, show_operation
from tests.fakes.gce.tables import Bulk, Instance, Operation, OpError
from tests.fakes.gce.world import World

MOST_AT_ONCE = 10
"""Source: Google, "Troubleshooting bulk VM creation"."""


def bulk_insert(world: World, asked: Asked) -> Checked:
    check_scope(world, asked.scope)
    zone = asked["zone"]
    names, least = read_names(world, zone, asked.body)
    taken = next((name for name in names if (zone, name) in world.named), None)
    if taken is not None and world.settings.bulk_taken_answer == "request":
        raise already_exists(instance_path(zone, taken))
    wish = read_wish(world, asked, zone, asked.body["instanceProperties"], bulk=True)
    _refuse_too_many(world)
    refuse_over_quota(world, wish, least)
    parent = _begin(world, asked, len(names))
    if taken is not None:
        message = f"The resource '{instance_path(zone, taken)}' already exists"
        parent.errors = (OpError("RESOURCE_ALREADY_EXISTS", message, 409, "CONFLICT"),)
        parent.ends_at = world.now() + world.settings.operation_seconds
        return show_operation(world, _accepted(world, parent))
    own = asked.body.get("perInstanceProperties", {})
    wanted = {name: own.get(name, {}) for name in names}
    at_least = least if world.settings.bulk_stockout_answer == "request" else 0
    made = launch(world, asked, wish, wanted, world.settings.bulk_appear_seconds, parent.group, at_least=at_least)
    children = [op for op, _ in made]
    parent.bulk = Bulk(len(names), children)
    failures = [op.errors[0] for op in children if op.errors]
    if len(names) - len(failures) >= least:
        for op in children:
            op.parent = parent
        parent.ends_at = max(op.ends_at for op in children)
    else:
        at = world.now() + world.settings.stockout_seconds
        there = [one for _, one in made if one and not one.doomed]
        world.later(at, partial(_roll_back, world, parent, there, least, failures[0], at))
    return show_operation(world, _accepted(world, parent))


def _begin(world: World, asked: Asked, count: int) -> Operation:
    group = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{world.settings.seed}/{world.number()}"))
    op = world.operation(asked.scope, "bulkInsert", path(asked.scope), "", asked.caller)
    op.group, op.bulk, op.request_id, op.ends_at = group, Bulk(count), asked.request_id, inf
    return op


def _accepted(world: World, parent: Operation) -> Operation:
    """Let an operation be found from now on."""
    world.keep(parent)
    world.settle()
    return parent


def _roll_back(
    world: World, parent: Operation, made: Sequence[Instance], least: int, cause: OpError, at: float
) -> None:
    """Undo a bulk insert that made too few instances."""
    there = [one for one in made if world.is_alive(one)]
    message = f"Requested minimum count of {least} VMs could not be created."
    parent.errors = (OpError("VM_MIN_COUNT_NOT_REACHED", message, cause.status, cause.text), cause)
    parent.ends_at = at + (world.settings.delete_seconds if there else 0.0)
    if parent.bulk:
        parent.bulk.rolling_back, parent.bulk.deleted = True, len(there)
    world.destroy(there, parent.ends_at)


def _refuse_too_many(world: World) -> None:
    if world.settings.limits == "none":
        return
    now = world.now()
    going_on = sum(
        op.bulk is not None and op.ends_at > now for some in world.operations.values() for op in some.values()
    )
    if going_on >= MOST_AT_ONCE:
        raise too_many_requests("BulkInsertOperationsAtOnce")
