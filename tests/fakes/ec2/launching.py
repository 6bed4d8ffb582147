"""What a launch asks for, checked against the account before anything is made.

RunInstances and CreateFleet launch alike; they differ in what they say of it.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.fakes.ec2.errors import AwsError, bad_combination, bad_value, missing
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.settings import ACCOUNT
from tests.fakes.ec2.tables import Image, Interface, Subnet, Tags, Type
from tests.fakes.ec2.tags import tags_for
from tests.fakes.ec2.volumes import Disk, check_disk
from tests.fakes.ec2.world import World

MOST_USER_DATA: Final = 16_384
_HONOURED: Final = frozenset(
    {
        *(
            "ImageId",
            "InstanceType",
            "MinCount",
            "MaxCount",
            "ClientToken",
            "DryRun",
            "TagSpecifications",
            "UserData",
        ),
        *("KeyName", "IamInstanceProfile", "SubnetId", "SecurityGroupIds", "NetworkInterfaces", "PrivateIpAddress"),
        *("Ipv6AddressCount", "BlockDeviceMappings", "Placement", "InstanceMarketOptions", "CpuOptions"),
        *("Monitoring", "EbsOptimized", "MetadataOptions", "DisableApiTermination", "DisableApiStop"),
        "InstanceInitiatedShutdownBehavior",
    }
)
_HARMLESS: Final = frozenset(
    {
        *("CreditSpecification", "EnclaveOptions", "HibernationOptions", "MaintenanceOptions"),
        *("PrivateDnsNameOptions", "CapacityReservationSpecification", "NetworkPerformanceOptions"),
    }
)
"""They change nothing that anybody here can see."""
_HONOURED_OF_INTERFACES: Final = frozenset(
    {
        *("DeviceIndex", "SubnetId", "Groups", "AssociatePublicIpAddress", "Ipv6AddressCount", "Description"),
        *("DeleteOnTermination", "NetworkInterfaceId", "PrivateIpAddress", "NetworkCardIndex", "InterfaceType"),
    }
)
_IMAGE_ID: Final = re.compile(r"ami-([0-9a-f]{8}|[0-9a-f]{17})")


@dataclass(frozen=True, slots=True)
class Wish:
    """One launch, all of whose parts are known to exist."""

    image: Image
    type: Type
    subnet: Subnet
    groups: tuple[str, ...]
    disks: tuple[Disk, ...]
    given: tuple[tuple[int, Interface], ...]
    """Interfaces that exist already, with their device index."""
    made: tuple[Mapping[str, Any], ...]
    """Interfaces to make."""
    tags: Mapping[str, Tags]
    profile: str
    user_data: str
    spot: Mapping[str, Any] | None
    zonal: bool
    """Whether the request names the zone, so that its token counts in that zone."""
    asked: Asked


def read_wish(world: World, asked: Asked) -> Wish:
    """Return what a launch asks for. AwsError for anything that AWS refuses."""
    _refuse_what_is_not_honoured(asked)
    image = _image(world, asked)
    type_ = _type(world, asked, image)
    subnet, interfaces = _subnet(world, asked)
    if subnet.zone not in world.zones or world.zones[subnet.zone] not in type_.zones:
        raise AwsError(
            "Unsupported",
            f"Your requested instance type ({type_.name}) is not supported in your requested Availability Zone "
            f"({subnet.zone}).",
        )
    key = asked.get("KeyName")
    if key is not None and key not in world.key_pairs:
        raise AwsError("InvalidKeyPair.NotFound", f"The key pair '{key}' does not exist")
    made: list[Mapping[str, Any]] = [one for one in interfaces if "NetworkInterfaceId" not in one]
    groups = _groups(world, made[0].get("Groups", ()) if made else asked.get("SecurityGroupIds", ()))
    for one in made:
        _groups(world, one.get("Groups", ()))
    return Wish(
        image=image,
        type=type_,
        subnet=subnet,
        groups=groups,
        disks=_disks(world, asked, image),
        given=_given(world, asked, interfaces),
        made=tuple(made),
        tags=tags_for(asked, "instance", "volume", "network-interface", "spot-instances-request"),
        profile=_profile(world, asked),
        user_data=_user_data(asked),
        spot=_spot(asked),
        zonal=bool(interfaces or asked.get("SubnetId") or asked.get("Placement", {}).get("AvailabilityZone")),
        asked=asked,
    )


def _refuse_what_is_not_honoured(asked: Asked) -> None:
    """Refuse what AWS would heed and the fake would overlook: a test must not pass because of that."""
    unheeded = [name for name in asked if name not in _HONOURED | _HARMLESS]
    for one in asked.get("NetworkInterfaces", ()):
        unheeded += [f"NetworkInterface.{name}" for name in one if name not in _HONOURED_OF_INTERFACES]
    if unheeded:
        raise AwsError("UnsupportedOperation", f"The fake does not honour {', '.join(unheeded)}")


def find_image(world: World, image_id: str) -> Image:
    if not _IMAGE_ID.fullmatch(image_id):
        raise AwsError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
    if image_id not in world.images:
        raise AwsError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    return world.images[image_id]


def find_subnet(world: World, subnet_id: str) -> Subnet:
    if subnet_id not in world.subnets:
        raise AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist")
    return world.subnets[subnet_id]


def _image(world: World, asked: Asked) -> Image:
    if "ImageId" not in asked:
        raise missing("ImageId")
    image = find_image(world, asked["ImageId"])
    if image.state != "available":
        raise AwsError("InvalidAMIID.Unavailable", f"The image id '[{image.id}]' is not available")
    return image


def _type(world: World, asked: Asked, image: Image) -> Type:
    name = asked.get("InstanceType", "m5.large")
    if name not in world.types:
        raise bad_value(name, "InstanceType")
    type_ = world.types[name]
    if type_.arch != image.arch:
        raise AwsError(
            "InvalidParameterValue",
            f"The architecture '{type_.arch}' of the specified instance type does not match the architecture "
            f"'{image.arch}' of the specified AMI.",
        )
    cpu = asked.get("CpuOptions", {})
    if "CoreCount" in cpu or "ThreadsPerCore" in cpu:
        threads = cpu.get("ThreadsPerCore", 0)
        if not 1 <= cpu.get("CoreCount", 0) <= type_.vcpus or threads not in (1, type_.threads_per_core):
            raise AwsError("InvalidParameterCombination", f"CpuOptions do not fit instance type {type_.name}")
    return type_


def _subnet(world: World, asked: Asked) -> tuple[Subnet, Sequence[Mapping[str, Any]]]:
    interfaces: Sequence[Mapping[str, Any]] = asked.get("NetworkInterfaces", ())
    placement = asked.get("Placement", {})
    zone = placement.get("AvailabilityZone")
    if zone is not None and zone not in world.zones:
        raise AwsError("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
    group = placement.get("GroupName")
    if group is not None and group not in world.placement_groups:
        raise AwsError("InvalidPlacementGroup.Unknown", f"The placement group '{group}' is unknown")
    if interfaces:
        if asked.get("SubnetId") or asked.get("SecurityGroupIds") or asked.get("SecurityGroups"):
            raise bad_combination(
                "Network interfaces and an instance-level subnet ID or security groups may not be specified on the "
                "same request"
            )
        subnet = _one_subnet(world, interfaces, zone)
    elif "SubnetId" in asked:
        subnet = find_subnet(world, asked["SubnetId"])
    else:
        subnet = next(one for one in world.subnets.values() if zone is None or one.zone == zone)
    if zone is not None and zone != subnet.zone:
        raise AwsError(
            "InvalidParameterValue", f"The zone {zone} does not match the zone {subnet.zone} of subnet {subnet.id}"
        )
    return subnet, interfaces


def _one_subnet(world: World, interfaces: Sequence[Mapping[str, Any]], zone: str | None) -> Subnet:
    subnets: dict[str, Subnet] = {}
    indexes = [one.get("DeviceIndex") for one in interfaces]
    if None in indexes:
        raise missing("NetworkInterface.DeviceIndex")
    if 0 not in indexes or len(set(indexes)) != len(indexes):
        raise bad_combination("Each network interface requires a device index of its own, one of them 0.")
    for one in interfaces:
        if "NetworkInterfaceId" in one:
            if {"SubnetId", "Groups", "AssociatePublicIpAddress", "Ipv6AddressCount"} & set(one):
                raise bad_combination("A network interface that exists cannot be given other parameters")
            found = find_interface(world, one["NetworkInterfaceId"]).subnet
        elif "SubnetId" in one:
            found = find_subnet(world, one["SubnetId"])
        else:
            found = next(one for one in world.subnets.values() if zone is None or one.zone == zone)
        subnets[found.id] = found
    if len({one.zone for one in subnets.values()}) > 1:
        raise bad_combination("Network interfaces of one instance must be in one Availability Zone")
    if len(interfaces) > 1 and any(one.get("AssociatePublicIpAddress") for one in interfaces):
        raise bad_combination("The associatePublicIPAddress parameter cannot be specified with several interfaces.")
    return next(iter(subnets.values()))


def find_interface(world: World, interface_id: str) -> Interface:
    if interface_id not in world.interfaces:
        raise AwsError(
            "InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{interface_id}' does not exist"
        )
    return world.interfaces[interface_id]


def _given(world: World, asked: Asked, interfaces: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, Interface], ...]:
    given = [one for one in interfaces if "NetworkInterfaceId" in one]
    if given and asked["MaxCount"] > 1:
        raise bad_combination("A network interface that exists can be given to one instance only: MaxCount must be 1")
    return tuple((one["DeviceIndex"], find_interface(world, one["NetworkInterfaceId"])) for one in given)


def check_unused(interfaces: Sequence[tuple[int, Interface]]) -> None:
    for _, interface in interfaces:
        if interface.instance:
            raise AwsError("InvalidNetworkInterface.InUse", f"Interface: [{interface.id}] in use.")


def _groups(world: World, ids: Sequence[str]) -> tuple[str, ...]:
    for one in ids:
        if one not in world.groups:
            raise AwsError("InvalidGroup.NotFound", f"The security group '{one}' does not exist")
    return tuple(ids) or (next(iter(world.groups)),)


def _profile(world: World, asked: Asked) -> str:
    profile = asked.get("IamInstanceProfile")
    if not profile:
        return ""
    if len(profile) != 1:
        raise bad_combination("The parameter iamInstanceProfile.name may not be used with iamInstanceProfile.arn")
    prefix = f"arn:aws:iam::{ACCOUNT}:instance-profile/"
    name = profile.get("Name") or profile["Arn"].removeprefix(prefix)
    if name not in world.profiles:
        parameter = "iamInstanceProfile.name" if "Name" in profile else "iamInstanceProfile.arn"
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({name}) for parameter {parameter} is invalid. Invalid IAM Instance Profile name",
        )
    return prefix + str(name)


def _user_data(asked: Asked) -> str:
    text: str = asked.get("UserData", "")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise AwsError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from exc
    if len(data) > MOST_USER_DATA:
        raise AwsError("InvalidParameterValue", f"User data is limited to {MOST_USER_DATA} bytes")
    return text


def _spot(asked: Asked) -> Mapping[str, Any] | None:
    options = asked.get("InstanceMarketOptions")
    if options is None or options.get("MarketType") not in (None, "spot"):
        return None
    spot: Mapping[str, Any] = options.get("SpotOptions", {})
    if "MaxPrice" in spot and not re.fullmatch(r"\d*\.?\d+", spot["MaxPrice"]):
        raise bad_value(spot["MaxPrice"], "MaxPrice")
    kind, behavior = spot.get("SpotInstanceType", "one-time"), spot.get("InstanceInterruptionBehavior", "terminate")
    if kind == "one-time" and behavior != "terminate":
        raise bad_combination(f"A one-time Spot request cannot have the interruption behavior {behavior}")
    if kind == "one-time" and "ValidUntil" in spot:
        raise bad_combination("ValidUntil is for persistent Spot requests only")
    return {"MaxPrice": spot.get("MaxPrice", ""), "Kind": kind, "Behavior": behavior}


def _disks(world: World, asked: Asked, image: Image) -> tuple[Disk, ...]:
    disks = {
        image.root: Disk(image.root, image.gibibytes, "gp3", snapshot=image.snapshot, delete_on_termination=True)
    }
    seen: set[str] = set()
    for one in asked.get("BlockDeviceMappings", ()):
        device = one.get("DeviceName")
        if device is None:
            raise missing("BlockDeviceMapping.DeviceName")
        if device in seen:
            raise AwsError("InvalidBlockDeviceMapping", f"The device '{device}' is used in more than one mapping")
        seen.add(device)
        if "NoDevice" in one or "VirtualName" in one:
            disks.pop(device, None)
            continue
        disks[device] = check_disk(device, one.get("Ebs", {}), disks.get(device))
    return tuple(disks.values())
