"""What RunInstances is asked for, checked against botocore's own model of the call."""

import gzip
import random
from typing import Any, Final

import botocore.session
import pytest
from botocore.handlers import base64_encode_user_data
from botocore.model import StructureShape
from botocore.validate import ParamValidator

from infrakit_providers.aws.launch_parameters import MAX_USER_DATA, packed_user_data, run_parameters
from infrakit_providers.aws.machine import Machine
from infrakit_py.errors import ProviderError
from infrakit_py.model.spec import Json
from tests.aws.material import KEY, WHOLE_MACHINE

OURS: Final = {"infrakit.cluster": "prod", "infrakit.group": "web"}
SUBNET: Final = "subnet-0123456789abcdef0"
INTERFACE: Final = "eni-0123456789abcdef0"


@pytest.fixture(scope="module")
def run_instances() -> StructureShape:
    shape = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    assert shape is not None
    return shape


def parameters(written: dict[str, Json] | None = None, **chosen: Any) -> dict[str, Any]:
    machine = Machine.model_validate({"instance_types": "m5.large", **(written or {})})
    given: dict[str, Any] = {
        "image_id": "ami-0123456789abcdef0", "instance_type": "m5.large", "subnet_id": SUBNET, "zone": None,
        "spot": False, "count": 1, "client_token": "token", "user_data": None, "tags": OURS, "volume_tags": OURS,
        "interface_tags": OURS, "interface_id": None, "root_device": "/dev/xvda",
    }  # fmt: skip
    return dict(run_parameters(machine, **{**given, **chosen}))


def tags_of(params: dict[str, Any], resource: str) -> dict[str, str]:
    [tags] = [one["Tags"] for one in params["TagSpecifications"] if one["ResourceType"] == resource]
    return {tag["Key"]: tag["Value"] for tag in tags}


@pytest.mark.parametrize(
    ("written", "chosen"),
    [
        ({}, {}),
        ({}, {"subnet_id": None, "zone": "eu-central-1a", "count": 200, "user_data": b"\x1f\x8b"}),
        ({"public_ip": True, "ipv6": 2}, {}),
        (WHOLE_MACHINE, {"spot": True}),
        (WHOLE_MACHINE, {"interface_id": INTERFACE, "subnet_id": None, "user_data": b"#cloud-config\n"}),
    ],
    ids=["least", "by zone", "by interface", "everything", "kept interface"],
)
def test_botocore_accepts_the_parameters(
    run_instances: StructureShape, written: dict[str, Json], chosen: dict[str, Any]
) -> None:
    asked = parameters(written, **chosen)
    base64_encode_user_data(asked)  # what a client does just before it validates

    report = ParamValidator().validate(asked, run_instances)

    assert not report.has_errors(), report.generate_report()


def test_a_plain_machine_asks_for_no_more_than_it_needs() -> None:
    tags = [{"Key": key, "Value": value} for key, value in OURS.items()]
    assert parameters() == {
        "ImageId": "ami-0123456789abcdef0",
        "InstanceType": "m5.large",
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": "token",
        "SubnetId": SUBNET,
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
            "InstanceMetadataTags": "disabled",
        },
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume", "network-interface")
        ],
    }


def test_all_machines_of_a_call_or_none() -> None:
    params = parameters(count=200)
    assert (params["MinCount"], params["MaxCount"]) == (200, 200)


def test_our_tags_win_over_the_user_s() -> None:
    written: dict[str, Json] = {
        "tags": {"instance": {"team": "web", "Name": "mine"}, "volumes": {"cost": "7"}, "interfaces": {"net": "dmz"}}
    }
    params = parameters(written, tags={**OURS, "Name": "web.0"}, interface_tags={"infrakit.cluster": "prod"})

    assert tags_of(params, "instance") == {**OURS, "team": "web", "Name": "web.0"}
    assert tags_of(params, "volume") == {**OURS, "cost": "7"}
    assert tags_of(params, "network-interface") == {"infrakit.cluster": "prod", "net": "dmz"}


def test_a_spot_request_carries_our_tags() -> None:
    written: dict[str, Json] = {"tags": {"instance": {"team": "web"}}}
    assert tags_of(parameters(written, spot=True), "spot-instances-request") == OURS


