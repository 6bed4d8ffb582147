"""What an examination says of an account: on the fake EC2, with one thing wrong at a time."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import pytest

from infrakit_py.clock import VirtualClock
from infrakit_py.model import tags
from infrakit_py.model.spec import Image, Json
from infrakit_py.spi.provider import Examining, Finding, Grade, Provider, ProvisionRequest, Wanted
from tests.aws.ground import SETTINGS, fake_ec2, image, opened
from tests.fakes.ec2 import FakeEC2, FakeSettings
from tests.fakes.ec2.actions import Handler
from tests.fakes.ec2.errors import AwsError
from tests.fakes.ec2.settings import LINUX, LINUX_ARM, SUBNETS, VPC, WEB_GROUP
from tests.fakes.ec2.tables import TargetGroup

A, B, C = (f"eu-central-1{letter}" for letter in "abc")
ROLE = "arn:aws:iam::123456789012:role/infrakit"
DATA_DISKS: Json = [{"name": "data", "device": "/dev/sdf", "size": "1GiB"}]
WHOLE: Mapping[str, Json] = {
    "security_groups": [WEB_GROUP], "key_name": "operator", "target_groups": ["web"], "data_disks": DATA_DISKS,
    "instance_types": ["t3.micro", "t3.small"], "capacity": {"spot_percent": 50},
}  # fmt: skip


@dataclass
class Scene:
    """An account, and a provider of it."""

    fake: FakeEC2
    clock: VirtualClock
    provider: Provider

    def examine(self, *wanted: Wanted) -> list[Finding]:
        assert isinstance(self.provider, Examining)
        return list(self.provider.examine("shop", wanted))

    def found(self, about: str, *wanted: Wanted) -> Finding:
        findings = self.examine(*wanted)
        matching = [one for one in findings if one.about == about]
        assert len(matching) == 1, findings
        return matching[0]

    def refuse(self, service: str, action: str, error: AwsError) -> None:
        """Let each call of an action fail, also those that are only rehearsed."""
        self.fake.front.handlers[service] = Refusing(self.fake.front.handlers[service], {action: error})

    def forbid(self, service: str, action: str) -> None:
        code = "UnauthorizedOperation" if service == "ec2" else "AccessDenied"
        message = f"You are not authorized: {action}. Encoded authorization failure message: {'x' * 500}"
        self.refuse(service, action, AwsError(code, message, 403))

    def boot(self, count: int, group: str = "web") -> None:
        """Let machines of a group run."""
        requests = []
        for slot in map(str, range(count)):
            token = tags.token("shop", group, slot, 0)
            own = {
                tags.CLUSTER: "shop", tags.GROUP: group, tags.SLOT: slot, tags.INCARNATION: "0", tags.TOKEN: token,
            }  # fmt: skip
            requests.append(ProvisionRequest(token, f"{group}-{slot}", own, image(), {"instance_types": "t3.micro"}))
        outcomes = self.provider.provision(requests)
        assert all(one.error is None for one in outcomes), outcomes
        self.clock.sleep(60)


class Refusing(dict[str, Handler]):
    """A service's handlers, some of which are refused before anything is looked at."""

    def __init__(self, handlers: Mapping[str, Handler], errors: Mapping[str, AwsError]) -> None:
        super().__init__(handlers)
        self.errors = {**getattr(handlers, "errors", {}), **errors}

    def get(self, name: str, default: object = None) -> Handler | None:  # type: ignore[override]  # as it is used
        if name in self.errors:
            raise self.errors[name]
        return super().get(name)


@contextmanager
def scene(settings: FakeSettings | None = None, written: Mapping[str, Json] = SETTINGS) -> Iterator[Scene]:
    clock = VirtualClock()
    with fake_ec2(settings, clock) as fake:
        provider = opened(clock, written)
        yield Scene(fake, clock, provider)
        provider.close()


@pytest.fixture(name="shop")
def _shop() -> Iterator[Scene]:
    with scene() as one:
        yield one


