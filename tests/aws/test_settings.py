"""What a user may write for AWS, and what is said of mistakes."""

import json
import subprocess
import sys

import jsonschema
import pytest
from pydantic import ValidationError

from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.settings import Settings, complaints
from infrakit_providers.aws.volumes import GIB
from infrakit_py.model.spec import Image, ImageForm, Json
from infrakit_py.spi.provider import MachineReview, Rate
from tests.aws.material import AMI, WHOLE_MACHINE, WHOLE_SETTINGS


def said(machine: dict[str, Json], image: Image | None = None, *, named: bool = False) -> list[str]:
    written = {"instance_types": "m5.large", **machine}
    review = MachineReview(settings={"region": "eu-central-1"}, machine=written, image=image, named=named)
    return [f"{'.'.join(map(str, one.path))}: {one.message}" for one in complaints(review)]


def mistakes(machine: dict[str, Json]) -> list[tuple[str, str]]:
    """Return places and messages of what the model refuses."""
    with pytest.raises(ValidationError) as caught:
        Machine.model_validate({"instance_types": ["m5.large"], **machine})
    return [(".".join(map(str, one["loc"])), one["msg"]) for one in caught.value.errors()]


def disk(**written: Json) -> dict[str, Json]:
    return {"disks": [{"device": "/dev/sdf", **written}]}


def test_everything_that_may_be_written_is_accepted() -> None:
    machine = Machine.model_validate(WHOLE_MACHINE)
    settings = Settings.model_validate(WHOLE_SETTINGS)

    assert set(WHOLE_MACHINE) | {"zones"} == set(Machine.model_fields), "a field is missing in the material"
    assert set(WHOLE_SETTINGS) == set(Settings.model_fields), "a field is missing in the material"
    assert machine.root_disk is not None and machine.root_disk.size == 20 * GIB
    assert settings.limits.run_instances.rate == Rate(10, 4)


@pytest.mark.parametrize(("model", "written"), [(Machine, WHOLE_MACHINE), (Settings, WHOLE_SETTINGS)])
def test_the_json_schema_accepts_what_the_model_accepts(
    model: type[Machine | Settings], written: dict[str, Json]
) -> None:
    schema = model.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(json.dumps(written)), schema)


def test_defaults_are_ec2_s_own_or_the_safe_ones() -> None:
    machine, settings = Machine.model_validate({"instance_types": "m5.large"}), Settings(region="eu-central-1")
    assert machine.instance_types == ("m5.large",)
    assert (machine.metadata.tokens, machine.metadata.hop_limit, machine.metadata.tags) == ("required", 1, False)
    assert (machine.capacity.on_demand_base, machine.capacity.spot_percent) == (0, 0)
    assert (settings.listing_lag, settings.capacity_memory, settings.parallel_calls) == (30, 180, 8)
    assert settings.limits.run_instances.rate == Rate(5, 2)
    assert settings.limits.run_instances_machines.rate == Rate(1000, 2)
    assert settings.limits.terminate_instances.rate == Rate(100, 5)


