"""The models of the services are law: for requests, and for what the fake itself says."""

import json
from http.client import HTTPConnection

import pytest

from infrakit_py.clock import VirtualClock
from tests.fakes.account import Account, client, raw, refused
from tests.fakes.ec2 import FakeEC2
from tests.fakes.ec2.actions import Handler
from tests.fakes.ec2.errors import OwnMistake
from tests.fakes.ec2.front import Service
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.settings import LINUX
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply, XmlWriter, as_json

_RUN = {"ImageId": LINUX, "InstanceType": "m5.large", "MinCount": "1", "MaxCount": "1"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"ImageID": LINUX},
        {"Placement.AvailabilityZon": "eu-central-1a"},
        {"TagSpecifications.1.ResourceType": "instance"},
        {"TagSpecification.1.Tags.1.Key": "a"},
        {"TagSpecification.first.ResourceType": "instance"},
        {"SubnetId.1": "subnet-1"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_misspelt_member_of_a_request_is_refused(account: Account, wrong: dict[str, str]) -> None:
    status, text = account.raw("RunInstances", **_RUN, **wrong)
    assert (status, "UnknownParameter" in text) == (400, True)
    assert account.fake.ids() == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"MaxCount": "many"}, "InvalidParameterValue"),
        ({"EbsOptimized": "perhaps"}, "InvalidParameterValue"),
        ({"InstanceInitiatedShutdownBehavior": "explode"}, "InvalidParameterValue"),
    ],
    ids=["number", "truth", "word"],
)
def test_a_value_of_the_wrong_kind_is_refused(account: Account, wrong: dict[str, str], code: str) -> None:
    status, text = account.raw("RunInstances", **(_RUN | wrong))
    assert (status, code in text) == (400, True)


def test_a_parameter_that_is_required_is_missed(account: Account) -> None:
    status, text = account.raw("RunInstances", ImageId=LINUX, MinCount="1")
    assert (status, "MissingParameter" in text, "MaxCount" in text) == (400, True, True)


def test_an_unknown_action_is_refused(account: Account) -> None:
    assert "InvalidAction" in account.raw("RunInstance")[1]
    assert account.refused("describe_regions") == "InvalidAction"


def test_a_misspelt_member_is_refused_in_the_other_protocols_too(account: Account) -> None:
    status, text = raw(
        account.fake.url, {"Action": "DescribeTargetGroups", "Version": "2015-12-01", "Name.member.1": "web"}
    )
    assert (status, "UnknownParameter" in text) == (400, True)
    connection = HTTPConnection(account.fake.url.removeprefix("http://"))
    body = json.dumps({"Nam": "/x"})
    connection.request("POST", "/", body, {"X-Amz-Target": "AmazonSSM.GetParameter"})
    response = connection.getresponse()
    assert (response.status, b"SerializationException" in response.read()) == (400, True)
    connection.close()


def _misspelt(world: World, asked: Asked) -> Reply:
    return {"Vpcs": [{"VpcID": "vpc-1"}]}


def _no_such_word(world: World, asked: Asked) -> Reply:
    return {"Vpcs": [{"VpcId": "vpc-1", "State": "splendid"}]}


@pytest.mark.parametrize("handler", [_misspelt, _no_such_word], ids=["member", "word"])
def test_what_the_model_does_not_know_in_a_reply_is_the_fakes_own_mistake(handler: Handler) -> None:
    with FakeEC2(clock=VirtualClock()) as fake:
        fake.front.handlers["ec2"]["DescribeVpcs"] = handler
        assert refused(client("ec2", fake.url), "describe_vpcs") == "InternalError"
        assert len(fake.mistakes) == 1


def test_a_reply_is_checked_down_to_its_leaves() -> None:
    ec2, ssm = Service("ec2"), Service("ssm")
    instance = ec2.model.shape_for("Instance")
    write = XmlWriter().of(instance)
    assert write({"InstanceId": "i-1"}) == "<instanceId>i-1</instanceId>"
    for wrong in (
        {"InstanceIdd": "i-1"},
        {"State": {"Name": "asleep"}},
        {"AmiLaunchIndex": "0"},
        {"EbsOptimized": 1},
    ):
        with pytest.raises(OwnMistake):
            write(wrong)
    with pytest.raises(OwnMistake):
        as_json(ssm.model.shape_for("Parameter"), {"Nam": "x"})