def wants(count: int = 3, group: str = "web", of: Image | None = None, **machine: Json) -> Wanted:
    return wants_such(machine, count, group, of)


def wants_such(machine: Mapping[str, Json], count: int = 3, group: str = "web", of: Image | None = None) -> Wanted:
    written: dict[str, Json] = {"instance_types": "t3.micro", **machine}
    return Wanted(group, written, of or image(), count, named="data_disks" in machine)


def test_all_is_well_where_all_is_well(shop: Scene) -> None:
    findings = shop.examine(wants_such(WHOLE))
    assert {(one.about, one.grade) for one in findings if one.grade is not Grade.OK} == set()
    assert {one.about for one in findings} == {
        "credentials", "region eu-central-1", "machines", "group web: image", "group web: instance types",
        "group web: subnets", "group web: security groups", "group web: key pair", "group web: target group web",
        "group web: launch", "group web: launch (spot)", "group web: launch template", "group web: data disks",
        "tag and terminate", "quota: on-demand vCPUs", "quota: spot vCPUs",
    }  # fmt: skip


def test_nothing_is_changed(shop: Scene) -> None:
    shop.boot(2)
    before = shop.fake.picture()
    shop.examine(wants_such(WHOLE))
    after = shop.fake.picture()
    assert {**after, "calls": {}} == {**before, "calls": {}}
    assert not shop.fake.world.templates


def test_who_asks_is_told(shop: Scene) -> None:
    detail = "account 123456789012, arn:aws:iam::123456789012:user/operator"
    assert shop.found("credentials", wants()) == Finding("credentials", Grade.OK, detail)


@pytest.mark.parametrize(
    ("code", "hint"),
    [("ExpiredToken", "get new ones"), ("InvalidClientTokenId", "look at the keys"), ("AccessDenied", "assume")],
)
def test_bad_credentials_end_the_examination(shop: Scene, code: str, hint: str) -> None:
    shop.refuse("sts", "GetCallerIdentity", AwsError(code, "no", 403))
    [one] = shop.examine(wants())
    assert (one.about, one.grade, one.detail) == ("credentials", Grade.PROBLEM, f"{code}: no")
    assert hint in one.hint


def test_a_role_that_cannot_be_assumed_is_one_of_the_credentials() -> None:
    with scene(written={**SETTINGS, "assume_role": {"role_arn": ROLE}}) as shop:
        shop.fake.close_role("infrakit")
        [one] = shop.examine(wants())
    assert one.grade is Grade.PROBLEM
    assert "sts:AssumeRole" in one.detail
    assert "trust" in one.hint


def test_without_credentials_it_says_how_to_give_some() -> None:
    with scene() as shop, patch.dict(os.environ):
        del os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        [one] = shop.examine(wants())
    assert one.grade is Grade.PROBLEM
    assert "profile, environment, role" in one.hint


def test_an_sts_that_does_not_answer_ends_nothing(shop: Scene) -> None:
    shop.refuse("sts", "GetCallerIdentity", AwsError("ServiceUnavailable", "busy", 503))
    findings = shop.examine(wants())
    assert (findings[0].grade, len(findings) > 5) == (Grade.WARNING, True)


def test_a_region_that_is_closed_ends_the_examination(shop: Scene) -> None:
    shop.refuse("ec2", "DescribeAvailabilityZones", AwsError("OptInRequired", "not opted in", 403))
    findings = shop.examine(wants())
    assert [(one.about, one.grade) for one in findings] == [
        ("credentials", Grade.OK), ("region eu-central-1", Grade.PROBLEM)
    ]  # fmt: skip


def test_a_region_that_cannot_be_reached_ends_the_examination() -> None:
    with scene() as shop, patch.dict(os.environ, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}):
        findings = shop.examine(wants())
    assert [(one.about, one.grade) for one in findings] == [
        ("credentials", Grade.WARNING), ("region eu-central-1", Grade.PROBLEM)
    ]  # fmt: skip
    assert "Could not connect" in findings[1].detail


