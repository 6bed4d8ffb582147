"""What EC2 says of an instance."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from infrakit_providers.simulated.machines import NEVER, Machine
from infrakit_py.model.instance import InstanceState
from tests.fakes.ec2.interfaces import association, mac_of, name_of, public_ip_of, public_name_of
from tests.fakes.ec2.settings import ACCOUNT, VPC
from tests.fakes.ec2.tables import Instance, Interface
from tests.fakes.ec2.tags import written
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Encoded, Reply

STATES: Final[dict[InstanceState, tuple[int, str]]] = {
    InstanceState.PENDING: (0, "pending"),
    InstanceState.INCOMPLETE: (0, "pending"),
    InstanceState.RUNNING: (16, "running"),
    InstanceState.LEAVING: (32, "shutting-down"),
    InstanceState.GONE: (48, "terminated"),
    InstanceState.STOPPED: (80, "stopped"),
}


def show_state(state: InstanceState) -> dict[str, Any]:
    code, name = STATES[state]
    return {"Code": code, "Name": name}


def show_reservation(world: World, instances: Sequence[Instance]) -> Reply:
    """Return a reservation with those of its instances."""
    shown = [show_instance(world, one, machine) for one in instances if (machine := world.machine(one.id))]
    return {"ReservationId": instances[0].reservation.id, "OwnerId": ACCOUNT, "Groups": [], "Instances": shown}


def show_reservations(world: World, found: Sequence[tuple[Instance, Machine]]) -> list[Reply]:
    """Return instances by their reservations, neighbours of one together. Written before is not written again."""
    encode = world.encode_instance
    answer: list[Reply] = []
    for id_, members in groupby(found, key=lambda one: one[0].reservation.id):
        shown: list[Encoded] = []
        for instance, machine in members:
            known = instance.written
            if known is None or known[0] is not machine:
                known = instance.written = (machine, encode(show_instance(world, instance, machine)))
            shown.append(Encoded(known[1]))
        answer.append({"ReservationId": id_, "OwnerId": ACCOUNT, "Groups": [], "Instances": shown})
    return answer


def show_instance(world: World, one: Instance, machine: Machine) -> dict[str, Any]:
    asked, region, row, state = one.asked, world.settings.region, machine.row, machine.state
    first = one.interfaces[0] if one.interfaces else None
    public_ip = public_ip_of(world, first) if first and state is not InstanceState.GONE else ""
    private_ip = first.private_ip if first else ""
    placement, cpu = asked.get("Placement", {}), asked.get("CpuOptions", {})
    threads = cpu.get("ThreadsPerCore", one.type.threads_per_core)
    groups = one.interfaces[0].groups if one.interfaces else ()
    reason = _reason(one, machine)
    return {
        "AmiLaunchIndex": one.index,
        "ImageId": one.image.id,
        "InstanceId": one.id,
        "InstanceType": one.type.name,
        "KeyName": asked.get("KeyName"),
        "LaunchTime": row.created_at,
        "Monitoring": {"State": "enabled" if asked.get("Monitoring", {}).get("Enabled") else "disabled"},
        "Placement": {
            "AvailabilityZone": row.zone,
            "GroupName": placement.get("GroupName", ""),
            "Tenancy": placement.get("Tenancy", "default"),
        },
        "PrivateDnsName": name_of(private_ip, region) if private_ip else "",
        "PrivateIpAddress": private_ip or None,
        "PublicDnsName": public_name_of(public_ip, region),
        "PublicIpAddress": public_ip or None,
        "State": show_state(state),
        "StateReason": {"Code": reason[0], "Message": reason[1]} if reason else None,
        "StateTransitionReason": one.transition,
        "SubnetId": one.subnet.id if state is not InstanceState.GONE else None,
        "VpcId": VPC if state is not InstanceState.GONE else None,
        "Architecture": one.image.arch,
        "BlockDeviceMappings": [
            {
                "DeviceName": volume.device,
                "Ebs": {
                    "AttachTime": volume.attached_at,
                    "DeleteOnTermination": volume.delete_on_termination,
                    "Status": "attached" if state is not InstanceState.PENDING else "attaching",
                    "VolumeId": volume.id,
                },
            }
            for volume in one.volumes
        ],
        "ClientToken": one.reservation.token,
        "EbsOptimized": asked.get("EbsOptimized", False),
        "EnaSupport": True,
        "Hypervisor": "xen",
        "IamInstanceProfile": {"Arn": one.profile, "Id": "AIPA0F00D00000000001"} if one.profile else None,
        "InstanceLifecycle": "spot" if one.spot else None,
        "SpotInstanceRequestId": one.spot.id if one.spot else None,
        "NetworkInterfaces": [_interface(world, interface) for interface in one.interfaces],
        "RootDeviceName": one.image.root,
        "RootDeviceType": "ebs",
        "SecurityGroups": [{"GroupId": id_, "GroupName": world.groups[id_].name} for id_ in groups],
        "SourceDestCheck": True,
        "Tags": written(row.tags),
        "VirtualizationType": "hvm",
        "CpuOptions": {"CoreCount": cpu.get("CoreCount", one.type.vcpus // threads), "ThreadsPerCore": threads},
        "MetadataOptions": {
            "State": "applied",
            "HttpTokens": "optional",
            "HttpPutResponseHopLimit": 1,
            "HttpEndpoint": "enabled",
            "HttpProtocolIpv6": "disabled",
            "InstanceMetadataTags": "disabled",
            **asked.get("MetadataOptions", {}),
        },
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
    }


def _reason(one: Instance, machine: Machine) -> tuple[str, str] | None:
    match machine.state:
        case InstanceState.PENDING:
            return ("pending", "pending")
        case InstanceState.RUNNING:
            return None
        case InstanceState.STOPPED if one.reason is None or (
            machine.row.dies_at < NEVER and one.reason[0] == "pending"
        ):
            return (
                "Client.InstanceInitiatedShutdown",
                "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
            )
        case _:
            return one.reason


def _interface(world: World, one: Interface) -> dict[str, Any]:
    public, name = association(world, one), name_of(one.private_ip, world.settings.region)
    return {
        "NetworkInterfaceId": one.id,
        "SubnetId": one.subnet.id,
        "VpcId": VPC,
        "Description": one.description,
        "OwnerId": ACCOUNT,
        "Status": "in-use",
        "MacAddress": mac_of(one),
        "PrivateIpAddress": one.private_ip,
        "PrivateDnsName": name,
        "PrivateIpAddresses": [
            {"PrivateIpAddress": one.private_ip, "PrivateDnsName": name, "Primary": True, "Association": public}
        ],
        "Ipv6Addresses": [{"Ipv6Address": address} for address in one.ipv6],
        "SourceDestCheck": True,
        "InterfaceType": "interface",
        "Groups": [{"GroupId": id_, "GroupName": world.groups[id_].name} for id_ in one.groups],
        "Attachment": {
            "AttachmentId": one.attachment,
            "AttachTime": one.attached_at,
            "DeleteOnTermination": one.delete_on_termination,
            "DeviceIndex": one.device_index,
            "Status": "attached",
            "NetworkCardIndex": 0,
        },
        "Association": public,
    }