@pytest.mark.parametrize(
    "written",
    [
        {}, {"region": "eu-central-1a"}, {"region": "Frankfurt"}, {"region": "eu-central-1", "regions": []},
        {"region": "eu-central-1", "listing_lag": 30}, {"region": "eu-central-1", "capacity_memory": "-1s"},
        {"region": "eu-central-1", "parallel_calls": 0}, {"region": "eu-central-1", "profile": ""},
        {"region": "eu-central-1", "assume_role": {"role_arn": "deployer"}},
        {"region": "eu-central-1", "assume_role": {"role_arn": "arn:aws:iam::123456789012:role/d", "duration": "1m"}},
        {"region": "eu-central-1", "limits": {"describe": {"burst": 0, "per_second": 1}}},
        {"region": "eu-central-1", "limits": {"describe": {"burst": 5}}},
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(written: dict[str, Json]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(written)


@pytest.mark.parametrize(
    "region", ["eu-central-1", "us-gov-west-1", "ap-southeast-7", "us-isob-east-1", "eusc-de-east-1"]
)
def test_regions_of_every_partition_are_accepted(region: str) -> None:
    assert Settings(region=region).region == region


@pytest.mark.parametrize(
    "written",
    [
        {"instance_types": []}, {"instance_types": "m5"}, {"instance_types": ["m5.large", "m5.large"]},
        {"subnets": []}, {"subnets": ["vpc-12345678"]}, {"zones": ["a"]}, {"security_groups": ["web"]},
        {"instance_profile": "no spaces"}, {"public_ip": "yes"}, {"ipv6": -1}, {"elastic_ip": 1},
        {"metadata": {"hop_limit": 65}}, {"metadata": {"tokens": "v2"}}, {"cpu": {"cores": 2}},
        {"cpu": {"cores": 0, "threads_per_core": 1}}, {"capacity": {"spot_percent": 101}},
        {"capacity": {"on_demand_base": -1}}, {"capacity": {"interruption": "reboot"}},
        {"capacity": {"allocation": "diversified"}}, {"placement": {"tenancy": "shared"}},
        {"target_groups": ["-web"]}, {"type": "m5.large"}, {"root_disk": "20GiB"}, {"root_disk": {"size": 20}},
        {"root_disk": {"size": "0B"}}, {"disks": [{"size": "20GiB"}]},
        {"disks": [{"device": "sdf1x", "size": "1GiB"}]},
        {"data_disks": [{"name": "Data", "device": "/dev/sdf", "size": "1GiB"}]},
        {"data_disks": [{"name": "data", "device": "/dev/sdf"}]}, {"tags": {"instances": {}}},
        {"root_disk": {"kms_key": "my-key"}},
    ],
)  # fmt: skip
def test_wrong_machines_are_refused(written: dict[str, Json]) -> None:
    assert mistakes(written)


@pytest.mark.parametrize(
    ("kind", "size"),
    [("gp3", "65536GiB"), ("gp2", "1GiB"), ("st1", "125GiB"), ("sc1", "16TiB"), ("standard", "1TiB")],
)
def test_sizes_that_ebs_has_are_accepted(kind: str, size: str) -> None:
    assert Machine.model_validate({"instance_types": "m5.large", **disk(type=kind, size=size)})


@pytest.mark.parametrize(
    ("written", "place", "message"),
    [
        (disk(size="1500MiB"), "size", "EBS volumes have whole GiB; write 2GiB"),
        (disk(size="10GB"), "size", "EBS volumes have whole GiB; write 10GiB"),
        (disk(size="65TiB"), "size", "gp3 volumes have 1GiB to 65536GiB, not 65TiB"),
        (disk(size="100GiB", type="st1"), "size", "st1 volumes have 125GiB to 16384GiB, not 100GiB"),
        (disk(size="2GiB", type="io2", iops=100), "size", "io2 volumes have 4GiB to 65536GiB, not 2GiB"),
        (disk(size="20GiB", type="gp2", iops=3000), "iops", "only gp3, io1 and io2 volumes have iops"),
        (disk(size="20GiB", iops=2000), "iops", "gp3 volumes have 3000 to 80000 iops"),
        (disk(size="20GiB", iops=20_000), "iops", "gp3 volumes have at most 500 iops a GiB; 20000 need 40GiB"),
        (
            disk(size="20GiB", type="io1", iops=2000),
            "iops",
            "io1 volumes have at most 50 iops a GiB; 2000 need 40GiB",
        ),
        (disk(size="20GiB", type="io1"), "", "io1 volumes need iops"),
        (
            disk(size="20GiB", type="io2", iops=500, throughput=200),
            "throughput",
            "only gp3 volumes have a throughput",
        ),
        (disk(size="20GiB", throughput=100), "throughput", "gp3 volumes have a throughput of 125 to 2000 MiB/s"),
        (disk(size="20GiB", throughput=1000), "throughput", "1000 MiB/s needs iops: 4000 or more"),
        (disk(size="20GiB", encrypted=False, kms_key="alias/disks"), "kms_key", "kms_key is for encrypted volumes"),
        (disk(), "", "a disk needs a size, such as size: 100GiB, or a snapshot"),
    ],
)
def test_a_wrong_volume_is_told_what_ebs_allows(written: dict[str, Json], place: str, message: str) -> None:
    [(where, what)] = mistakes(written)
    assert where == f"disks.0.{place}".removesuffix(".") and message in what


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"subnets": ["subnet-12345678"], "zones": ["eu-central-1a"]}, "write subnets or zones, not both"),
        ({"root_disk": {"type": "st1"}}, "machines cannot boot from st1 volumes; write gp3"),
        ({"placement": {"partition": 2}}, "write group, or leave partition out"),
        ({"placement": {"host_id": "h-12345678"}}, "write tenancy: host, or leave them out"),
        ({"capacity": {"max_price": "cheap"}}, "not a price: 'cheap' (write USD an hour, such as 0.05)"),
        ({"capacity": {"max_price": 0.001}}, "must be more than 0.001 USD an hour"),
        ({"tags": {"instance": {"aws:name": "x"}}}, "tags that start with aws: are not the user's"),
        ({"tags": {"volumes": {"infrakit.cluster": "x"}}}, "tags that start with infrakit. are not the user's"),
        ({"tags": {"interfaces": {"k" * 129: "x"}}}, "a tag's key has 1 to 128 characters, not 129"),
        ({"tags": {"instance": {"": "x"}}}, "a tag's key has 1 to 128 characters, not 0"),
        ({"tags": {"instance": {"k": "v" * 257}}}, "k: a tag's value has at most 256 characters, not 257"),
        ({"tags": {"instance": {f"k{n}": "" for n in range(31)}}}, "31 tags: at most 30"),
        ({"metadata": {"tags": True}, "tags": {"instance": {"a/b": ""}}}, "keys have neither spaces nor slashes"),
        ({"instance_types": ["m5.large", "m6i.large", "m5.large"]}, "m5.large is there twice"),
        ({"instance_types": "m5"}, "must look like m5.large"),
        ({"zones": "eu-central-1a"}, "must be a list, such as [eu-central-1a]"),
        ({"disks": {"device": "/dev/sdf"}}, "must be a list"),
        ({"root_disk": {"kms_key": "disks"}}, "must be a key's id or ARN, or alias/NAME"),
        ({"target_groups": ["a" * 33]}, "must be the name or the ARN of a target group"),
    ],
)
def test_mistakes_say_what_to_write(written: dict[str, Json], message: str) -> None:
    [(_, what)] = mistakes(written)
    assert message in what


