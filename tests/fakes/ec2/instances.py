"""Instances once they are there: look at them, stop, start, change and end them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from infrakit_providers.simulated.machines import NEVER, Machine
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.tags import CLUSTER
from tests.fakes.ec2.errors import AwsError
from tests.fakes.ec2.filters import Fields, page, selected
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.settings import VPC
from tests.fakes.ec2.shown import STATES, show_reservations, show_state
from tests.fakes.ec2.tables import Event, Instance, SpotRequest
from tests.fakes.ec2.tags import written
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply, iso

_ID: Final = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
BY_USER: Final = ("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown")
Seen = tuple[Instance, Machine]


def describe_instances(world: World, asked: Asked) -> Reply:
    ids = asked.get("InstanceIds")
    found = _of_ids(world, ids) if ids else _listed(world, asked)
    shown, token = page(selected(found, asked, _fields, lambda one: one[1].tags), asked, ids=ids)
    return {"Reservations": show_reservations(world, shown), "NextToken": token}


def _of_ids(world: World, ids: Sequence[str]) -> list[Seen]:
    """Return instances by id, which finds them sooner than a listing does."""
    check_form(ids)
    machines = world.cloud.find(ids)
    old_enough = world.now() - world.settings.id_lag
    seen = {id_: one for id_, one in machines.items() if one.created_at <= old_enough and id_ in world.instances}
    _refuse_unknown(ids, seen)
    return [(world.instances[id_], seen[id_]) for id_ in dict.fromkeys(ids)]


def _listed(world: World, asked: Asked) -> list[Seen]:
    """Return the instances that a listing shows, of one cluster where only its instances can be meant."""
    cluster = None
    for one in asked.get("Filters", ()):
        values = one.get("Values", [])
        if one.get("Name") == f"tag:{CLUSTER}" and len(values) == 1 and not set(values[0]) & set("*?\\"):
            cluster = values[0] or None
    machines = world.cloud.machines(cluster)
    instances = world.instances
    return [(instances[one.id], one) for one in machines if one.id in instances]


def check_form(ids: Iterable[str]) -> None:
    for one in ids:
        if not _ID.fullmatch(one):
            raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{one}"')


def _refuse_unknown(ids: Iterable[str], known: Mapping[str, object]) -> None:
    unknown = [one for one in ids if one not in known]
    if len(unknown) == 1:
        raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{unknown[0]}' does not exist")
    if unknown:
        raise AwsError("InvalidInstanceID.NotFound", f"The instance IDs '{', '.join(unknown)}' do not exist")


def known_instances(world: World, ids: Sequence[str]) -> list[Seen]:
    """Return instances that a changing call names. All must exist."""
    check_form(ids)
    seen = {one: machine for one in ids if one in world.instances and (machine := world.machine(one))}
    _refuse_unknown(ids, seen)
    return [(world.instances[one], seen[one]) for one in dict.fromkeys(ids)]


def terminate_instances(world: World, asked: Asked) -> Reply:
    """End instances. One that is unknown spares them all; one that is protected spares those in its zone."""
    seen = known_instances(world, asked["InstanceIds"])
    protected = [one for one, machine in seen if one.protected and machine.state is not InstanceState.GONE]
    spared = {one.subnet.zone for one in protected}
    by = f"User initiated ({_when(world)})"
    ended = [one for one, _ in seen if one.subnet.zone not in spared]
    world.terminate([one.id for one in ended], BY_USER, by)
    for one in ended:
        if one.spot and one.spot.kind == "persistent" and one.spot.state == "active":
            one.spot.state, one.spot.status = "open", "pending-evaluation"  # EC2 looks for another machine for it
    if protected:
        raise AwsError(
            "OperationNotPermitted",
            f"The instance '{protected[0].id}' may not be terminated. Modify its 'disableApiTermination' instance "
            "attribute and try again.",
        )
    return {"TerminatingInstances": _changes(world, seen)}


def stop_instances(world: World, asked: Asked) -> Reply:
    seen = known_instances(world, asked["InstanceIds"])
    for instance, machine in seen:
        if machine.state in (InstanceState.LEAVING, InstanceState.GONE, InstanceState.PENDING):
            raise _wrong_state(instance, "stopped")
        if instance.stop_protected:
            raise AwsError("OperationNotPermitted", f"The instance '{instance.id}' may not be stopped.")
        if instance.spot and instance.spot.kind != "persistent":
            raise AwsError("UnsupportedOperation", f"You can't stop the one-time Spot Instance '{instance.id}'")
    for instance, _ in seen:
        instance.reason, instance.transition = BY_USER, f"User initiated ({_when(world)})"
        world.changed(instance.id)
        world.cloud.stop(instance.id, "stopped")
    return {"StoppingInstances": _changes(world, seen)}


def start_instances(world: World, asked: Asked) -> Reply:
    seen = known_instances(world, asked["InstanceIds"])
    for instance, machine in seen:
        if machine.state in (InstanceState.LEAVING, InstanceState.GONE):
            raise _wrong_state(instance, "started")
    halted = [instance for instance, machine in seen if machine.state is InstanceState.STOPPED]
    for instance in halted:
        instance.reason, instance.transition = None, ""
        world.changed(instance.id)
    boots_at = world.now() + world.settings.boot_seconds
    world.cloud.interfere(
        [one.id for one in halted], lambda row, _: row._replace(dies_at=NEVER, boots_at=boots_at, cause="")
    )
    return {"StartingInstances": _changes(world, seen)}


def modify_instance_attribute(world: World, asked: Asked) -> Reply:
    ((instance, machine),) = known_instances(world, [asked["InstanceId"]])
    if machine.state is InstanceState.GONE:
        raise _wrong_state(instance, "modified")
    changes = {name: value for name, value in asked.items() if name not in ("InstanceId", "DryRun")}
    if len(changes) != 1 and "Attribute" not in changes:
        raise AwsError("InvalidParameterCombination", "Exactly one attribute must be given")
    match changes:
        case {"DisableApiTermination": one}:
            instance.protected = one.get("Value", False)
        case {"DisableApiStop": one}:
            instance.stop_protected = one.get("Value", False)
        case {"Attribute": "disableApiTermination", "Value": text}:
            instance.protected = text == "true"
        case {"Groups": groups}:
            for id_ in groups:
                if id_ not in world.groups:
                    raise AwsError("InvalidGroup.NotFound", f"The security group '{id_}' does not exist")
            instance.interfaces[0].groups = tuple(groups)
        case {"SourceDestCheck": _} | {"InstanceInitiatedShutdownBehavior": _}:
            pass
        case {"BlockDeviceMappings": mappings}:
            for one in mappings:
                for volume in instance.volumes:
                    if volume.device == one.get("DeviceName"):
                        volume.delete_on_termination = one.get("Ebs", {}).get("DeleteOnTermination", True)
        case _ if machine.state is not InstanceState.STOPPED:
            raise AwsError("IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'stopped' state.")
        case _:
            raise AwsError("InvalidParameterValue", f"The fake does not change {', '.join(changes)}")
    world.changed(instance.id)
    return {}


def describe_instance_attribute(world: World, asked: Asked) -> Reply:
    ((instance, _),) = known_instances(world, [asked["InstanceId"]])
    values: Mapping[str, Mapping[str, Any]] = {
        "userData": {"UserData": {"Value": instance.user_data} if instance.user_data else {}},
        "disableApiTermination": {"DisableApiTermination": {"Value": instance.protected}},
        "disableApiStop": {"DisableApiStop": {"Value": instance.stop_protected}},
        "instanceType": {"InstanceType": {"Value": instance.type.name}},
    }
    if asked["Attribute"] not in values:
        raise AwsError("UnsupportedOperation", f"The fake does not tell {asked['Attribute']}")
    return {"InstanceId": instance.id, **values[asked["Attribute"]]}


def describe_instance_status(world: World, asked: Asked) -> Reply:
    ids = asked.get("InstanceIds")
    found = _of_ids(world, ids) if ids else _listed(world, asked)
    if not asked.get("IncludeAllInstances"):
        found = [one for one in found if one[1].state is InstanceState.RUNNING]
    found = selected(found, asked, _status_fields, lambda one: one[1].tags)
    shown, token = page(found, asked, ids=ids)
    return {"InstanceStatuses": [_status(one) for one in shown], "NextToken": token}


def describe_spot_instance_requests(world: World, asked: Asked) -> Reply:
    ids = asked.get("SpotInstanceRequestIds")
    for one in ids or ():
        if one not in world.spot_requests:
            raise AwsError(
                "InvalidSpotInstanceRequestID.NotFound", f"The spot instance request ID '{one}' does not exist"
            )
    found = [world.spot_requests[one] for one in ids] if ids else list(world.spot_requests.values())
    shown, token = page(selected(found, asked, _spot_fields, lambda one: one.tags), asked, ids=ids)
    return {"SpotInstanceRequests": [_spot(world, one) for one in shown], "NextToken": token}


def cancel_spot_instance_requests(world: World, asked: Asked) -> Reply:
    for one in asked["SpotInstanceRequestIds"]:
        if one not in world.spot_requests:
            raise AwsError(
                "InvalidSpotInstanceRequestID.NotFound", f"The spot instance request ID '{one}' does not exist"
            )
    for one in asked["SpotInstanceRequestIds"]:
        request = world.spot_requests[one]
        if request.state in ("open", "active"):
            request.state, request.status = "cancelled", "request-canceled-and-instance-running"
    states = [{"SpotInstanceRequestId": one, "State": "cancelled"} for one in asked["SpotInstanceRequestIds"]]
    return {"CancelledSpotInstanceRequests": states}


def _changes(world: World, before: Sequence[Seen]) -> list[dict[str, Any]]:
    return [
        {
            "InstanceId": instance.id,
            "PreviousState": show_state(machine.state),
            "CurrentState": show_state(_named(world.state(instance.id), machine.state)),
        }
        for instance, machine in before
    ]


def _named(now: InstanceState, before: InstanceState) -> InstanceState:
    """Return the state that a reply names: an instance that was there leaves first, however quick it is gone."""
    if now is InstanceState.GONE and before is not InstanceState.GONE:
        return InstanceState.LEAVING
    return now


def _when(world: World) -> str:
    return iso(world.now())[:19].replace("T", " ") + " GMT"


def _wrong_state(instance: Instance, act: str) -> AwsError:
    return AwsError(
        "IncorrectInstanceState", f"The instance '{instance.id}' is not in a state from which it can be {act}."
    )


def _status(seen: Seen) -> dict[str, Any]:
    instance, machine = seen
    running = machine.state is InstanceState.RUNNING
    system = "impaired" if machine.impaired else "ok" if running else "not-applicable"
    status = "ok" if running else "not-applicable"
    return {
        "InstanceId": instance.id,
        "AvailabilityZone": machine.zone,
        "InstanceState": show_state(machine.state),
        "InstanceStatus": {"Status": "impaired" if machine.impaired else status, "Details": _details(machine)},
        "SystemStatus": {"Status": system, "Details": _details(machine)},
        "Events": [_event(one) for one in instance.events],
    }


def _details(machine: Machine) -> list[dict[str, str]]:
    if machine.state is not InstanceState.RUNNING:
        return []
    return [{"Name": "reachability", "Status": "failed" if machine.impaired else "passed"}]


def _event(one: Event) -> dict[str, Any]:
    return {
        "InstanceEventId": one.id,
        "Code": one.code,
        "Description": one.description,
        "NotBefore": one.not_before,
    }


def _spot(world: World, one: SpotRequest) -> dict[str, Any]:
    instance = world.instances[one.instance]
    return {
        "SpotInstanceRequestId": one.id,
        "InstanceId": one.instance,
        "State": one.state,
        "Status": {"Code": one.status, "Message": one.message, "UpdateTime": one.updated_at},
        "CreateTime": one.created_at,
        "SpotPrice": one.max_price,
        "Type": one.kind,
        "InstanceInterruptionBehavior": one.behavior,
        "LaunchedAvailabilityZone": instance.subnet.zone,
        "ProductDescription": "Linux/UNIX",
        "LaunchSpecification": {"ImageId": instance.image.id, "InstanceType": instance.type.name},
        "Tags": written(one.tags),
    }


_fields: Final[Fields[Seen]] = {
    "instance-id": lambda one: one[0].id,
    "instance-state-name": lambda one: STATES[one[1].state][1],
    "instance-state-code": lambda one: str(STATES[one[1].state][0]),
    "instance-type": lambda one: one[0].type.name,
    "instance-lifecycle": lambda one: "spot" if one[0].spot else None,
    "spot-instance-request-id": lambda one: one[0].spot.id if one[0].spot else None,
    "image-id": lambda one: one[0].image.id,
    "client-token": lambda one: one[0].reservation.token,
    "reservation-id": lambda one: one[0].reservation.id,
    "launch-index": lambda one: str(one[0].index),
    "key-name": lambda one: one[0].asked.get("KeyName"),
    "subnet-id": lambda one: one[0].subnet.id if one[0].interfaces else None,
    "vpc-id": lambda one: VPC if one[0].interfaces else None,
    "availability-zone": lambda one: one[1].zone,
    "architecture": lambda one: one[0].image.arch,
    "private-ip-address": lambda one: one[0].interfaces[0].private_ip if one[0].interfaces else None,
    "instance.group-id": lambda one: one[0].interfaces[0].groups if one[0].interfaces else None,
    "iam-instance-profile.arn": lambda one: one[0].profile or None,
    "placement-group-name": lambda one: one[0].asked.get("Placement", {}).get("GroupName"),
    "tenancy": lambda one: one[0].asked.get("Placement", {}).get("Tenancy", "default"),
    "block-device-mapping.volume-id": lambda one: [volume.id for volume in one[0].volumes],
    "network-interface.network-interface-id": lambda one: [interface.id for interface in one[0].interfaces],
}
_status_fields: Final[Fields[Seen]] = {
    "availability-zone": lambda one: one[1].zone,
    "event.code": lambda one: [event.code for event in one[0].events],
    "event.description": lambda one: [event.description for event in one[0].events],
    "instance-state-name": lambda one: STATES[one[1].state][1],
    "instance-status.status": lambda one: _status(one)["InstanceStatus"]["Status"],
    "system-status.status": lambda one: _status(one)["SystemStatus"]["Status"],
}
_spot_fields: Final[Fields[SpotRequest]] = {
    "spot-instance-request-id": lambda one: one.id,
    "instance-id": lambda one: one.instance,
    "state": lambda one: one.state,
    "status-code": lambda one: one.status,
    "type": lambda one: one.kind,
}
