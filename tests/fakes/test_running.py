"""RunInstances, as AWS documents it."""

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.faults import Fault
from tests.fakes.account import Account, Opens, tagged
from tests.fakes.ec2 import settings as seeds
from tests.fakes.ec2.settings import LINUX, SUBNETS


def test_a_call_makes_as_many_as_its_most_with_indexes_from_zero(account: Account) -> None:
    made = account.reserve(2, MaxCount=3)["Instances"]
    assert [one["AmiLaunchIndex"] for one in made] == [0, 1, 2]
    assert len({one["PrivateIpAddress"] for one in made}) == 3


def test_a_zone_gives_what_it_has_down_to_the_least(opens: Opens) -> None:
    account = opens(capacity={"a": 3})
    assert len(account.run(2, MaxCount=10)) == 3


def test_below_the_least_nothing_is_made(opens: Opens) -> None:
    account = opens(capacity={"a": {"m5.large": 3}, "b": None})
    assert account.refused("run_instances", **_request(MinCount=4, MaxCount=9)) == "InsufficientInstanceCapacity"
    assert account.fake.ids() == []
    assert account.fake.picture()["volumes"] == {}
    assert len(account.run(4, SubnetId=SUBNETS["b"])) == 4


def test_capacity_comes_and_goes(account: Account) -> None:
    account.fake.set_capacity("a", 0)
    assert account.refused("run_instances", **_request()) == "InsufficientInstanceCapacity"
    account.fake.set_capacity("a", None)
    assert account.run()


def test_a_token_gives_the_same_reservation_again(account: Account) -> None:
    first, again = (account.reserve(2, ClientToken="t") for _ in range(2))
    assert first["ReservationId"] == again["ReservationId"]
    assert [one["InstanceId"] for one in first["Instances"]] == [one["InstanceId"] for one in again["Instances"]]
    assert len(account.fake.ids()) == 2


@pytest.mark.parametrize(
    "other",
    [{"InstanceType": "m5.xlarge"}, {"MaxCount": 2}, {"TagSpecifications": tagged({"a": "b"})}],
    ids=["type", "count", "tags"],
)
def test_a_token_stands_for_its_parameters(account: Account, other: dict[str, Any]) -> None:
    account.run(ClientToken="t")
    assert account.refused("run_instances", **_request(ClientToken="t", **other)) == "IdempotentParameterMismatch"


def test_a_token_counts_in_the_zone_that_its_request_names(account: Account) -> None:
    in_a, in_b = (account.run(ClientToken="t", SubnetId=SUBNETS[zone]) for zone in "ab")
    assert in_a != in_b


def test_a_token_is_spent_once_all_its_instances_are_terminated(account: Account) -> None:
    one, other = account.boot(2, ClientToken="t")
    account.end(one)
    assert account.run(2, ClientToken="t") == [one, other]
    account.end(other)
    request = _request(ClientToken="t", MinCount=2, MaxCount=2)
    assert account.refused("run_instances", **request) == "IdempotentInstanceTerminated"
    account.clock.sleep(86_400)
    assert account.refused("run_instances", **request) == "IdempotentInstanceTerminated"


def test_a_reply_can_be_lost_after_the_work_was_done(account: Account) -> None:
    account.fake.cloud.fail(Call.PROVISION, Fault.LOST_REPLY)
    assert account.refused("run_instances", **_request(ClientToken="t")) == "InternalError"
    assert account.run(ClientToken="t") == account.fake.ids()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ImageId": "ami-1"}, "InvalidAMIID.Malformed"),
        ({"ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound"),
        ({"InstanceType": "m5.largest"}, "InvalidParameterValue"),
        ({"InstanceType": "t4g.small"}, "InvalidParameterValue"),
        ({"InstanceType": "c6i.large", "SubnetId": SUBNETS["c"]}, "Unsupported"),
        ({"SubnetId": "subnet-00000000000000000"}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroupIds": ["sg-00000000000000000"]}, "InvalidGroup.NotFound"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"IamInstanceProfile": {"Name": "nobody"}}, "InvalidParameterValue"),
        ({"Placement": {"GroupName": "nobody"}}, "InvalidPlacementGroup.Unknown"),
        ({"PrivateIpAddress": "10.0.0.9", "MaxCount": 2}, "InvalidParameterCombination"),
        ({"PrivateIpAddress": "10.9.0.9"}, "InvalidParameterValue"),
        ({"KernelId": "aki-1"}, "UnsupportedOperation"),
        ({"MinCount": 3, "MaxCount": 2}, "InvalidParameterValue"),
        ({"Placement": {"AvailabilityZone": "eu-central-1b"}}, "InvalidParameterValue"),
        ({"UserData": "x" * 16_385}, "InvalidParameterValue"),
        ({"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": SUBNETS["a"]}]}, "InvalidParameterCombination"),
        ({"ClientToken": "t" * 65}, "InvalidParameterValue"),
        ({"CpuOptions": {"CoreCount": 9, "ThreadsPerCore": 1}}, "InvalidParameterCombination"),
        (
            {
                "InstanceMarketOptions": {
                    "MarketType": "spot",
                    "SpotOptions": {"InstanceInterruptionBehavior": "stop"},
                }
            },
            "InvalidParameterCombination",
        ),
        ({"TagSpecifications": tagged({"aws:x": "y"})}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged({"k" * 129: "y"})}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged({"k": "v" * 257})}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged({str(n): "" for n in range(51)})}, "TagLimitExceeded"),
        ({"TagSpecifications": tagged({"k": "v"}) * 2}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged({"k": "v"}, "image")}, "InvalidParameterValue"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_a_launch_that_aws_refuses_is_refused(account: Account, wrong: dict[str, Any], code: str) -> None:
    assert account.refused("run_instances", **_request(**wrong)) == code
    assert account.fake.ids() == []


