"""The least that IAM must allow for a cluster's machines, as a policy document. Pure, and it never asks AWS.

What may be done to a resource depends on the cluster's tag, which it must get by the very call that makes it. Which
actions take which resources and condition keys: Service Authorization Reference, "Actions, resources, and condition
keys" for Amazon EC2, KMS, Systems Manager, IAM and Elastic Load Balancing v2.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from infrakit_providers.aws.fleets import mixes
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.policies import KEY_USES, Condition, Policy, Scope, Statement, allow
from infrakit_providers.aws.publish_permissions import publishing, removing
from infrakit_providers.aws.publish_settings import Publish

NamedMachine: TypeAlias = tuple[Machine, bool, str]
"""A group's machine, whether the group has named members, and its image's reference: none of one to publish."""


_LOOKS: Final = (
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeImages",
    "ec2:DescribeInstanceStatus",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstances",
    "ec2:DescribeSubnets",
    "servicequotas:GetServiceQuota",
)
_LOOKS_FOR_LEFTOVERS: Final = (
    "ec2:DescribeAddresses",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSnapshots",
    "ec2:DescribeVolumes",
)
"""Whoever destroys a cluster looks for these, whatever its spec says now: it may have said something else before."""
_OF_KEPT_INTERFACES: Final = (
    "ec2:DeleteNetworkInterface",
    "ec2:ModifyNetworkInterfaceAttribute",
    "ec2:RunInstances",
)
_PUBLIC_PARAMETERS: Final = "aws/"


@dataclass(frozen=True, slots=True)
class _Uses:
    """What at least one of the machines asks for."""

    spot: bool
    restarted_spot: bool
    fleets: bool
    protection: bool
    load_balancers: bool
    disks: bool
    interfaces: bool
    addresses: bool
    key_pairs: bool
    security_groups: bool

    @classmethod
    def of(cls, machines: Sequence[NamedMachine]) -> "_Uses":
        everyone = [machine for machine, _, _ in machines]
        named = [machine for machine, is_named, _ in machines if is_named]
        spot = [machine.capacity for machine in everyone if machine.capacity.spot_percent]
        return cls(
            spot=bool(spot),
            restarted_spot=any(capacity.interruption != "terminate" for capacity in spot),
            fleets=any(mixes(machine) for machine in everyone),
            protection=any(machine.termination_protection for machine in everyone),
            load_balancers=any(machine.target_groups for machine in everyone),
            disks=any(machine.data_disks for machine in named),
            interfaces=any(machine.keep_interface for machine in named),
            addresses=any(machine.elastic_ip for machine in named),
            key_pairs=any(machine.key_name is not None for machine in everyone),
            security_groups=any(machine.security_groups for machine in everyone),
        )


def least_policy(
    cluster: str,
    machines: Sequence[NamedMachine],
    region: str,
    account: str = "*",
    *,
    publish: Publish | None = None,
) -> Policy:
    """Return the policy document for whoever applies the cluster's spec. The same spec gives the same document.

    A managed policy has at most 6,144 characters, blanks not counted (IAM User Guide, "IAM and AWS STS quotas"). All
    that a machine can ask for fits; a spec that names very many subnets, images or keys may not.
    """
    scope, uses = Scope(cluster, region, account), _Uses.of(machines)
    publishes = any(not reference for _, _, reference in machines)
    statements = [
        _looking(uses),
        _making(scope, uses),
        *_making_from(scope, uses, machines),
        *_tagging(scope, uses),
        _changing(scope, uses),
        *_around(scope, machines),
        *_keys(scope, machines),
        *(publishing(scope, publish or Publish()) if publishes else ()),
        removing(scope),
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _chosen(*parts: tuple[bool, Iterable[str]]) -> list[str]:
    return [word for wanted, words in parts if wanted for word in words]


def _looking(uses: _Uses) -> Statement:
    """Describe calls know neither resources nor tags."""
    balancing = ("elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth")
    actions = _chosen(
        (True, (*_LOOKS, *_LOOKS_FOR_LEFTOVERS)),
        (uses.key_pairs, ["ec2:DescribeKeyPairs"]),
        (uses.security_groups, ["ec2:DescribeSecurityGroups"]),
        (uses.spot, ["ec2:DescribeSpotInstanceRequests"]),
        (uses.load_balancers, balancing),
    )
    return allow("Look", actions, ["*"])


def _making(scope: Scope, uses: _Uses) -> Statement:
    """Nothing is made but with the cluster's tag."""
    actions = _chosen(
        (True, _launches(uses)),
        (uses.fleets, ["ec2:CreateLaunchTemplate"]),
        (uses.disks, ["ec2:CreateVolume"]),
        (uses.interfaces, ["ec2:CreateNetworkInterface"]),
        (uses.addresses, ["ec2:AllocateAddress"]),
    )
    kinds = _chosen(
        (True, ["instance", "volume", "network-interface"]),
        (uses.spot, ["spot-instances-request"]),
        (uses.fleets, ["fleet", "launch-template"]),
        (uses.addresses, ["elastic-ip"]),
    )
    return allow("MakeOwn", actions, scope.ec2(*kinds), scope.asked_for)