@pytest.mark.parametrize(
    ("about", "wanted", "grade", "words"),
    [
        ("image", wants(of=image("ami-0123456789abcdef0")), Grade.PROBLEM, "ami-0123456789abcdef0 does not exist"),
        ("image", wants(of=image(LINUX_ARM)), Grade.PROBLEM, "is for arm64, and t3.micro has x86_64"),
        ("image", wants(of=image("ssm:/none")), Grade.PROBLEM, "cannot be examined: ParameterNotFound"),
        ("image", wants(root_disk={"size": "4GiB"}), Grade.PROBLEM, "root_disk has 4GiB, and the image needs 8GiB"),
        ("image", wants(root_disk={"device": "/dev/sda1"}), Grade.WARNING, "it will be another disk"),
        ("instance types", wants(instance_types="m9.huge"), Grade.PROBLEM, "m9.huge does not exist"),
        (
            "instance types", wants(instance_types=["c6i.large", "t3.micro"]), Grade.WARNING,
            f"c6i.large is not offered in {C}",
        ),
        (
            "instance types", wants(instance_types="c6i.large"), Grade.WARNING,
            f"c6i.large is not offered in {C}; there will be no machines in {C}",
        ),
        (
            "instance types", wants(instance_types="p3.2xlarge", zones=[B]), Grade.PROBLEM,
            f"p3.2xlarge: not offered in {B}",
        ),
        (
            "instance types", wants(instance_types=["t3.micro", "p3.2xlarge"], zones=[B]), Grade.WARNING,
            f"p3.2xlarge is not offered in {B}",
        ),
        ("subnets", wants(subnets=["subnet-12345678"]), Grade.PROBLEM, "subnet-12345678 does not exist"),
        ("subnets", wants(zones=["eu-central-1z"]), Grade.PROBLEM, "no default subnet in eu-central-1z"),
        ("security groups", wants(security_groups=["sg-12345678"]), Grade.PROBLEM, "sg-12345678 does not exist"),
        ("key pair", wants(key_name="nobody"), Grade.PROBLEM, "there is no key pair nobody"),
        ("target group none", wants(target_groups=["none"]), Grade.PROBLEM, "it does not exist"),
    ],
)  # fmt: skip
def test_what_a_group_names_must_be_there_and_fit(
    shop: Scene, about: str, wanted: Wanted, grade: Grade, words: str
) -> None:
    one = shop.found(f"group web: {about}", wanted)
    assert one.grade is grade
    assert words in one.detail


def test_an_image_by_a_parameter_is_examined(shop: Scene) -> None:
    one = shop.found("group web: image", wants(of=image("ssm:/infrakit/ami/linux")))
    assert (one.grade, one.detail) == (Grade.OK, f"{LINUX} (x86_64, available, root /dev/xvda)")


def test_an_image_that_is_not_available_is_a_problem(shop: Scene) -> None:
    shop.fake.world.images[LINUX].state = "pending"
    one = shop.found("group web: image", wants())
    assert (one.grade, one.detail) == (Grade.PROBLEM, f"{LINUX} is pending, not available")


def test_a_launch_that_cannot_be_rehearsed_is_a_finding(shop: Scene) -> None:
    one = shop.found("group web: launch", wants(of=image("ami-0123456789abcdef0")))
    assert (one.grade, one.detail) == (Grade.WARNING, "cannot be examined without an image and a subnet")


def test_where_nothing_is_wanted_access_is_examined(shop: Scene) -> None:
    about = [one.about for one in shop.examine()]
    assert about == ["credentials", "region eu-central-1", "machines", "tag and terminate"]


