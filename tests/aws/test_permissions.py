"""The policy allows what a spec needs, on what carries the cluster's tag, and nothing else."""

import json
import re
from typing import Final

import botocore.session
import pytest

from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.permissions import least_policy
from infrakit_providers.aws.policies import Policy, Statement
from infrakit_py.model.spec import Json
from tests.aws.material import KEY, TARGET_GROUP, WHOLE_MACHINE

MOST_CHARACTERS: Final = 6144
"""Of a managed policy, blanks not counted: IAM User Guide, "IAM and AWS STS quotas"."""
PERMISSIONS_WITHOUT_A_CALL: Final = {"iam:PassRole", "kms:ReEncryptFrom", "kms:ReEncryptTo"}
ONLY_ON_EVERYTHING: Final = re.compile(r"(ec2|elasticloadbalancing):Describe|servicequotas:Get")
BOTH_SPOT: Final[dict[str, Json]] = {"instance_types": ["m5.large", "m6i.large"], "capacity": {"spot_percent": 50}}
EVERYTHING: Final[dict[str, Json]] = {**WHOLE_MACHINE, "root_disk": {"size": "8GiB", "kms_key": KEY}}


def policy(
    *written: dict[str, Json], named: bool = True, image: str = "ami-12345678", region: str = "eu-central-1"
) -> Policy:
    machines = [Machine.model_validate({"instance_types": "m5.large", **one}) for one in written or ({},)]
    return least_policy("prod", [(machine, named, image) for machine in machines], region, "123456789012")


def statement(document: Policy, sid: str) -> Statement:
    [found] = [one for one in document["Statement"] if one["Sid"] == sid]
    return found


def actions(document: Policy) -> set[str]:
    return {action for one in document["Statement"] for action in one["Action"]}


EC2: Final = "arn:aws:ec2:eu-central-1:123456789012"


def test_a_plain_group_needs_little() -> None:
    assert actions(policy(named=False)) == {
        "ec2:CreateTags",
        "ec2:DeleteSnapshot",
        "ec2:DeleteTags",
        "ec2:DeregisterImage",
        "ec2:DescribeAddresses",
        "ec2:DescribeAvailabilityZones",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstanceTypeOfferings",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSnapshots",
        "ec2:DescribeSubnets",
        "ec2:DescribeVolumes",
        "ec2:RunInstances",
        "ec2:TerminateInstances",
        "servicequotas:GetServiceQuota",
    }


def test_a_machine_is_launched_with_the_cluster_s_tag_only() -> None:
    launch = statement(policy(), "MakeOwn")
    assert launch["Resource"] == [f"{EC2}:instance/*", f"{EC2}:network-interface/*", f"{EC2}:volume/*"]
    assert launch["Condition"] == {"StringEquals": {"aws:RequestTag/infrakit.cluster": "prod"}}


def test_what_is_named_is_all_that_a_machine_is_launched_from() -> None:
    machine: dict[str, Json] = {"subnets": ["subnet-12345678"], "security_groups": ["sg-12345678"], "key_name": "ops"}
    assert statement(policy(machine), "LaunchFrom")["Resource"] == [
        f"{EC2}:key-pair/ops",
        f"{EC2}:security-group/sg-12345678",
        f"{EC2}:subnet/subnet-12345678",
        "arn:aws:ec2:eu-central-1::image/ami-12345678",
    ]


def test_a_group_without_names_of_its_own_opens_all_of_the_kind_once() -> None:
    resources = statement(policy({"subnets": ["subnet-12345678"]}, {}), "LaunchFrom")["Resource"]
    assert [one for one in resources if ":subnet/" in one] == [f"{EC2}:subnet/*"]


def test_tags_are_set_while_something_is_made_or_on_our_own_instances() -> None:
    document = policy(EVERYTHING, BOTH_SPOT)
    while_made, own = statement(document, "TagWhileMade"), statement(document, "TagOwn")
    assert while_made.get("Condition") == {
        "StringEquals": {
            "aws:RequestTag/infrakit.cluster": "prod",
            "ec2:CreateAction": [
                "AllocateAddress", "CreateFleet", "CreateLaunchTemplate", "CreateNetworkInterface", "CreateVolume",
                "RunInstances",
            ],
        }
    }  # fmt: skip
    assert own["Condition"] == {"StringEquals": {"aws:ResourceTag/infrakit.cluster": "prod"}}
    assert own["Resource"] == [f"{EC2}:instance/*"]


