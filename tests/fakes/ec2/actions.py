"""Which call is answered by what."""

from collections.abc import Callable, Mapping
from typing import Final

from tests.fakes.ec2 import (
    accounts,
    addresses,
    balancing,
    catalogue,
    fleets,
    images,
    instances,
    interfaces,
    running,
    snapshots,
    tags,
    templates,
    volumes,
)
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply

Handler = Callable[[World, Asked], Reply]

SERVICES: Final = ("ec2", "elbv2", "ssm", "sts", "service-quotas")
"""By the names that botocore gives their models."""
SIGNED_AS: Final[Mapping[str, str]] = {
    "ec2": "ec2",
    "elasticloadbalancing": "elbv2",
    "ssm": "ssm",
    "sts": "sts",
    "servicequotas": "service-quotas",
}
"""By the names that requests are signed for."""

HANDLERS: Final[Mapping[str, Mapping[str, Handler]]] = {
    "ec2": {
        "RunInstances": running.run_instances,
        "DescribeInstances": instances.describe_instances,
        "TerminateInstances": instances.terminate_instances,
        "StopInstances": instances.stop_instances,
        "StartInstances": instances.start_instances,
        "ModifyInstanceAttribute": instances.modify_instance_attribute,
        "DescribeInstanceAttribute": instances.describe_instance_attribute,
        "DescribeInstanceStatus": instances.describe_instance_status,
        "DescribeSpotInstanceRequests": instances.describe_spot_instance_requests,
        "CancelSpotInstanceRequests": instances.cancel_spot_instance_requests,
        "CreateTags": tags.create_tags,
        "DeleteTags": tags.delete_tags,
        "DescribeImages": catalogue.describe_images,
        "RegisterImage": images.register_image,
        "DeregisterImage": images.deregister_image,
        "CopyImage": images.copy_image,
        "ModifyImageAttribute": images.modify_image_attribute,
        "DescribeSnapshots": snapshots.describe_snapshots,
        "DeleteSnapshot": snapshots.delete_snapshot,
        "ModifySnapshotAttribute": snapshots.modify_snapshot_attribute,
        "ImportSnapshot": snapshots.import_snapshot,
        "DescribeImportSnapshotTasks": snapshots.describe_import_snapshot_tasks,
        "GetEbsEncryptionByDefault": snapshots.get_ebs_encryption_by_default,
        "DescribeSubnets": catalogue.describe_subnets,
        "DescribeVpcs": catalogue.describe_vpcs,
        "DescribeSecurityGroups": catalogue.describe_security_groups,
        "DescribeKeyPairs": catalogue.describe_key_pairs,
        "DescribeAvailabilityZones": catalogue.describe_availability_zones,
        "DescribeInstanceTypes": catalogue.describe_instance_types,
        "DescribeInstanceTypeOfferings": catalogue.describe_instance_type_offerings,
        "CreateVolume": volumes.create_volume,
        "DescribeVolumes": volumes.describe_volumes,
        "AttachVolume": volumes.attach_volume,
        "DetachVolume": volumes.detach_volume,
        "DeleteVolume": volumes.delete_volume,
        "CreateNetworkInterface": interfaces.create_network_interface,
        "DescribeNetworkInterfaces": interfaces.describe_network_interfaces,
        "DeleteNetworkInterface": interfaces.delete_network_interface,
        "ModifyNetworkInterfaceAttribute": interfaces.modify_network_interface_attribute,
        "AttachNetworkInterface": interfaces.attach_network_interface,
        "DetachNetworkInterface": interfaces.detach_network_interface,
        "AllocateAddress": addresses.allocate_address,
        "DescribeAddresses": addresses.describe_addresses,
        "AssociateAddress": addresses.associate_address,
        "DisassociateAddress": addresses.disassociate_address,
        "ReleaseAddress": addresses.release_address,
        "CreateLaunchTemplate": templates.create_launch_template,
        "DescribeLaunchTemplates": templates.describe_launch_templates,
        "DeleteLaunchTemplate": templates.delete_launch_template,
        "CreateFleet": fleets.create_fleet,
    },
    "elbv2": {
        "CreateTargetGroup": balancing.create_target_group,
        "DescribeTargetGroups": balancing.describe_target_groups,
        "DescribeTargetHealth": balancing.describe_target_health,
        "RegisterTargets": balancing.register_targets,
        "DeregisterTargets": balancing.deregister_targets,
        "DeleteTargetGroup": balancing.delete_target_group,
    },
    "ssm": {"GetParameter": accounts.get_parameter, "GetParameters": accounts.get_parameters},
    "sts": {"GetCallerIdentity": accounts.get_caller_identity, "AssumeRole": accounts.assume_role},
    "service-quotas": {
        "ListServiceQuotas": accounts.list_service_quotas,
        "GetServiceQuota": accounts.get_service_quota,
    },
}
OWN_DRY_RUN: Final = frozenset({"RunInstances"})
"""Calls that look at their parameters before they say that they would have succeeded."""
