"""Calls that EC2 only rehearses (`DryRun`): it says whether the caller may make them, and changes nothing.

What EC2 refuses for any other reason than a missing permission is told, too: the real call would be refused as well.
"""

from collections.abc import Mapping
from typing import Any, Final

from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.diagnoses import Case
from infrakit_providers.aws.kept import Member, tag_specification, vendor_code
from infrakit_providers.aws.launch_parameters import is_encrypted, run_parameters
from infrakit_providers.aws.places import NAME, name_of
from infrakit_providers.aws.subnets import Site
from infrakit_providers.aws.volumes import DataDisk
from infrakit_py.errors import NoCapacity, ProviderError
from infrakit_py.model import tags
from infrakit_py.spi.provider import Finding, Grade

NOT_ALLOWED: Final = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})
WHAT_TO_ALLOW: Final = "infra iam aws writes the policy with all that must be allowed"
_WOULD_SUCCEED: Final = "DryRunOperation"
_FOR_MACHINES: Final = ("Encoded authorization failure message", "(Service:")
"""From here on, a refusal is of no use to people."""


def rehearsed(
    caller: Caller, kind: Kind, operation: str, about: str, doing: str, parameters: Mapping[str, Any]
) -> Finding:
    """Let EC2 rehearse a call, and return what it says to it."""
    try:
        caller.once(kind, "ec2", operation, doing, **parameters, DryRun=True)
    except ProviderError as exc:
        code = vendor_code(exc)
        if code == _WOULD_SUCCEED:
            return Finding(about, Grade.OK, f"allowed to {doing}")
        if code in NOT_ALLOWED:
            return Finding(about, Grade.PROBLEM, f"not allowed to {doing}: {said(exc)}", WHAT_TO_ALLOW)
        if isinstance(exc, NoCapacity) or not exc.retryable:
            return Finding(about, Grade.PROBLEM, f"EC2 would refuse to {doing}: {said(exc)}", exc.hint or "")
        return Finding(about, Grade.WARNING, f"cannot be examined: {said(exc)}", "try again")
    return Finding(about, Grade.WARNING, f"EC2 did not only rehearse to {doing}: look at what it did")


def launch(
    case: Case, cluster: str, type_: str, site: Site, root_device: str | None, *, spot: bool
) -> dict[str, Any]:
    """Return what a launch of one such machine asks for, but for the interface that a member may have kept.

    There is no client token: EC2 might remember it.
    """
    owner = {tags.CLUSTER: cluster, tags.GROUP: case.group}
    asked = run_parameters(
        case.machine,
        image_id=case.image_id,
        instance_type=type_,
        subnet_id=site.subnet_id,
        zone=site.zone,
        spot=spot,
        count=1,
        client_token="",
        user_data=None,
        tags={NAME: name_of(owner), **case.machine.tags.instance, **owner},
        volume_tags=owner,
        interface_tags=owner,
        interface_id=None,
        root_device=root_device,
    )
    return {key: value for key, value in asked.items() if key != "ClientToken"}


def template(case: Case, cluster: str, type_: str) -> dict[str, Any]:
    """Return what is asked for a launch template, from which fleets make their machines."""
    owner = [{"Key": tags.CLUSTER, "Value": cluster}, {"Key": tags.GROUP, "Value": case.group}]
    return {
        "LaunchTemplateName": "infrakit-doctor",
        "LaunchTemplateData": {"ImageId": case.image_id, "InstanceType": type_},
        "TagSpecifications": [{"ResourceType": "launch-template", "Tags": owner}],
    }


def data_disk(case: Case, cluster: str, disk: DataDisk, zone: str) -> dict[str, Any]:
    """Return what is asked for a member's data disk."""
    member = Member(cluster, case.group, case.group)
    asked: dict[str, Any] = {
        "AvailabilityZone": zone,
        "Size": disk.gib,
        "VolumeType": disk.type,
        "TagSpecifications": [tag_specification("volume", member, case.machine.tags.volumes)],
        "Iops": disk.iops,
        "Throughput": disk.throughput,
        "Encrypted": is_encrypted(disk),
        "KmsKeyId": disk.kms_key,
    }
    return {key: value for key, value in asked.items() if value is not None}


def said(error: ProviderError) -> str:
    """Return what AWS said, without what nobody can read."""
    response = getattr(error.__cause__, "response", None)
    told = response.get("Error", {}) if isinstance(response, dict) else {}
    if not told.get("Code"):
        return str(error).removeprefix("aws: ")
    message = " ".join(str(told.get("Message") or "").split())
    for mark in _FOR_MACHINES:
        message = message.partition(mark)[0]
    return f"{told['Code']}: {message.strip()}".removesuffix(": ")