def _launches(uses: _Uses) -> list[str]:
    return _chosen((True, ["ec2:RunInstances"]), (uses.fleets, ["ec2:CreateFleet"]))


def _making_from(scope: Scope, uses: _Uses, machines: Sequence[NamedMachine]) -> Iterator[Statement]:
    """Allow what machines and interfaces are made from and put into, whosever it is."""
    used = {resource for machine, _, reference in machines for resource in _used(scope, machine, reference)}
    wide = tuple(resource.removesuffix("*") for resource in used if resource.endswith("/*"))
    least = [one for one in used if one.endswith("/*") or not one.startswith(wide)]
    yield allow("LaunchFrom", _launches(uses), least)
    if uses.interfaces:
        network = [one for one in least if one.split(":")[5].startswith(("subnet/", "security-group/"))]
        actions = ["ec2:CreateNetworkInterface", "ec2:ModifyNetworkInterfaceAttribute"]
        yield allow("MakeInterfacesIn", actions, network)


def _used(scope: Scope, machine: Machine, reference: str) -> Iterator[str]:
    """Yield what a machine is launched from and into, which is not ours and need not have our tag."""
    image = reference if reference.startswith("ami-") else "*"
    yield f"arn:{scope.partition}:ec2:{scope.region}::image/{image}"
    for kind, names in (
        ("subnet", machine.subnets or ["*"]),
        ("security-group", machine.security_groups or ["*"]),
        ("key-pair", [machine.key_name]),
        ("placement-group", [machine.placement.group]),
        ("dedicated-host", [machine.placement.host_id or ("*" if machine.placement.tenancy == "host" else None)]),
    ):
        yield from (scope.arn("ec2", f"{kind}/{name}") for name in names if name is not None)
    for disk in machine.disks:
        if disk.snapshot is not None:
            yield f"arn:{scope.partition}:ec2:{scope.region}::snapshot/{disk.snapshot}"


def _tagging(scope: Scope, uses: _Uses) -> Iterator[Statement]:
    makers = _chosen(
        (True, ["RunInstances"]),
        (uses.fleets, ["CreateFleet", "CreateLaunchTemplate"]),
        (uses.disks, ["CreateVolume"]),
        (uses.interfaces, ["CreateNetworkInterface"]),
        (uses.addresses, ["AllocateAddress"]),
    )
    while_made = {**scope.asked_for["StringEquals"], "ec2:CreateAction": sorted(makers)}
    yield allow("TagWhileMade", ["ec2:CreateTags"], [scope.arn("ec2", "*/*")], {"StringEquals": while_made})
    yield allow("TagOwn", ["ec2:CreateTags", "ec2:DeleteTags"], scope.ec2("instance"), scope.owned)


