"""What balances load among instances: backend services, by groups; target pools, by instance."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from infrakit_py.model.instance import InstanceState
from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import GceError, invalid, not_found, required
from tests.fakes.gce.groups import find_by_link
from tests.fakes.gce.links import ROOT, link, path, read_link
from tests.fakes.gce.operations import check_scope, show_operation
from tests.fakes.gce.settings import region_of
from tests.fakes.gce.shelves import Handler, Shelf
from tests.fakes.gce.tables import BackendService, Instance, InstanceGroup, Operation, TargetPool
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import Reply, checked, fingerprint, instant, without_none


def is_healthy(world: World, instance: Instance, joined_at: float) -> bool:
    """Tell whether an instance passes the checks of what it joined."""
    machine = world.machine(instance)
    if machine is None or machine.state is not InstanceState.RUNNING or machine.sick or instance.unhealthy:
        return False
    return world.now() >= max(machine.row.boots_at, joined_at) + world.settings.health_seconds


def get_backend_health(world: World, asked: Asked) -> Reply:
    service = _service(world, asked)
    if "group" not in asked.body:
        raise required("resource.group")
    _, scope, name = read_link(asked.body["group"], "instanceGroups", "resource.group")
    group = next((one for one in service.groups if (f"zones/{one.zone}", one.name) == (scope, name)), None)
    if group is None:
        raise invalid("resource.group", asked.body["group"], "It is no backend of the backend service.")
    members = [(world.instances[one], joined_at) for one, joined_at in group.members.items()]
    shown = [_health(world, one, joined_at) for one, joined_at in members]
    return {"kind": "compute#backendServiceGroupHealth", **({"healthStatus": shown} if shown else {})}


def get_pool_health(world: World, asked: Asked) -> Reply:
    pool = _pool(world, asked)
    instance = find_by_link(world, asked.body, "resource")
    if instance.path not in pool.members:
        raise invalid("resource.instance", instance.path, "It is not in the target pool.")
    shown = _health(world, instance, pool.members[instance.path])
    return {"kind": "compute#targetPoolInstanceHealth", "healthStatus": [shown]}


def _health(world: World, one: Instance, joined_at: float) -> Reply:
    return {
        "instance": ROOT + one.path,
        "ipAddress": one.interfaces[0].ip,
        "port": 80,
        "healthState": "HEALTHY" if is_healthy(world, one, joined_at) else "UNHEALTHY",
    }


def add_instance(world: World, asked: Asked) -> Checked:
    """Let instances join a target pool. To join twice is fine."""
    pool = _pool(world, asked)
    given = asked.body.get("instances", [])
    if not given:
        raise required("resource.instances")
    found = [find_by_link(world, one, f"resource.instances[{number}]") for number, one in enumerate(given)]
    for one in found:
        if region_of(one.zone) != pool.region:
            raise invalid("resource.instances", one.path, f"It is not in region {pool.region}.")
        asked.permit("compute.instances.use", one.path)

    def then() -> None:
        for one in found:
            pool.members.setdefault(one.path, op.ends_at)

    op = _begin(world, asked, "AddInstance", pool)
    world.later(op.ends_at, then)
    world.settle()
    return show_operation(world, op)


def remove_instance(world: World, asked: Asked) -> Checked:
    """Let instances leave a target pool, which keeps even those that are long deleted."""
    pool = _pool(world, asked)
    given = asked.body.get("instances", [])
    if not given:
        raise required("resource.instances")
    paths = []
    for number, one in enumerate(given):
        _, scope, name = read_link(one.get("instance", ""), "instances", f"resource.instances[{number}].instance")
        paths.append(path(scope, "instances", name))
        if paths[-1] not in pool.members:
            raise GceError(400, "invalid", f"Instance '{paths[-1]}' is not in target pool '{pool.name}'.")

    def then() -> None:
        for one in paths:
            pool.members.pop(one, None)

    op = _begin(world, asked, "RemoveInstance", pool)
    world.later(op.ends_at, then)
    world.settle()
    return show_operation(world, op)


def _begin(world: World, asked: Asked, kind: str, pool: TargetPool) -> Operation:
    return world.begin(asked, kind, path(asked.scope, "targetPools", pool.name), pool.id)


def _service(world: World, asked: Asked) -> BackendService:
    if asked.scope != "global":
        check_scope(world, asked.scope)
    found = world.services.get((asked.scope, asked["backendService"]))
    if found is None:
        raise not_found(path(asked.scope, "backendServices", asked["backendService"]))
    return found


def _pool(world: World, asked: Asked) -> TargetPool:
    check_scope(world, asked.scope)
    found = world.pools.get((asked["region"], asked["targetPool"]))
    if found is None:
        raise not_found(path(asked.scope, "targetPools", asked["targetPool"]))
    return found


def _services(world: World, project: str, scope: str) -> Iterable[Checked]:
    return [_shown_service(one) for one in world.services.values() if one.scope == scope]


def _shown_service(one: BackendService) -> Checked:
    everywhere = one.scope == "global"
    shown: dict[str, Any] = {
        "kind": "compute#backendService",
        "id": one.id,
        "creationTimestamp": instant(one.created_at),
        "name": one.name,
        "backends": [_backend(group, everywhere=everywhere) for group in one.groups],
        "connectionDraining": {"drainingTimeoutSec": one.draining_seconds},
        "loadBalancingScheme": "EXTERNAL_MANAGED" if everywhere else "INTERNAL",
        "protocol": "HTTP" if everywhere else "TCP",
        "port": 80 if everywhere else None,
        "portName": "http" if everywhere else None,
        "sessionAffinity": "NONE",
        "timeoutSec": 30,
        "fingerprint": fingerprint([one.id]),
        "region": None if everywhere else link(one.scope),
        "selfLink": link(one.scope, "backendServices", one.name),
    }
    return checked("BackendService", without_none(shown))


def _backend(group: InstanceGroup, *, everywhere: bool) -> dict[str, Any]:
    return {
        "group": link(f"zones/{group.zone}", "instanceGroups", group.name),
        "balancingMode": "UTILIZATION" if everywhere else "CONNECTION",
    }


def _pools(world: World, project: str, scope: str) -> Iterable[Checked]:
    return [_shown_pool(one) for one in world.pools.values() if f"regions/{one.region}" == scope]


def _shown_pool(one: TargetPool) -> Checked:
    scope = f"regions/{one.region}"
    shown = {
        "kind": "compute#targetPool",
        "id": one.id,
        "creationTimestamp": instant(one.created_at),
        "name": one.name,
        "instances": [ROOT + member for member in one.members],
        "sessionAffinity": "NONE",
        "region": link(scope),
        "selfLink": link(scope, "targetPools", one.name),
    }
    return checked("TargetPool", without_none(shown))


_GLOBAL: Final = Shelf("backendServices", "backendService", "BackendService", _services, "global")
_REGIONAL: Final = Shelf("backendServices", "backendService", "BackendService", _services, "regions")
HANDLERS: Final[Mapping[str, Handler]] = {
    **_GLOBAL.handlers(),
    **_REGIONAL.handlers("regionBackendServices"),
    "backendServices.getHealth": get_backend_health,
    "regionBackendServices.getHealth": get_backend_health,
    **Shelf("targetPools", "targetPool", "TargetPool", _pools, "regions").handlers(everywhere=True),
    "targetPools.addInstance": add_instance,
    "targetPools.removeInstance": remove_instance,
    "targetPools.getHealth": get_pool_health,
}
