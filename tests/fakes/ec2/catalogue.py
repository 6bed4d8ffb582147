"""What is there to choose from: images, subnets, groups, keys, zones, types. Nothing is changed here."""

from typing import Any, Final

from tests.fakes.ec2.errors import AwsError
from tests.fakes.ec2.filters import Fields, check_ids, page, selected
from tests.fakes.ec2.launching import find_image
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.settings import ACCOUNT, LINUX, LINUX_2, LINUX_ARM, VPC
from tests.fakes.ec2.tables import Group, Image, Subnet, Type
from tests.fakes.ec2.tags import written
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply, iso


def describe_images(world: World, asked: Asked) -> Reply:
    ids = asked.get("ImageIds")
    listed_by = world.now() - world.settings.listing_lag
    seeded = (LINUX, LINUX_2, LINUX_ARM)
    listed = [one for one in world.images.values() if one.created_at <= listed_by or one.id in seeded]
    found = [find_image(world, one) for one in ids] if ids else listed
    if owners := asked.get("Owners"):
        found = [one for one in found if {"self", ACCOUNT} & set(owners)]
    fields: Fields[Image] = {
        "name": lambda one: one.name,
        "image-id": lambda one: one.id,
        "architecture": lambda one: one.arch,
        "state": lambda one: one.state,
        "owner-id": lambda _: ACCOUNT,
        "root-device-name": lambda one: one.root,
        "root-device-type": lambda _: "ebs",
        "virtualization-type": lambda _: "hvm",
        "is-public": lambda _: "false",
        "creation-date": lambda one: iso(one.created_at),
    }
    shown, token = page(selected(found, asked, fields, lambda one: one.tags), asked, smallest=1)
    return {"Images": [_image(one) for one in shown], "NextToken": token}


def _image(one: Image) -> dict[str, Any]:
    disk: dict[str, Any] = {"VolumeSize": one.gibibytes, "VolumeType": one.volume_type}
    if one.state == "available":  # a copy's snapshot is not told before it is there
        disk["SnapshotId"] = one.snapshot
    return {
        "ImageId": one.id,
        "ImageLocation": f"{ACCOUNT}/{one.name}",
        "Name": one.name,
        "Description": one.description,
        "State": one.state,
        "StateReason": {"Code": "Client.Failed", "Message": one.reason} if one.reason else None,
        "BootMode": one.boot_mode,
        "ImdsSupport": one.imds,
        "OwnerId": ACCOUNT,
        "Public": False,
        "CreationDate": iso(one.created_at),
        "Architecture": one.arch,
        "ImageType": "machine",
        "RootDeviceName": one.root,
        "RootDeviceType": "ebs",
        "BlockDeviceMappings": [
            {"DeviceName": one.root, "Ebs": disk | {"DeleteOnTermination": True, "Encrypted": one.encrypted}}
        ],
        "VirtualizationType": "hvm",
        "Hypervisor": "xen",
        "EnaSupport": one.ena,
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "Tags": written(one.tags),
    }


def describe_subnets(world: World, asked: Asked) -> Reply:
    ids = asked.get("SubnetIds")
    check_ids(ids, world.subnets, "InvalidSubnetID.NotFound", "subnet ID")
    found = [world.subnets[one] for one in ids] if ids else list(world.subnets.values())
    fields: Fields[Subnet] = {
        "subnet-id": lambda one: one.id,
        "vpc-id": lambda _: VPC,
        "availability-zone": lambda one: one.zone,
        "state": lambda _: "available",
        "cidr-block": lambda one: str(one.network),
        "default-for-az": lambda _: "true",
    }
    shown, token = page(selected(found, asked, fields, lambda one: one.tags), asked, ids=ids)
    return {"Subnets": [_subnet(one) for one in shown], "NextToken": token}


def _subnet(one: Subnet) -> dict[str, Any]:
    return {
        "SubnetId": one.id,
        "VpcId": VPC,
        "AvailabilityZone": one.zone,
        "AvailabilityZoneId": zone_id(one.zone),
        "AvailableIpAddressCount": one.free,
        "CidrBlock": str(one.network),
        "DefaultForAz": True,
        "MapPublicIpOnLaunch": False,
        "State": "available",
        "OwnerId": ACCOUNT,
        "Tags": written(one.tags),
    }


def zone_id(zone: str) -> str:
    first, second, third = zone[:-1].split("-")
    return f"{first[:2]}{second[0]}{third}-az{ord(zone[-1]) - 96}"


def describe_vpcs(world: World, asked: Asked) -> Reply:
    ids = asked.get("VpcIds")
    check_ids(ids, {VPC}, "InvalidVpcID.NotFound", "vpc ID")
    fields: Fields[str] = {"vpc-id": lambda one: one, "is-default": lambda _: "true", "state": lambda _: "available"}
    shown, token = page(selected([VPC], asked, fields, lambda _: world.vpc_tags), asked, ids=ids)
    vpcs = [
        {
            "VpcId": one,
            "CidrBlock": "10.0.0.0/16",
            "IsDefault": True,
            "State": "available",
            "OwnerId": ACCOUNT,
            "InstanceTenancy": "default",
            "Tags": written(world.vpc_tags),
        }
        for one in shown
    ]
    return {"Vpcs": vpcs, "NextToken": token}


