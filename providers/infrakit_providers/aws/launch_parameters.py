"""What RunInstances is asked for, made from what the user wrote. Pure: it asks nobody and chooses nothing.

Where a machine goes (type, subnet, zone, spot or not) is decided elsewhere and given here.
"""

import gzip
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from infrakit_providers.aws.machine import Capacity, Machine, Metadata
from infrakit_providers.aws.volumes import Disk, RootDisk, Volume
from infrakit_py.errors import ProviderError

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import (
        BlockDeviceMappingTypeDef,
        EbsBlockDeviceTypeDef,
        IamInstanceProfileSpecificationTypeDef,
        InstanceMarketOptionsRequestTypeDef,
        InstanceMetadataOptionsRequestTypeDef,
        InstanceNetworkInterfaceSpecificationTypeDef,
        PlacementTypeDef,
        RunInstancesRequestTypeDef,
        TagSpecificationTypeDef,
    )

MAX_USER_DATA: Final = 16_384
"""Bytes before base64: EC2 User Guide, "Run commands on your Linux instance at launch"."""


def run_parameters(
    machine: Machine,
    *,
    image_id: str,
    instance_type: str,
    subnet_id: str | None,
    zone: str | None,
    spot: bool,
    count: int,
    client_token: str,
    user_data: bytes | None,
    tags: Mapping[str, str],
    volume_tags: Mapping[str, str],
    interface_tags: Mapping[str, str],
    interface_id: str | None,
    root_device: str | None,
) -> "RunInstancesRequestTypeDef":
    """Return the arguments of `run_instances`: the same for the same input, so that a client token may be repeated.

    All `count` machines are launched or none. `user_data` is what `packed_user_data` gave; boto3 makes base64 of it.
    `tags`, `volume_tags` and `interface_tags` are ours, and win over the user's own of the same key. `zone` counts
    only without a `subnet_id`. With an `interface_id`, which is for one machine, subnet, security groups and
    addresses are that interface's. `root_device` is the image's; ProviderError where a root disk needs it and nobody
    knows it.
    """
    params: RunInstancesRequestTypeDef = {
        "ImageId": image_id,
        "InstanceType": instance_type,  # type: ignore[typeddict-item]  # the stubs list the types known at their release
        "MinCount": count,
        "MaxCount": count,
        "ClientToken": client_token,
        "MetadataOptions": _metadata_options(machine.metadata),
        "TagSpecifications": [
            _tag_specification(resource, resource_tags)
            for resource, resource_tags, made in (
                ("instance", {**machine.tags.instance, **tags}, True),
                ("volume", {**machine.tags.volumes, **volume_tags}, True),
                ("network-interface", {**machine.tags.interfaces, **interface_tags}, interface_id is None),
                ("spot-instances-request", tags, spot),
            )
            if made  # EC2 refuses tags for what a launch does not make
        ],
    }
    _add_network(params, machine, subnet_id, interface_id)
    if spot:
        params["InstanceMarketOptions"] = _market_options(machine.capacity)
    if placement := _placement(machine, zone if subnet_id is None and interface_id is None else None):
        params["Placement"] = placement
    if devices := list(_block_devices(machine, root_device)):
        params["BlockDeviceMappings"] = devices
    if user_data is not None:
        params["UserData"] = user_data  # type: ignore[typeddict-item]  # botocore encodes bytes as well as text
    _add_rest(params, machine)
    return params


def packed_user_data(user_data: bytes) -> bytes:
    """Return user data as it is up to EC2's limit, and compressed by gzip above it.

    The same input gives the same output. cloud-init unpacks gzip by itself. LinuxKit's metadata package does not: it
    leaves the bytes as they are in /run/config/userdata, so its images unpack them on their own, or get user data
    within the limit. ProviderError where gzip is not enough.
    """
    if len(user_data) <= MAX_USER_DATA:
        return user_data
    packed = gzip.compress(user_data, compresslevel=9, mtime=0)
    if len(packed) > MAX_USER_DATA:
        raise ProviderError(
            f"aws: user data has {len(user_data)} bytes, {len(packed)} compressed, and EC2 takes {MAX_USER_DATA}",
            hint="let the machine fetch the large part itself, or put it into the image",
        )
    return packed


def _tag_specification(resource: str, tags: Mapping[str, str]) -> "TagSpecificationTypeDef":
    return {
        "ResourceType": resource,  # type: ignore[typeddict-item]  # text here, a Literal there
        "Tags": [{"Key": key, "Value": value} for key, value in sorted(tags.items())],
    }


def _metadata_options(metadata: Metadata) -> "InstanceMetadataOptionsRequestTypeDef":
    if not metadata.endpoint:
        return {"HttpEndpoint": "disabled"}  # EC2 refuses the other options without an endpoint
    return {
        "HttpEndpoint": "enabled",
        "HttpTokens": metadata.tokens,
        "HttpPutResponseHopLimit": metadata.hop_limit,
        "InstanceMetadataTags": "enabled" if metadata.tags else "disabled",
    }