def test_only_launches_tag_where_nothing_else_is_made() -> None:
    condition = statement(policy(), "TagWhileMade")["Condition"]
    assert condition["StringEquals"]["ec2:CreateAction"] == ["RunInstances"]


@pytest.mark.parametrize(
    "action",
    [
        "ec2:TerminateInstances", "ec2:ModifyInstanceAttribute", "ec2:AttachVolume", "ec2:DetachVolume",
        "ec2:DeleteVolume", "ec2:DeleteNetworkInterface", "ec2:AssociateAddress", "ec2:DisassociateAddress",
        "ec2:ReleaseAddress", "ec2:DeleteLaunchTemplate", "ec2:CancelSpotInstanceRequests",
    ],
)  # fmt: skip
def test_nothing_without_our_tag_is_changed(action: str) -> None:
    found = [one for one in policy(EVERYTHING, BOTH_SPOT)["Statement"] if action in one["Action"]]
    assert found
    for one in found:
        assert one["Condition"] == {"StringEquals": {"aws:ResourceTag/infrakit.cluster": "prod"}}


def test_an_interface_without_our_tag_is_not_changed_and_any_group_may_be_used() -> None:
    found = [one for one in policy(EVERYTHING)["Statement"] if "ec2:ModifyNetworkInterfaceAttribute" in one["Action"]]
    on_interfaces = [one for one in found if any("network-interface" in resource for resource in one["Resource"])]
    assert [one["Sid"] for one in on_interfaces] == ["ChangeOwn"]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("machine", "more"),
    [
        (
            {"data_disks": [{"name": "db", "device": "/dev/sdf", "size": "1GiB"}]},
            {"CreateVolume", "AttachVolume", "DetachVolume", "DeleteVolume"},
        ),
        (
            {"elastic_ip": True},
            {"AllocateAddress", "AssociateAddress", "DisassociateAddress", "ReleaseAddress"},
        ),
        (
            {"keep_interface": True},
            {"CreateNetworkInterface", "DeleteNetworkInterface", "ModifyNetworkInterfaceAttribute"},
        ),
        ({"instance_profile": "web"}, {"PassRole"}),
        (
            {"target_groups": ["web"]},
            {"DescribeTargetGroups", "DescribeTargetHealth", "RegisterTargets", "DeregisterTargets"},
        ),
        (
            {"root_disk": {"kms_key": KEY}},
            {
                "CreateGrant", "Decrypt", "DescribeKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom",
                "ReEncryptTo",
            },
        ),
        (
            BOTH_SPOT,
            {
                "DescribeSpotInstanceRequests", "CreateFleet", "CreateLaunchTemplate", "DeleteLaunchTemplate",
            },
        ),
        (
            {"capacity": {"spot_percent": 50, "interruption": "stop"}},
            {"DescribeSpotInstanceRequests", "CancelSpotInstanceRequests"},
        ),
        ({"capacity": {"spot_percent": 50}}, {"DescribeSpotInstanceRequests"}),
        ({"key_name": "ops"}, {"DescribeKeyPairs"}),
        ({"security_groups": ["sg-12345678"]}, {"DescribeSecurityGroups"}),
        ({"instance_types": ["m5.large", "m6i.large"]}, set()),
        ({"termination_protection": True}, {"ModifyInstanceAttribute"}),
    ],
)  # fmt: skip
def test_what_is_used_adds_its_actions_and_no_others(machine: dict[str, Json], more: set[str]) -> None:
    assert {action.split(":")[1] for action in actions(policy(machine)) - actions(policy())} == more


def test_a_group_with_a_size_may_not_touch_what_only_named_members_keep() -> None:
    assert actions(policy(EVERYTHING, named=False)) & {"ec2:CreateVolume", "ec2:AllocateAddress"} == set()


def test_a_kept_interface_must_be_ours_to_be_launched_with() -> None:
    change = statement(policy({"keep_interface": True}), "ChangeOwn")
    assert "ec2:RunInstances" in change["Action"] and f"{EC2}:network-interface/*" in change["Resource"]


def test_interfaces_are_made_in_the_machines_subnets_alone() -> None:
    written: dict[str, Json] = {"keep_interface": True, "subnets": ["subnet-1234567a"], "key_name": "ops"}
    one = statement(policy(written), "MakeInterfacesIn")
    assert one["Resource"] == [f"{EC2}:security-group/*", f"{EC2}:subnet/subnet-1234567a"]