def test_several_mistakes_of_one_kind_are_one_finding(shop: Scene) -> None:
    one = shop.found("group web: subnets", wants(subnets=["subnet-12345678", "subnet-12345679", SUBNETS["a"]]))
    assert one.detail.splitlines() == [
        "subnet-12345678 does not exist here", "subnet-12345679 does not exist here"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("count", "there", "grade", "words"),
    [
        (33, 0, Grade.OK, "33 addresses free"),
        (34, 0, Grade.PROBLEM, "34 machines to come, and 33 addresses free"),
        (34, 3, Grade.PROBLEM, "31 machines to come, and 30 addresses free"),
    ],
    ids=["just enough", "too few", "those that are there have theirs"],
)
def test_machines_that_are_missing_need_addresses(count: int, there: int, grade: Grade, words: str) -> None:
    with scene(FakeSettings(subnet_bits=28)) as shop:
        shop.boot(there)
        one = shop.found("group web: subnets", wants(count))
    assert one.grade is grade
    assert words in one.detail


def test_a_subnet_without_room_for_its_share_is_warned_of() -> None:
    with scene(FakeSettings(subnet_bits=28)) as shop:
        shop.boot(3)
        shop.fake.world.subnets[SUBNETS["a"]].taken.update(range(200, 208))
        one = shop.found("group web: subnets", wants(21))
    assert one.grade is Grade.WARNING
    assert "an even share is 6" in one.detail


def test_groups_that_share_subnets_need_room_for_all() -> None:
    with scene(FakeSettings(subnet_bits=28)) as shop:
        one = shop.found("subnets of all groups", wants(20), wants(20, "db"))
    assert one.grade is Grade.PROBLEM
    assert "40 machines to come in all groups, and 33 addresses free" in one.detail


def target_group(**changed: str) -> Callable[[Scene], None]:
    def change(shop: Scene) -> None:
        described = shop.fake.front.handlers["elbv2"]["DescribeTargetGroups"]
        shop.fake.front.handlers["elbv2"]["DescribeTargetGroups"] = lambda world, asked: {
            "TargetGroups": [{**one, **changed} for one in described(world, asked)["TargetGroups"]]
        }

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (target_group(TargetType="ip"), "its targets are of the type ip"),
        (target_group(VpcId="vpc-2"), f"it is in vpc-2, and the machines' subnets in {VPC}"),
    ],
    ids=["type", "network"],
)  # fmt: skip
def test_a_target_group_must_take_the_machines(shop: Scene, change: Callable[[Scene], None], words: str) -> None:
    change(shop)
    one = shop.found("group web: target group web", wants(target_groups=["web"]))
    assert one.grade is Grade.PROBLEM
    assert words in one.detail


def test_a_target_group_by_its_arn_is_examined(shop: Scene) -> None:
    [group] = shop.fake.world.target_groups.values()
    assert isinstance(group, TargetGroup)
    assert shop.found("group web: target group web", wants(target_groups=[group.arn])).grade is Grade.OK


def test_security_groups_must_be_of_the_subnets_network(shop: Scene) -> None:
    described = shop.fake.front.handlers["ec2"]["DescribeSecurityGroups"]
    shop.fake.front.handlers["ec2"]["DescribeSecurityGroups"] = lambda world, asked: {
        "SecurityGroups": [{**one, "VpcId": "vpc-2"} for one in described(world, asked)["SecurityGroups"]]
    }
    one = shop.found("group web: security groups", wants(security_groups=[WEB_GROUP]))
    assert (one.grade, one.detail) == (
        Grade.PROBLEM, f"{WEB_GROUP} is in vpc-2, and the machines' subnets in {VPC}"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("action", "about"),
    [
        ("RunInstances", "group web: launch"),
        ("RunInstances", "group web: launch (spot)"),
        ("CreateLaunchTemplate", "group web: launch template"),
        ("CreateVolume", "group web: data disks"),
        ("CreateTags", "tag"),
        ("TerminateInstances", "terminate"),
    ],
)
def test_what_is_not_allowed_is_a_problem_and_says_what_to_allow(shop: Scene, action: str, about: str) -> None:
    shop.boot(1)
    shop.forbid("ec2", action)
    one = shop.found(about, wants_such(WHOLE))
    assert one.grade is Grade.PROBLEM
    assert one.detail.startswith("not allowed to ")
    assert one.detail.endswith(f"UnauthorizedOperation: You are not authorized: {action}.")
    assert "infra iam aws" in one.hint