@pytest.mark.parametrize(
    ("disk", "code"),
    [
        ({"VolumeSize": 10, "VolumeType": "gp2", "Iops": 3000}, "InvalidParameterCombination"),
        ({"VolumeSize": 10, "VolumeType": "io2"}, "MissingParameter"),
        ({"VolumeSize": 10, "VolumeType": "io1", "Iops": 300, "Throughput": 125}, "InvalidParameterCombination"),
        ({"VolumeSize": 1, "VolumeType": "st1"}, "InvalidParameterValue"),
        ({"VolumeSize": 10, "KmsKeyId": "k"}, "InvalidParameterDependency"),
        ({"VolumeType": "gp3"}, "MissingParameter"),
    ],
    ids=["gp2-iops", "io2-without-iops", "io1-throughput", "st1-small", "key-without-encryption", "no-size"],
)
def test_a_disk_that_cannot_be_is_refused(account: Account, disk: dict[str, Any], code: str) -> None:
    mappings = [{"DeviceName": "/dev/sdf", "Ebs": disk}]
    assert account.refused("run_instances", **_request(BlockDeviceMappings=mappings)) == code


def test_a_root_disk_cannot_be_smaller_than_its_image(account: Account) -> None:
    mappings = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 4}}]
    assert account.refused("run_instances", **_request(BlockDeviceMappings=mappings)) == "InvalidBlockDeviceMapping"


def test_what_a_launch_says_is_what_the_instance_has(account: Account) -> None:
    (id_,) = account.boot(
        KeyName=seeds.KEY_PAIR,
        IamInstanceProfile={"Name": seeds.INSTANCE_PROFILE},
        Monitoring={"Enabled": True},
        EbsOptimized=True,
        CpuOptions={"CoreCount": 1, "ThreadsPerCore": 1},
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
        Placement={"Tenancy": "dedicated", "GroupName": "infrakit"},
        UserData="#cloud-config",
        SecurityGroupIds=[seeds.WEB_GROUP],
        BlockDeviceMappings=[
            {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 20, "VolumeType": "gp3", "Throughput": 250}},
            {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5, "Encrypted": True, "DeleteOnTermination": False}},
        ],
        TagSpecifications=tagged({"Name": "one"}) + tagged({"of": "one"}, "volume"),
        SubnetId=SUBNETS["a"],
    )
    (seen,) = account.see(id_)
    assert seen["State"] == {"Code": 16, "Name": "running"}
    assert seen["Monitoring"] == {"State": "enabled"}
    assert seen["CpuOptions"] == {"CoreCount": 1, "ThreadsPerCore": 1}
    assert seen["MetadataOptions"]["HttpTokens"] == "required"
    assert seen["Placement"] == {"AvailabilityZone": "eu-central-1a", "Tenancy": "dedicated", "GroupName": "infrakit"}
    assert seen["IamInstanceProfile"]["Arn"].endswith("/infrakit")
    assert seen["Tags"] == [{"Key": "Name", "Value": "one"}]
    assert [group["GroupId"] for group in seen["SecurityGroups"]] == [seeds.WEB_GROUP]
    attribute = account.ec2.describe_instance_attribute(InstanceId=id_, Attribute="userData")
    assert base64.b64decode(attribute["UserData"]["Value"]) == b"#cloud-config"
    volumes = account.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [id_]}])["Volumes"]
    assert {(one["Size"], one["Attachments"][0]["Device"]) for one in volumes} == {(20, "/dev/xvda"), (5, "/dev/sdf")}
    assert all(one["Tags"] == [{"Key": "of", "Value": "one"}] for one in volumes)


