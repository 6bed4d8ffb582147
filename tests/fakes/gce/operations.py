"""Operations: what they say, and the calls that look at them."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import invalid, not_found, unreachable
from tests.fakes.gce.filters import Filter
from tests.fakes.gce.links import ROOT, link, path
from tests.fakes.gce.paging import aggregated, page
from tests.fakes.gce.settings import REGIONS, ZONES, region_of
from tests.fakes.gce.tables import Bulk, Operation, OpError
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import Reply, checked, instant, without_none

SCOPES: Final = ("global", *(f"regions/{one}" for one in REGIONS), *(f"zones/{one}" for one in ZONES))


def get_operation(world: World, asked: Asked) -> Checked:
    scope, name = _scope(world, asked), asked["operation"]
    found = world.operations.get(scope, {})
    op = found.get(name) or next((one for one in found.values() if one.id == name), None)
    if op is None:
        raise not_found(path(scope, "operations", name))
    return show_operation(world, op)


def wait_operation(world: World, asked: Asked) -> Checked:
    """Answer as an operation is: done, or not after the two minutes that Google waits and nobody has here."""
    return get_operation(world, asked)


def list_operations(world: World, asked: Asked) -> Reply:
    scope = _scope(world, asked)
    return page(asked, "operation", "Operation", _shown(world, scope), scope)


def aggregated_operations(world: World, asked: Asked) -> Reply:
    def listed(scope: str, _: Filter) -> Iterable[Checked]:
        return _shown(world, scope)

    return aggregated(asked, "operation", "Operation", "operations", SCOPES, listed, world.lost)


def check_scope(world: World, scope: str) -> None:
    """Refuse a zone or region that there is not, or that does not answer."""
    if scope not in SCOPES:
        kind, _, name = scope.partition("/")
        raise invalid(kind.removesuffix("s"), name, f"Unknown {kind.removesuffix('s')}.")
    if scope in world.lost:
        raise unreachable(scope)


def show_operation(world: World, op: Operation) -> Checked:
    now = world.now()
    status = op.status(now)
    bulk = _bulk(op.bulk, now, done=status == "DONE") if op.bulk else None
    key = (status, str(bulk))
    if op.written and op.written[0] == key:
        return op.written[1]
    kind, _, _ = op.scope.partition("/")
    done = status == "DONE"
    shown = {
        "kind": "compute#operation",
        "id": op.id,
        "name": op.name,
        "clientOperationId": op.request_id,
        "operationType": op.type,
        "operationGroupId": op.group,
        "zone": link(op.scope) if kind == "zones" else None,
        "region": link(op.scope) if kind == "regions" else None,
        "targetLink": ROOT + op.target,
        "targetId": op.target_id,
        "status": status,
        "user": op.user,
        "progress": 100 if done else 0,
        "insertTime": instant(op.inserted_at),
        "startTime": instant(min(op.starts_at, op.ends_at)) if status != "PENDING" else None,
        "endTime": instant(op.ends_at) if done else None,
        "selfLink": link(op.scope, "operations", op.name),
        "instancesBulkInsertOperationMetadata": {"perLocationStatus": {op.scope: bulk}} if bulk else None,
    }
    if done and op.errors:
        shown |= _errors(op.errors)
    op.written = (key, checked("Operation", without_none(shown)))
    return op.written[1]


def _errors(errors: Sequence[OpError]) -> dict[str, Any]:
    shown: list[dict[str, Any]] = []
    for error in errors:
        details = {"errorDetails": list(error.details)} if error.details else {}
        shown.append({"code": error.code, "message": error.message, **details})
    return {
        "error": {"errors": shown},
        "httpErrorStatusCode": errors[-1].status,
        "httpErrorMessage": errors[-1].text,
    }


def _bulk(bulk: Bulk, now: float, *, done: bool) -> Reply:
    ended = [one for one in bulk.children if one.status(now) == "DONE"]
    failed = sum(bool(one.errors) for one in ended)
    status = "DONE" if done else "ROLLING_BACK" if bulk.rolling_back else "CREATING"
    return {
        "status": status,
        "targetVmCount": bulk.target,
        "createdVmCount": len(ended) - failed,
        "failedToCreateVmCount": failed,
        "deletedVmCount": bulk.deleted,
    }


def _shown(world: World, scope: str) -> list[Checked]:
    return [show_operation(world, one) for one in world.operations.get(scope, {}).values()]


def _scope(world: World, asked: Asked) -> str:
    check_scope(world, asked.scope)
    return asked.scope


def region_scope(zone: str) -> str:
    return f"regions/{region_of(zone)}"