def test_what_is_done_to_machines_is_rehearsed_on_one_that_is_there(shop: Scene) -> None:
    shop.boot(1)
    [id_] = shop.fake.ids()
    findings = shop.examine(wants())
    assert Finding("tag", Grade.OK, f"allowed to tag {id_}") in findings
    assert Finding("terminate", Grade.OK, f"allowed to terminate {id_}") in findings
    assert shop.fake.state_of(id_) == "running"


def test_without_a_machine_it_says_what_cannot_be_rehearsed(shop: Scene) -> None:
    one = shop.found("tag and terminate", wants())
    assert (one.grade, one.detail) == (Grade.OK, "examined only once the cluster has a machine")


def test_what_else_ec2_would_refuse_is_a_problem(shop: Scene) -> None:
    one = shop.found("group web: launch", wants(instance_profile="nobody"))
    assert one.grade is Grade.PROBLEM
    assert "Invalid IAM Instance Profile name" in one.detail


@pytest.mark.parametrize(
    ("service", "action", "about", "grade"),
    [
        ("ec2", "DescribeInstanceTypes", "instance types", Grade.WARNING),
        ("ec2", "DescribeInstanceTypeOfferings", "instance types", Grade.WARNING),
        ("ec2", "DescribeSecurityGroups", "group web: security groups", Grade.WARNING),
        ("ec2", "DescribeKeyPairs", "group web: key pair", Grade.WARNING),
        ("ec2", "DescribeAvailabilityZones", "region eu-central-1", Grade.WARNING),
        ("elbv2", "DescribeTargetGroups", "group web: target group web", Grade.WARNING),
        ("service-quotas", "GetServiceQuota", "quota: on-demand vCPUs", Grade.WARNING),
        ("ec2", "DescribeInstances", "machines", Grade.PROBLEM),
        ("ec2", "DescribeImages", "images", Grade.PROBLEM),
        ("ec2", "DescribeSubnets", "group web: subnets", Grade.PROBLEM),
    ],
)
def test_what_cannot_be_looked_at_is_a_finding_and_ends_nothing(
    shop: Scene, service: str, action: str, about: str, grade: Grade
) -> None:
    shop.forbid(service, action)
    findings = shop.examine(wants_such(WHOLE))
    [one] = [one for one in findings if one.about == about]
    assert one.grade is grade
    assert "cannot be examined: " in one.detail
    assert "infra iam aws" in one.hint
    assert all("cannot be examined" in other.detail for other in findings if other.grade is not Grade.OK)


@pytest.mark.parametrize(
    ("machine", "market", "allowed", "grade"),
    [
        ({"instance_types": "m5.large"}, "on-demand", 20, Grade.OK),
        ({"instance_types": "m5.large"}, "on-demand", 19, Grade.PROBLEM),
        ({"instance_types": "m5.large", "capacity": {"spot_percent": 100}}, "spot", 19, Grade.PROBLEM),
        (
            {"instance_types": "m5.large", "capacity": {"spot_percent": 50, "on_demand_base": 1}}, "on-demand", 12,
            Grade.OK,
        ),
        (
            {"instance_types": "m5.large", "capacity": {"spot_percent": 50, "on_demand_base": 1}}, "spot", 7,
            Grade.PROBLEM,
        ),
    ],
)  # fmt: skip
def test_all_machines_together_must_be_within_the_quota(
    machine: Mapping[str, Json], market: str, allowed: int, grade: Grade
) -> None:
    with scene(FakeSettings(vcpu_quota=allowed, spot_vcpu_quota=allowed)) as shop:
        one = shop.found(f"quota: {market} vCPUs", wants_such(machine, 5, "one"), wants_such(machine, 5, "two"))
    assert one.grade is grade
    assert f"{allowed} allowed" in one.detail


def test_types_with_quotas_of_their_own_are_not_counted(shop: Scene) -> None:
    about = {one.about for one in shop.examine(wants(instance_types="p3.2xlarge", zones=[A]))}
    assert "quota: on-demand vCPUs" not in about