def test_without_a_subnet_the_zone_decides() -> None:
    params = parameters(subnet_id=None, zone="eu-central-1a")
    assert params["Placement"] == {"AvailabilityZone": "eu-central-1a"} and "SubnetId" not in params


def test_a_subnet_s_zone_is_not_said_twice() -> None:
    assert "Placement" not in parameters(zone="eu-central-1a")


@pytest.mark.parametrize(
    ("written", "interface"),
    [
        ({"public_ip": True}, {"AssociatePublicIpAddress": True}),
        ({"public_ip": False}, {"AssociatePublicIpAddress": False}),
        ({"ipv6": 2}, {"Ipv6AddressCount": 2}),
        (
            {"public_ip": True, "security_groups": ["sg-12345678"]},
            {"AssociatePublicIpAddress": True, "Groups": ["sg-12345678"]},
        ),
    ],
)
def test_addresses_need_an_interface_and_then_nothing_of_it_stands_outside(
    written: dict[str, Json], interface: dict[str, Any]
) -> None:
    params = parameters(written)
    assert params["NetworkInterfaces"] == [
        {"DeviceIndex": 0, "DeleteOnTermination": True, "SubnetId": SUBNET, **interface}
    ]
    assert not {"SubnetId", "SecurityGroupIds"} & params.keys()


def test_without_addresses_there_are_subnet_and_security_groups_alone() -> None:
    params = parameters({"security_groups": ["sg-12345678"]})
    assert (params["SubnetId"], params["SecurityGroupIds"]) == (SUBNET, ["sg-12345678"])
    assert "NetworkInterfaces" not in params


def test_a_kept_interface_brings_its_own_network_and_tags() -> None:
    params = parameters({"security_groups": ["sg-12345678"], "ipv6": 1}, interface_id=INTERFACE, zone="eu-central-1a")

    assert params["NetworkInterfaces"] == [{"DeviceIndex": 0, "NetworkInterfaceId": INTERFACE}]
    assert not {"SubnetId", "SecurityGroupIds", "Placement"} & params.keys()
    assert "network-interface" not in [one["ResourceType"] for one in params["TagSpecifications"]]


