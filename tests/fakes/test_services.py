"""What is beside EC2: load balancing, parameters, identities, quotas; and the catalogue."""

from typing import Any

import pytest

from tests.fakes.account import Account, Opens, client, refused
from tests.fakes.ec2.settings import ACCOUNT, IMAGE_PARAMETER, LINUX, SUBNETS, TARGET_GROUP, VPC


def _group(account: Account) -> str:
    (group,) = account.elb.describe_target_groups(Names=[TARGET_GROUP])["TargetGroups"]
    return group["TargetGroupArn"]


def _health(account: Account, *ids: str) -> list[tuple[str, str | None]]:
    asked: Any = {"Targets": [{"Id": one} for one in ids]} if ids else {}
    answer = account.elb.describe_target_health(TargetGroupArn=_group(account), **asked)
    health = [one["TargetHealth"] for one in answer["TargetHealthDescriptions"]]
    return [(one["State"], one.get("Reason")) for one in health]


def test_a_target_is_initial_then_healthy_then_draining_then_absent(opens: Opens) -> None:
    account = opens(health_seconds=10)
    (id_,) = account.boot()
    group = _group(account)
    targets: Any = [{"Id": id_}]
    account.elb.register_targets(TargetGroupArn=group, Targets=targets)
    assert _health(account, id_) == [("initial", "Elb.RegistrationInProgress")]
    account.clock.sleep(10)
    assert _health(account, id_) == [("healthy", None)]
    account.fake.set_target_health(id_, "Target.Timeout")
    assert _health(account, id_) == [("unhealthy", "Target.Timeout")]
    account.elb.deregister_targets(TargetGroupArn=group, Targets=targets)
    assert _health(account, id_) == [("draining", "Target.DeregistrationInProgress")]
    account.clock.sleep(300)
    assert _health(account) == []
    assert _health(account, id_) == [("unused", "Target.NotRegistered")]


def test_an_instance_that_does_not_run_cannot_be_a_target(account: Account) -> None:
    ids = account.run()
    targets = [{"Id": ids[0]}]
    assert (
        refused(account.elb, "register_targets", TargetGroupArn=_group(account), Targets=targets) == "InvalidTarget"
    )


def test_a_terminated_instance_leaves_its_target_group(account: Account) -> None:
    (id_,) = account.boot()
    account.elb.register_targets(TargetGroupArn=_group(account), Targets=[{"Id": id_}])
    account.ec2.terminate_instances(InstanceIds=[id_])
    assert _health(account, id_) == [("unused", "Target.InvalidState")]
    account.clock.sleep(1)
    assert _health(account) == []


def test_an_unknown_target_group_is_an_error(account: Account) -> None:
    assert refused(account.elb, "describe_target_groups", Names=["nobody"]) == "TargetGroupNotFound"
    made = account.elb.create_target_group(Name="new", Protocol="TCP", Port=5432, VpcId=VPC)
    arn = made["TargetGroups"][0]["TargetGroupArn"]
    account.elb.delete_target_group(TargetGroupArn=arn)
    assert refused(account.elb, "describe_target_health", TargetGroupArn=arn) == "TargetGroupNotFound"


def test_a_parameter_names_an_image(account: Account) -> None:
    ssm = client("ssm", account.fake.url)
    assert ssm.get_parameter(Name=IMAGE_PARAMETER)["Parameter"]["Value"] == LINUX
    assert refused(ssm, "get_parameter", Name="/nothing") == "ParameterNotFound"
    assert ssm.get_parameters(Names=["/nothing"])["InvalidParameters"] == ["/nothing"]


@pytest.mark.parametrize(
    ("service", "call", "asked", "code"),
    [
        ("ec2", "describe_instances", {}, "RequestExpired"),
        ("elbv2", "describe_target_groups", {}, "ExpiredToken"),
        ("ssm", "get_parameter", {"Name": "x"}, "ExpiredTokenException"),
        ("sts", "get_caller_identity", {}, "ExpiredToken"),
    ],
    ids=["ec2", "elbv2", "ssm", "sts"],
)
def test_credentials_of_a_role_expire(
    account: Account, service: str, call: str, asked: dict[str, str], code: str
) -> None:
    sts = client("sts", account.fake.url)
    role = f"arn:aws:iam::{ACCOUNT}:role/provisioner"
    given = sts.assume_role(RoleArn=role, RoleSessionName="me", DurationSeconds=900)["Credentials"]
    assumed = client(
        service,
        account.fake.url,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    if service == "sts":
        assert assumed.get_caller_identity()["Arn"].endswith("assumed-role/provisioner/me")
    account.clock.sleep(900)
    assert refused(assumed, call, **asked) == code


def test_a_role_can_be_closed_and_a_token_made_up(account: Account) -> None:
    account.fake.close_role("provisioner")
    sts = client("sts", account.fake.url)
    role = f"arn:aws:iam::{ACCOUNT}:role/provisioner"
    assert refused(sts, "assume_role", RoleArn=role, RoleSessionName="me") == "AccessDenied"
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "aws_session_token": "t"}
    assert refused(client("ec2", account.fake.url, **keys), "describe_vpcs") == "InvalidClientTokenId"


def test_the_quota_of_vcpus_can_be_read(opens: Opens) -> None:
    quotas = client("service-quotas", opens(vcpu_quota=64).fake.url)
    values = {one["QuotaCode"]: one["Value"] for one in quotas.list_service_quotas(ServiceCode="ec2")["Quotas"]}
    assert values["L-1216C47A"] == 64


def test_another_region_has_another_endpoint(account: Account) -> None:
    assert refused(client("ec2", account.fake.url, region="us-east-1"), "describe_vpcs") == "AuthFailure"


def test_the_catalogue_says_what_there_is(account: Account) -> None:
    ec2 = account.ec2
    (image,) = ec2.describe_images(ImageIds=[LINUX])["Images"]
    assert (image["RootDeviceName"], image["Architecture"]) == ("/dev/xvda", "x86_64")
    assert image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"].startswith("snap-")
    filters: Any = [{"Name": "name", "Values": ["infrakit-linux-?"]}]
    assert len(ec2.describe_images(Owners=["self"], Filters=filters)["Images"]) == 2
    zones = {one["SubnetId"]: one["AvailabilityZone"] for one in ec2.describe_subnets()["Subnets"]}
    assert zones == {subnet: f"eu-central-1{zone}" for zone, subnet in SUBNETS.items()}
    (offered,) = ec2.describe_instance_types(InstanceTypes=["m5.xlarge"])["InstanceTypes"]
    assert offered["VCpuInfo"]["DefaultVCpus"] == 4
    places: Any = [{"Name": "instance-type", "Values": ["c6i.large"]}]
    offers = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=places)
    assert [one["Location"] for one in offers["InstanceTypeOfferings"]] == ["eu-central-1a", "eu-central-1b"]
    assert [one["ZoneName"] for one in ec2.describe_availability_zones()["AvailabilityZones"]] == list(zones.values())
    assert {one["GroupName"] for one in ec2.describe_security_groups()["SecurityGroups"]} == {"default", "web"}
    assert ec2.describe_key_pairs()["KeyPairs"][0]["KeyName"] == "operator"
    assert ec2.describe_vpcs()["Vpcs"][0]["VpcId"] == VPC
    assert account.refused("describe_instance_types", InstanceTypes=["m5.bigger"]) == "InvalidInstanceType"
    assert account.refused("describe_images", ImageIds=["ami-00000000000000000"]) == "InvalidAMIID.NotFound"
