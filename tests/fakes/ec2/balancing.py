"""Target groups of a load balancer, and whether it finds their targets healthy."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from infrakit_py.model.instance import InstanceState
from tests.fakes.ec2.errors import AwsError
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.settings import ACCOUNT, VPC
from tests.fakes.ec2.tables import Target, TargetGroup
from tests.fakes.ec2.tags import read_tags
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply

_FAILED: Final = {
    "Target.FailedHealthChecks": "Health checks failed",
    "Target.Timeout": "Request timed out",
    "Target.ResponseCodeMismatch": "Health checks failed with these codes: [503]",
}


def create_target_group(world: World, asked: Asked) -> Reply:
    name = asked["Name"]
    health = {key: value for key, value in asked.items() if key.startswith(("Health", "Matcher", "Unhealthy"))}
    known = next((one for one in world.target_groups.values() if one.name == name), None)
    if known is not None:
        if (known.protocol, known.port) != (asked.get("Protocol"), asked.get("Port")):
            raise AwsError("DuplicateTargetGroupName", f"A target group with the same name '{name}' exists")
        return {"TargetGroups": [_group(known)]}
    if asked.get("TargetType", "instance") != "instance":
        raise AwsError("InvalidConfigurationRequest", "The fake has target groups of instances only")
    for needed in ("Protocol", "Port", "VpcId"):
        if needed not in asked:
            raise AwsError("ValidationError", f"A {needed} must be specified")
    id_ = world.new_id("tg")[3:19]
    arn = f"arn:aws:elasticloadbalancing:{world.settings.region}:{ACCOUNT}:targetgroup/{name}/{id_}"
    group = TargetGroup(arn, name, asked["Protocol"], asked["Port"], health, read_tags(asked.get("Tags", ())))
    world.target_groups[arn] = group
    return {"TargetGroups": [_group(group)]}


def describe_target_groups(world: World, asked: Asked) -> Reply:
    groups = list(world.target_groups.values())
    if names := asked.get("Names"):
        groups = _all_of(names, {one.name: one for one in groups})
    if arns := asked.get("TargetGroupArns"):
        groups = _all_of(arns, {one.arn: one for one in groups})
    return {"TargetGroups": [_group(one) for one in groups]}


def _all_of(wanted: Sequence[str], known: Mapping[str, TargetGroup]) -> list[TargetGroup]:
    if not set(wanted) <= set(known):
        raise AwsError("TargetGroupNotFound", "One or more target groups not found")
    return [known[one] for one in dict.fromkeys(wanted)]


def delete_target_group(world: World, asked: Asked) -> Reply:
    world.target_groups.pop(asked["TargetGroupArn"], None)  # one that is not there is fine
    return {}


def register_targets(world: World, asked: Asked) -> Reply:
    group = find_group(world, asked)
    wanted = [(one["Id"], one.get("Port", group.port)) for one in asked["Targets"]]
    for id_, _ in wanted:
        if id_ not in world.instances or world.state(id_) is InstanceState.GONE:
            raise AwsError("InvalidTarget", f"The following targets do not exist: '{id_}'")
        if world.state(id_) is not InstanceState.RUNNING:
            raise AwsError(
                "InvalidTarget", f"The following targets are not in a running state and cannot be registered: '{id_}'"
            )
    for id_, port in wanted:
        known = group.targets.get((id_, port))
        if known is None or known.draining_until is not None:
            group.targets[id_, port] = Target(id_, port, world.now())
    return {}


def deregister_targets(world: World, asked: Asked) -> Reply:
    group, now = find_group(world, asked), world.now()
    wanted = [(one["Id"], one.get("Port")) for one in asked["Targets"]]
    for id_, port in wanted:
        named = [one for key, one in group.targets.items() if key[0] == id_ and port in (None, key[1])]
        if not named and id_ not in world.instances:
            raise AwsError("InvalidTarget", f"The following targets do not exist: '{id_}'")
        for one in named:
            if one.draining_until is None:
                one.draining_until = now + world.settings.deregistration_seconds
    return {}


def describe_target_health(world: World, asked: Asked) -> Reply:
    group = find_group(world, asked)
    _forget_drained(world, group)
    if (wanted := asked.get("Targets")) is None:
        return {"TargetHealthDescriptions": [_health(world, group, one) for one in group.targets.values()]}
    keys = [(one["Id"], one.get("Port", group.port)) for one in wanted]
    for id_, _ in keys:
        if id_ not in world.instances:
            raise AwsError("InvalidTarget", f"The following targets do not exist: '{id_}'")
    return {"TargetHealthDescriptions": [_asked_for(world, group, *key) for key in keys]}


def find_group(world: World, asked: Asked) -> TargetGroup:
    if asked["TargetGroupArn"] not in world.target_groups:
        raise AwsError("TargetGroupNotFound", "One or more target groups not found")
    return world.target_groups[asked["TargetGroupArn"]]


def health_of(world: World, target: Target) -> tuple[str, str, str]:
    """Return state, reason and description."""
    state = world.state(target.instance)
    if target.draining_until is not None:
        return "draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"
    if state in (InstanceState.LEAVING, InstanceState.GONE, InstanceState.STOPPED):
        return "unused", "Target.InvalidState", "Target is in the stopped or terminated state"
    if world.now() < target.registered_at + world.settings.health_seconds:
        return "initial", "Elb.RegistrationInProgress", "Target registration is in progress"
    if target.unhealthy:
        return "unhealthy", target.unhealthy, _FAILED.get(target.unhealthy, "Health checks failed")
    machine = world.machine(target.instance)
    if machine is None or world.cloud.probe(target.instance) is not None:
        return "unhealthy", "Target.FailedHealthChecks", "Health checks failed"
    return "healthy", "", ""


def _forget_drained(world: World, group: TargetGroup) -> None:
    now = world.now()
    for key, one in tuple(group.targets.items()):
        gone = world.state(one.instance) is InstanceState.GONE and one.draining_until is None
        if gone or (one.draining_until is not None and one.draining_until <= now):
            del group.targets[key]  # the load balancer deregisters a terminated instance by itself


def _asked_for(world: World, group: TargetGroup, id_: str, port: int) -> dict[str, Any]:
    if (id_, port) in group.targets:
        return _health(world, group, group.targets[id_, port])
    reason = {"Reason": "Target.NotRegistered", "Description": "Target is not registered to the target group"}
    return {"Target": {"Id": id_, "Port": port}, "TargetHealth": {"State": "unused", **reason}}


def _health(world: World, group: TargetGroup, one: Target) -> dict[str, Any]:
    state, reason, description = health_of(world, one)
    health = {"State": state, "Reason": reason or None, "Description": description or None}
    return {
        "Target": {"Id": one.instance, "Port": one.port},
        "HealthCheckPort": str(group.health.get("HealthCheckPort", one.port)).replace("traffic-port", str(one.port)),
        "TargetHealth": health,
    }


def _group(one: TargetGroup) -> dict[str, Any]:
    return {
        "TargetGroupArn": one.arn,
        "TargetGroupName": one.name,
        "Protocol": one.protocol,
        "Port": one.port,
        "VpcId": VPC,
        "TargetType": "instance",
        "HealthCheckEnabled": True,
        "HealthCheckProtocol": one.health.get("HealthCheckProtocol", one.protocol),
        "HealthCheckPort": one.health.get("HealthCheckPort", "traffic-port"),
        "HealthCheckIntervalSeconds": one.health.get("HealthCheckIntervalSeconds", 30),
        "HealthCheckTimeoutSeconds": one.health.get("HealthCheckTimeoutSeconds", 5),
        "HealthyThresholdCount": one.health.get("HealthyThresholdCount", 5),
        "UnhealthyThresholdCount": one.health.get("UnhealthyThresholdCount", 2),
    }