@pytest.mark.parametrize(
    ("capacity", "options"),
    [
        ({}, {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}),
        (
            {"max_price": 0.05},
            {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate", "MaxPrice": "0.05"},
        ),
        ({"interruption": "stop"}, {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop"}),
        (
            {"interruption": "hibernate"},
            {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "hibernate"},
        ),
    ],
)
def test_spot_machines_say_how_they_end(capacity: dict[str, Json], options: dict[str, Json]) -> None:
    params = parameters({"capacity": capacity}, spot=True)
    assert params["InstanceMarketOptions"] == {"MarketType": "spot", "SpotOptions": options}


def test_the_others_of_a_mixed_group_are_on_demand() -> None:
    assert "InstanceMarketOptions" not in parameters({"capacity": {"spot_percent": 50}}, spot=False)


@pytest.mark.parametrize(
    ("written", "device"),
    [({"size": "20GiB"}, "/dev/xvda"), ({"size": "20GiB", "device": "/dev/sda1"}, "/dev/sda1")],
    ids=["the image's", "as written"],
)
def test_the_root_disk_is_at_the_root_device(written: dict[str, Json], device: str) -> None:
    [mapping] = parameters({"root_disk": written})["BlockDeviceMappings"]
    assert mapping == {
        "DeviceName": device,
        "Ebs": {"VolumeType": "gp3", "DeleteOnTermination": True, "VolumeSize": 20},
    }


def test_a_root_disk_without_a_root_device_is_refused() -> None:
    with pytest.raises(ProviderError, match="root device of the image is not known") as caught:
        parameters({"root_disk": {"size": "20GiB"}}, root_device=None)
    assert caught.value.hint == "write root_disk.device"


@pytest.mark.parametrize(
    ("written", "ebs"),
    [
        (
            {"size": "100GiB", "iops": 4000, "throughput": 500},
            {"VolumeType": "gp3", "DeleteOnTermination": True, "VolumeSize": 100, "Iops": 4000, "Throughput": 500},
        ),
        (
            {"snapshot": "snap-12345678", "delete_on_termination": False},
            {"VolumeType": "gp3", "DeleteOnTermination": False, "SnapshotId": "snap-12345678"},
        ),
        (
            {"size": "1GiB", "kms_key": KEY},
            {"VolumeType": "gp3", "DeleteOnTermination": True, "VolumeSize": 1, "Encrypted": True, "KmsKeyId": KEY},
        ),
        (
            {"size": "1GiB", "encrypted": False},
            {"VolumeType": "gp3", "DeleteOnTermination": True, "VolumeSize": 1, "Encrypted": False},
        ),
    ],
    ids=["performance", "snapshot", "key", "not encrypted"],
)
def test_disks_are_made_as_written(written: dict[str, Json], ebs: dict[str, Any]) -> None:
    [mapping] = parameters({"disks": [{"device": "/dev/sdf", **written}]})["BlockDeviceMappings"]
    assert mapping == {"DeviceName": "/dev/sdf", "Ebs": ebs}


def test_data_disks_are_not_made_with_the_machine() -> None:
    written: dict[str, Json] = {"data_disks": [{"name": "db", "device": "/dev/sdf", "size": "1GiB"}]}
    assert "BlockDeviceMappings" not in parameters(written)


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ({"key_name": "ops"}, "KeyName", "ops"),
        ({"instance_profile": "web"}, "IamInstanceProfile", {"Name": "web"}),
        (
            {"instance_profile": "arn:aws:iam::123456789012:instance-profile/web"},
            "IamInstanceProfile",
            {"Arn": "arn:aws:iam::123456789012:instance-profile/web"},
        ),
        ({"cpu": {"cores": 2, "threads_per_core": 1}}, "CpuOptions", {"CoreCount": 2, "ThreadsPerCore": 1}),
        ({"monitoring": True}, "Monitoring", {"Enabled": True}),
        ({"ebs_optimized": False}, "EbsOptimized", False),
        ({"termination_protection": True}, "DisableApiTermination", True),
        ({"metadata": {"endpoint": False}}, "MetadataOptions", {"HttpEndpoint": "disabled"}),
        ({"placement": {"group": "p", "partition": 2}}, "Placement", {"GroupName": "p", "PartitionNumber": 2}),
        (
            {"placement": {"tenancy": "host", "host_id": "h-12345678", "affinity": "host"}},
            "Placement",
            {"Tenancy": "host", "HostId": "h-12345678", "Affinity": "host"},
        ),
    ],
)
def test_what_is_written_is_asked_for(written: dict[str, Json], key: str, value: Json) -> None:
    assert parameters(written)[key] == value
    assert key not in parameters() or parameters()[key] != value


def test_metadata_options_are_asked_for_as_written() -> None:
    metadata: Json = {"tokens": "optional", "hop_limit": 2, "tags": True}
    assert parameters({"metadata": metadata})["MetadataOptions"] == {
        "HttpEndpoint": "enabled", "HttpTokens": "optional", "HttpPutResponseHopLimit": 2,
        "InstanceMetadataTags": "enabled",
    }  # fmt: skip


def test_user_data_goes_as_bytes_because_boto3_makes_base64_of_it() -> None:
    assert parameters(user_data=b"\x1f\x8b\x00")["UserData"] == b"\x1f\x8b\x00"


def test_the_same_input_gives_the_same_parameters() -> None:
    assert parameters(WHOLE_MACHINE) == parameters(WHOLE_MACHINE)


@pytest.mark.parametrize("size", [0, 1, MAX_USER_DATA])
def test_user_data_within_the_limit_stays_as_it_is(size: int) -> None:
    assert packed_user_data(b"#" * size) == b"#" * size


def test_user_data_over_the_limit_is_compressed_the_same_each_time() -> None:
    user_data = b"#cloud-config\n" * 10_000
    packed = packed_user_data(user_data)
    assert len(packed) <= MAX_USER_DATA and gzip.decompress(packed) == user_data
    assert packed == packed_user_data(user_data)


def test_user_data_that_gzip_cannot_help_is_refused_with_both_sizes() -> None:
    user_data = random.Random(7).randbytes(20_000)
    with pytest.raises(ProviderError, match=r"20000 bytes, 20\d\d\d compressed, and EC2 takes 16384"):
        packed_user_data(user_data)