def test_fleets_are_for_spot_machines_of_several_types() -> None:
    document = policy(BOTH_SPOT)
    make, change = statement(document, "MakeOwn"), statement(document, "ChangeOwn")
    assert make["Action"] == ["ec2:CreateFleet", "ec2:CreateLaunchTemplate", "ec2:RunInstances"]
    assert {f"{EC2}:fleet/*", f"{EC2}:spot-instances-request/*"} < set(make["Resource"])
    assert f"{EC2}:launch-template/*" in change["Resource"]


def test_roles_are_passed_to_machines_only() -> None:
    one = statement(policy({"instance_profile": "web"}), "PassRole")
    assert one["Resource"] == ["arn:aws:iam::123456789012:role/*"]
    assert one["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


@pytest.mark.parametrize(
    ("reference", "resource"),
    [
        ("ssm:/aws/service/x/image_id", "arn:aws:ssm:eu-central-1::parameter/aws/service/x/image_id"),
        ("ssm:/images/web", "arn:aws:ssm:eu-central-1:123456789012:parameter/images/web"),
        ("ssm:web", "arn:aws:ssm:eu-central-1:123456789012:parameter/web"),
    ],
)
def test_a_parameter_is_read_and_any_image_it_may_name_is_booted(reference: str, resource: str) -> None:
    document = policy(image=reference)
    assert statement(document, "ReadImageParameters")["Resource"] == [resource]
    assert "arn:aws:ec2:eu-central-1::image/*" in statement(document, "LaunchFrom")["Resource"]


def test_target_groups_are_allowed_by_name_or_arn() -> None:
    assert statement(policy({"target_groups": ["web", TARGET_GROUP]}), "BalanceLoad")["Resource"] == [
        TARGET_GROUP,
        "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/*",
    ]


def test_a_key_by_alias_is_known_by_a_condition() -> None:
    one = statement(policy({"root_disk": {"kms_key": "alias/disks"}}), "UseKeysByAlias")
    assert one["Resource"] == ["arn:aws:kms:eu-central-1:123456789012:key/*"]
    assert one["Condition"] == {
        "StringEquals": {"kms:ViaService": "ec2.eu-central-1.amazonaws.com"},
        "ForAnyValue:StringEquals": {"kms:ResourceAliases": ["alias/disks"]},
    }


@pytest.mark.parametrize(
    ("region", "partition"),
    [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("us-east-1", "aws"), ("eusc-de-east-1", "aws-eusc")],
)
def test_arns_are_of_the_region_s_partition(region: str, partition: str) -> None:
    resources = [one for part in policy(region=region)["Statement"] for one in part["Resource"] if one != "*"]
    assert {one.split(":")[1] for one in resources} == {partition}


def test_only_looking_is_allowed_on_everything() -> None:
    for one in policy(EVERYTHING, BOTH_SPOT, image="ssm:/images/web")["Statement"]:
        if one["Resource"] == ["*"]:
            assert all(ONLY_ON_EVERYTHING.match(action) for action in one["Action"])
        else:
            assert "*" not in one["Resource"]


def test_every_action_exists() -> None:
    session = botocore.session.get_session()
    models = {"elasticloadbalancing": "elbv2", "servicequotas": "service-quotas"}
    wanted = actions(policy(EVERYTHING, BOTH_SPOT, image="ssm:/images/web")) - PERMISSIONS_WITHOUT_A_CALL
    known = {
        f"{service}:{call}"
        for service in {action.split(":")[0] for action in wanted}
        for call in session.get_service_model(models.get(service, service)).operation_names
    }
    assert wanted - known == set()


def test_a_policy_for_everything_fits_in_one() -> None:
    document = policy(EVERYTHING, BOTH_SPOT, {"root_disk": {"kms_key": "alias/disks"}}, image="ssm:/images/web")
    written = json.dumps(document, separators=(",", ":"))
    assert len(written) <= MOST_CHARACTERS


def test_sids_are_letters_and_unlike_one_another() -> None:
    all_sids = [one["Sid"] for one in policy(EVERYTHING, BOTH_SPOT)["Statement"]]
    assert len(set(all_sids)) == len(all_sids) and all(re.fullmatch("[A-Za-z0-9]+", sid) for sid in all_sids)


def test_the_order_of_groups_does_not_matter() -> None:
    assert policy(EVERYTHING, BOTH_SPOT) == policy(BOTH_SPOT, EVERYTHING)