def describe_security_groups(world: World, asked: Asked) -> Reply:
    ids = asked.get("GroupIds")
    check_ids(ids, world.groups, "InvalidGroup.NotFound", "security group")
    found = [world.groups[one] for one in ids] if ids else list(world.groups.values())
    fields: Fields[Group] = {
        "group-id": lambda one: one.id,
        "group-name": lambda one: one.name,
        "vpc-id": lambda _: VPC,
    }
    if names := asked.get("GroupNames"):
        check_ids(names, {one.name for one in found}, "InvalidGroup.NotFound", "security group")
        found = [one for one in found if one.name in names]
    shown, token = page(selected(found, asked, fields, lambda one: one.tags), asked, ids=ids)
    groups = [
        {
            "GroupId": one.id,
            "GroupName": one.name,
            "Description": one.name,
            "VpcId": VPC,
            "OwnerId": ACCOUNT,
            "IpPermissions": [],
            "Tags": written(one.tags),
        }
        for one in shown
    ]
    return {"SecurityGroups": groups, "NextToken": token}


def describe_key_pairs(world: World, asked: Asked) -> Reply:
    names = asked.get("KeyNames")
    check_ids(names, world.key_pairs, "InvalidKeyPair.NotFound", "key pair")
    fields: Fields[str] = {"key-name": lambda one: one, "key-pair-id": _key_id}
    found = selected(names or list(world.key_pairs), asked, fields, lambda one: world.key_pairs[one])
    pairs = [{"KeyName": one, "KeyPairId": _key_id(one), "KeyType": "ed25519", "Tags": []} for one in found]
    return {"KeyPairs": pairs}


def _key_id(name: str) -> str:
    return "key-0f00d" + name.encode().hex()[:12].ljust(12, "0")


def describe_availability_zones(world: World, asked: Asked) -> Reply:
    names = asked.get("ZoneNames")
    check_ids(names, world.zones, "InvalidParameterValue", "zone")
    fields: Fields[str] = {
        "zone-name": lambda one: one,
        "zone-id": zone_id,
        "state": lambda _: "available",
        "region-name": lambda _: world.settings.region,
        "zone-type": lambda _: "availability-zone",
        "opt-in-status": lambda _: "opt-in-not-required",
    }
    zones = [
        {
            "ZoneName": one,
            "ZoneId": zone_id(one),
            "RegionName": world.settings.region,
            "State": "available",
            "OptInStatus": "opt-in-not-required",
            "ZoneType": "availability-zone",
            "GroupName": world.settings.region,
            "NetworkBorderGroup": world.settings.region,
        }
        for one in selected(names or list(world.zones), asked, fields)
    ]
    return {"AvailabilityZones": zones}


def describe_instance_types(world: World, asked: Asked) -> Reply:
    names = asked.get("InstanceTypes")
    if unknown := [one for one in names or () if one not in world.types]:
        raise AwsError(
            "InvalidInstanceType", f"The following supplied instance types do not exist: [{', '.join(unknown)}]"
        )
    found = [world.types[one] for one in names] if names else list(world.types.values())
    shown, token = page(selected(found, asked, _type_fields), asked, ids=names, largest=100)
    return {"InstanceTypes": [_type(one) for one in shown], "NextToken": token}


def _type(one: Type) -> dict[str, Any]:
    return {
        "InstanceType": one.name,
        "CurrentGeneration": True,
        "FreeTierEligible": one.name == "t3.micro",
        "SupportedUsageClasses": ["on-demand", "spot"],
        "SupportedRootDeviceTypes": ["ebs"],
        "SupportedVirtualizationTypes": ["hvm"],
        "BareMetal": False,
        "Hypervisor": "nitro",
        "ProcessorInfo": {"SupportedArchitectures": [one.arch], "SustainedClockSpeedInGhz": 2.5},
        "VCpuInfo": {
            "DefaultVCpus": one.vcpus,
            "DefaultCores": one.vcpus // one.threads_per_core,
            "DefaultThreadsPerCore": one.threads_per_core,
        },
        "MemoryInfo": {"SizeInMiB": one.memory_mib},
        "InstanceStorageSupported": False,
        "NetworkInfo": {"MaximumNetworkInterfaces": 3, "Ipv6Supported": True, "EnaSupport": "required"},
        "BurstablePerformanceSupported": one.name.startswith("t"),
    }


def describe_instance_type_offerings(world: World, asked: Asked) -> Reply:
    kind = asked.get("LocationType", "region")
    places: list[tuple[str, str]] = []
    for one in world.types.values():
        zones = [zone for zone, letter in world.zones.items() if letter in one.zones]
        names = {
            "region": [world.settings.region],
            "availability-zone": zones,
            "availability-zone-id": [zone_id(z) for z in zones],
        }
        places += [(one.name, place) for place in names.get(kind, []) if zones]
    fields: Fields[tuple[str, str]] = {"instance-type": lambda one: one[0], "location": lambda one: one[1]}
    shown, token = page(selected(places, asked, fields), asked)
    offerings = [{"InstanceType": name, "LocationType": kind, "Location": place} for name, place in shown]
    return {"InstanceTypeOfferings": offerings, "NextToken": token}


_type_fields: Final[Fields[Type]] = {
    "instance-type": lambda one: one.name,
    "processor-info.supported-architecture": lambda one: one.arch,
    "vcpu-info.default-vcpus": lambda one: str(one.vcpus),
    "memory-info.size-in-mib": lambda one: str(one.memory_mib),
    "current-generation": lambda _: "true",
    "bare-metal": lambda _: "false",
    "supported-usage-class": lambda _: ("on-demand", "spot"),
}