def _changing(scope: Scope, uses: _Uses) -> Statement:
    """Nothing is ended, attached, used or deleted that has not the cluster's tag."""
    actions = _chosen(
        (True, ["ec2:TerminateInstances"]),
        (uses.protection, ["ec2:ModifyInstanceAttribute"]),
        (uses.restarted_spot, ["ec2:CancelSpotInstanceRequests"]),
        (uses.fleets, [*_launches(uses), "ec2:DeleteLaunchTemplate"]),
        (uses.disks, ["ec2:AttachVolume", "ec2:DetachVolume", "ec2:DeleteVolume"]),
        (uses.interfaces, [*_OF_KEPT_INTERFACES]),
        (uses.addresses, ["ec2:AssociateAddress", "ec2:DisassociateAddress", "ec2:ReleaseAddress"]),
    )
    kinds = _chosen(
        (True, ["instance"]),
        (uses.restarted_spot, ["spot-instances-request"]),
        (uses.fleets, ["launch-template"]),
        (uses.disks, ["volume"]),
        (uses.interfaces or uses.addresses, ["network-interface"]),
        (uses.addresses, ["elastic-ip"]),
    )
    return allow("ChangeOwn", actions, scope.ec2(*kinds), scope.owned)


def _around(scope: Scope, machines: Sequence[NamedMachine]) -> Iterator[Statement]:
    """Allow what other services have: roles to pass, parameters that name images, load balancers."""
    if any(machine.instance_profile for machine, _, _ in machines):
        service: Condition = {"StringEquals": {"iam:PassedToService": f"ec2.{scope.suffix}"}}
        yield allow("PassRole", ["iam:PassRole"], [f"arn:{scope.partition}:iam::{scope.account}:role/*"], service)
    parameters = [_parameter(scope, reference) for _, _, reference in machines if reference.startswith("ssm:")]
    if parameters:
        yield allow("ReadImageParameters", ["ssm:GetParameter", "ssm:GetParameters"], parameters)
    groups = [_target_group(scope, group) for machine, _, _ in machines for group in machine.target_groups]
    if groups:
        actions = ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"]
        yield allow("BalanceLoad", actions, groups)


def _parameter(scope: Scope, reference: str) -> str:
    path = reference.removeprefix("ssm:").removeprefix("/")
    if path.startswith(_PUBLIC_PARAMETERS):  # AWS's own: their ARNs have no account
        return f"arn:{scope.partition}:ssm:{scope.region}::parameter/{path}"
    return scope.arn("ssm", f"parameter/{path}")


def _target_group(scope: Scope, group: str) -> str:
    return group if group.startswith("arn:") else scope.arn("elasticloadbalancing", f"targetgroup/{group}/*")


def _keys(scope: Scope, machines: Sequence[NamedMachine]) -> Iterator[Statement]:
    """Allow EBS to use keys. An alias is no resource: keys are known by it through a condition."""
    written = {key for machine, _, _ in machines for key in _kms_keys(machine)}
    aliases = sorted(f"alias/{key.split('alias/', 1)[1]}" for key in written if "alias/" in key)
    keys = [
        key if key.startswith("arn:") else scope.arn("kms", f"key/{key}") for key in written if "alias/" not in key
    ]
    if keys:
        yield from _key_statements(scope, "Keys", keys, {})
    if aliases:
        known: Condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": aliases}}
        yield from _key_statements(scope, "KeysByAlias", [scope.arn("kms", "key/*")], known)


def _key_statements(scope: Scope, sid: str, keys: list[str], known: Condition) -> Iterator[Statement]:
    service: Mapping[str, str | list[str]] = {"kms:ViaService": f"ec2.{scope.region}.{scope.suffix}"}
    yield allow(f"Use{sid}", KEY_USES, keys, {"StringEquals": service, **known})
    grants: Condition = {"Bool": {"kms:GrantIsForAWSResource": "true"}, "StringEquals": service, **known}
    yield allow(f"Grant{sid}", ["kms:CreateGrant"], keys, grants)


def _kms_keys(machine: Machine) -> Iterator[str]:
    volumes = [*([machine.root_disk] if machine.root_disk is not None else []), *machine.disks, *machine.data_disks]
    yield from (volume.kms_key for volume in volumes if volume.kms_key is not None)