def _add_network(
    params: "RunInstancesRequestTypeDef", machine: Machine, subnet_id: str | None, interface_id: str | None
) -> None:
    """Describe the network, by an interface only where one is needed: EC2 refuses both ways at once."""
    if interface_id is not None:
        params["NetworkInterfaces"] = [{"DeviceIndex": 0, "NetworkInterfaceId": interface_id}]
    elif machine.public_ip is not None or machine.ipv6:
        params["NetworkInterfaces"] = [_new_interface(machine, subnet_id)]
    else:
        if subnet_id is not None:
            params["SubnetId"] = subnet_id
        if machine.security_groups:
            params["SecurityGroupIds"] = list(machine.security_groups)


def _new_interface(machine: Machine, subnet_id: str | None) -> "InstanceNetworkInterfaceSpecificationTypeDef":
    interface: InstanceNetworkInterfaceSpecificationTypeDef = {"DeviceIndex": 0, "DeleteOnTermination": True}
    if subnet_id is not None:
        interface["SubnetId"] = subnet_id
    if machine.security_groups:
        interface["Groups"] = list(machine.security_groups)
    if machine.public_ip is not None:
        interface["AssociatePublicIpAddress"] = machine.public_ip
    if machine.ipv6:
        interface["Ipv6AddressCount"] = machine.ipv6
    return interface


def _market_options(capacity: Capacity) -> "InstanceMarketOptionsRequestTypeDef":
    """Say how to be a spot machine.

    EC2 stops or hibernates machines of persistent requests only. Such a request outlives its machine, and launches
    another one until it is cancelled.
    """
    options: InstanceMarketOptionsRequestTypeDef = {
        "MarketType": "spot",
        "SpotOptions": {
            "SpotInstanceType": "one-time" if capacity.interruption == "terminate" else "persistent",
            "InstanceInterruptionBehavior": capacity.interruption,
        },
    }
    if capacity.max_price is not None:
        options["SpotOptions"]["MaxPrice"] = capacity.max_price
    return options


def _placement(machine: Machine, zone: str | None) -> "PlacementTypeDef":
    written = machine.placement
    placement: PlacementTypeDef = {}
    if zone is not None:
        placement["AvailabilityZone"] = zone
    if written.group is not None:
        placement["GroupName"] = written.group
    if written.partition is not None:
        placement["PartitionNumber"] = written.partition
    if written.tenancy != "default":
        placement["Tenancy"] = written.tenancy
    if written.host_id is not None:
        placement["HostId"] = written.host_id
    if written.affinity is not None:
        placement["Affinity"] = written.affinity
    return placement


def _block_devices(machine: Machine, root_device: str | None) -> "Iterator[BlockDeviceMappingTypeDef]":
    if machine.root_disk is not None:
        device = machine.root_disk.device or root_device
        if device is None:
            raise ProviderError(
                "aws: the root device of the image is not known, and root_disk needs it",
                hint="write root_disk.device",
            )
        yield {"DeviceName": device, "Ebs": _ebs(machine.root_disk)}
    for disk in machine.disks:
        yield {"DeviceName": disk.device, "Ebs": _ebs(disk)}


def _ebs(disk: RootDisk | Disk) -> "EbsBlockDeviceTypeDef":
    ebs: EbsBlockDeviceTypeDef = {"VolumeType": disk.type, "DeleteOnTermination": True}
    if isinstance(disk, Disk):
        ebs["DeleteOnTermination"] = disk.delete_on_termination
        if disk.snapshot is not None:
            ebs["SnapshotId"] = disk.snapshot
    if disk.size_gib is not None:
        ebs["VolumeSize"] = disk.size_gib
    if disk.iops is not None:
        ebs["Iops"] = disk.iops
    if disk.throughput is not None:
        ebs["Throughput"] = disk.throughput
    if (encrypted := is_encrypted(disk)) is not None:
        ebs["Encrypted"] = encrypted
    if disk.kms_key is not None:
        ebs["KmsKeyId"] = disk.kms_key
    return ebs


def is_encrypted(volume: Volume) -> bool | None:
    """Tell whether a volume shall be encrypted; None leaves it to the account. A key alone means that it shall."""
    return True if volume.kms_key is not None else volume.encrypted


def _add_rest(params: "RunInstancesRequestTypeDef", machine: Machine) -> None:
    if machine.key_name is not None:
        params["KeyName"] = machine.key_name
    if machine.instance_profile is not None:
        params["IamInstanceProfile"] = _instance_profile(machine.instance_profile)
    if machine.cpu is not None:
        params["CpuOptions"] = {"CoreCount": machine.cpu.cores, "ThreadsPerCore": machine.cpu.threads_per_core}
    if machine.monitoring:
        params["Monitoring"] = {"Enabled": True}
    if machine.ebs_optimized is not None:
        params["EbsOptimized"] = machine.ebs_optimized
    if machine.termination_protection:
        params["DisableApiTermination"] = True


def _instance_profile(profile: str) -> "IamInstanceProfileSpecificationTypeDef":
    return {"Arn": profile} if profile.startswith("arn:") else {"Name": profile}