def test_16_kib_of_user_data_are_allowed(account: Account) -> None:
    assert account.run(UserData="x" * 16_384)


def test_an_interface_that_exists_outlives_its_instance(account: Account) -> None:
    made = account.ec2.create_network_interface(SubnetId=SUBNETS["b"])["NetworkInterface"]
    given: list[Any] = [{"DeviceIndex": 0, "NetworkInterfaceId": made["NetworkInterfaceId"]}]
    (id_,) = account.boot(NetworkInterfaces=given)
    assert account.see(id_)[0]["PrivateIpAddress"] == made["PrivateIpAddress"]
    request = _request(NetworkInterfaces=given)
    del request["SubnetId"]
    assert account.refused("run_instances", **request) == "InvalidNetworkInterface.InUse"
    account.end(id_)
    (kept,) = account.ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert kept["Status"] == "available"


def test_an_interface_made_at_launch_has_what_it_asks_for_and_goes_with_the_instance(account: Account) -> None:
    wanted: list[Any] = [
        {
            "DeviceIndex": 0,
            "SubnetId": SUBNETS["c"],
            "Groups": [seeds.WEB_GROUP],
            "AssociatePublicIpAddress": True,
            "Ipv6AddressCount": 1,
        }
    ]
    (id_,) = account.boot(NetworkInterfaces=wanted)
    (seen,) = account.see(id_)
    assert seen["PublicIpAddress"] == seen["NetworkInterfaces"][0]["Association"]["PublicIp"]
    assert len(seen["NetworkInterfaces"][0]["Ipv6Addresses"]) == 1
    assert seen["Placement"]["AvailabilityZone"] == "eu-central-1c"
    account.end(id_)
    assert account.fake.interfaces() == []


def test_a_full_subnet_refuses(opens: Opens) -> None:
    account = opens(subnet_bits=28)
    ids = account.boot(11)
    assert account.refused("run_instances", **_request()) == "InsufficientFreeAddressesInSubnet"
    account.end(ids[0])
    assert account.run()


def test_dry_run_looks_and_makes_nothing(account: Account) -> None:
    assert account.refused("run_instances", **_request(DryRun=True)) == "DryRunOperation"
    bad = _request(DryRun=True, ImageId="ami-00000000000000000")
    assert account.refused("run_instances", **bad) == "InvalidAMIID.NotFound"
    assert account.fake.ids() == []


@pytest.mark.parametrize(
    ("settings", "market", "code"),
    [
        ({"vcpu_quota": 6}, None, "VcpuLimitExceeded"),
        ({"instance_quota": 3}, None, "InstanceLimitExceeded"),
        ({"spot_vcpu_quota": 6}, {"MarketType": "spot"}, "MaxSpotInstanceCountExceeded"),
    ],
    ids=["vcpus", "instances", "spot"],
)
def test_a_quota_refuses_what_is_over_it(opens: Opens, settings: dict[str, Any], market: Any, code: str) -> None:
    account = opens(**settings)
    ids = account.boot(3, InstanceMarketOptions=market)
    request = _request(**({"InstanceMarketOptions": market} if market else {}))
    assert account.refused("run_instances", **request) == code
    account.end(ids[0])
    assert account.run(InstanceMarketOptions=market)


def test_buckets_of_tokens_throttle(opens: Opens) -> None:
    account = opens(limits="ec2", capacity={"a": 10})
    for _ in range(5):
        account.run()
    assert account.refused("run_instances", **_request()) == "RequestLimitExceeded"
    account.clock.sleep(0.5)
    account.run(1, MaxCount=900)
    account.clock.sleep(0.5)
    assert account.refused("run_instances", **_request(MaxCount=100)) == "RequestLimitExceeded"


def _request(**wanted: Any) -> dict[str, Any]:
    request = {"ImageId": LINUX, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    return {**request, "SubnetId": SUBNETS["a"], **wanted}


def test_of_many_calls_at_once_with_one_token_one_makes_instances(account: Account) -> None:
    request = _request(ClientToken="t", MinCount=2, MaxCount=2)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: account.ec2.run_instances(**request)["ReservationId"], range(16)))
    assert len(set(answers)) == 1
    assert len(account.fake.ids()) == 2