@pytest.mark.parametrize("device", ["/dev/sdf", "/dev/xvdf", "xvdf", "sdf"])
def test_no_two_disks_share_a_device(device: str) -> None:
    data: Json = [{"name": "data", "device": "/dev/sdf", "size": "1GiB"}]
    [(_, what)] = mistakes({"disks": [{"device": device, "size": "1GiB"}], "data_disks": data})
    assert "two disks want the device /dev/sdf" in what


def test_no_disk_takes_the_root_disk_s_device() -> None:
    [(_, what)] = mistakes({"root_disk": {"device": "/dev/xvda"}, "disks": [{"device": "/dev/sda", "size": "1GiB"}]})
    assert "two disks want the device /dev/sda" in what


def test_no_two_data_disks_share_a_name() -> None:
    disks: Json = [{"name": "data", "device": f"/dev/sd{letter}", "size": "1GiB"} for letter in "fg"]
    assert mistakes({"data_disks": disks}) == [
        ("data_disks", "Value error, two data disks are named data; each needs a name of its own")
    ]


@pytest.mark.parametrize(
    ("written", "price"), [(0.05, "0.05"), ("0.0416", "0.0416"), (1, "1"), (0.0123456, "0.0123456")]
)
def test_a_price_becomes_text_without_an_exponent(written: Json, price: str) -> None:
    machine = Machine.model_validate({"instance_types": "m5.large", "capacity": {"max_price": written}})
    assert machine.capacity.max_price == price


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (
            {"data_disks": [{"name": "data", "device": "/dev/sdf", "size": "1GiB"}]},
            "data_disks: only members with logical_ids keep data disks; a group with a size has none",
        ),
        ({"elastic_ip": True}, "elastic_ip: only members with logical_ids keep an address"),
        ({"keep_interface": True}, "keep_interface: only members with logical_ids keep an interface"),
    ],
)
def test_what_outlives_a_machine_needs_a_name(machine: dict[str, Json], message: str) -> None:
    assert [line[: len(message)] for line in said(machine)] == [message]
    assert said(machine, named=True) == []


@pytest.mark.parametrize(
    ("machine", "place"),
    [
        ({"keep_interface": True, "public_ip": True}, "public_ip"),
        ({"capacity": {"interruption": "stop"}}, "capacity.interruption"),
        ({"capacity": {"interruption": "hibernate", "on_demand_base": 2}}, "capacity.interruption"),
        ({"capacity": {"max_price": 0.05}}, "capacity.max_price"),
        ({"capacity": {"allocation": "lowest-price"}}, "capacity.allocation"),
        ({"capacity": {"spot_percent": 50}, "placement": {"tenancy": "host"}}, "capacity.spot_percent"),
        ({"zones": ["eu-central-1a", "eu-west-1a"]}, "zones.1"),
        ({"zones": ["eu-central-1"]}, "zones.0"),
        (
            {
                "target_groups": [
                    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"
                ]
            },
            "target_groups.0",
        ),
    ],
)
def test_what_does_not_fit_together_is_complained_of_where_it_stands(machine: dict[str, Json], place: str) -> None:
    assert [line.split(": ")[0] for line in said(machine, named=True)] == [place]


def test_named_members_may_be_spot_machines() -> None:
    assert said({"capacity": {"spot_percent": 100, "interruption": "stop"}}, AMI, named=True) == []


@pytest.mark.parametrize(
    "reference", ["ami-0123456789abcdef0", "ami-12345678", "ssm:/aws/service/x/recommended/image_id"]
)
def test_amis_and_parameters_boot(reference: str) -> None:
    assert said({}, Image("web", "ab" * 32, ImageForm.REFERENCE, reference=reference)) == []


@pytest.mark.parametrize("reference", ["", "debian-12", "AMI-12345678", "ssm:", "ami-12345678/x"])
def test_other_references_do_not_boot(reference: str) -> None:
    [line] = said({}, Image("web", "ab" * 32, ImageForm.REFERENCE, reference=reference))
    assert "image web: a reference is an AMI's id (ami-...)" in line


def test_nothing_of_it_imports_the_sdk() -> None:
    modules = ", ".join(
        f"infrakit_providers.aws.{name}"
        for name in ("settings", "launch_parameters", "permissions", "marks", "metadata_service")
    )
    code = f"import sys, {modules}; sys.exit(any(name in sys.modules for name in ('boto3', 'botocore')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
