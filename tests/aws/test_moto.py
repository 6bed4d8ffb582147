"""A second opinion: the provider against moto, by people who never saw our own fake, as far as moto is like EC2."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest

from infrakit_providers.aws import plugin
from infrakit_py.clock import SystemClock
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import Leftover, ProviderContext
from infrakit_py.testing.conformance import ConformanceTarget, ProviderConformance
from tests.aws.ground import MACHINE, SETTINGS, UNKNOWN, credentials, image, opened
from tests.aws.moto_server import moto_server

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

REGION: Final = "eu-central-1"
DISK: Final[Mapping[str, Json]] = {"name": "data", "device": "/dev/sdf", "size": "1GiB"}
TOKENS: Final = "moto repeats a launch that comes again with the same ClientToken"
BEYOND_MOTO: Final = {
    "test_the_same_token_gives_the_same_instance": TOKENS,
    "test_the_same_token_from_many_threads_gives_one_instance": TOKENS,
    "test_the_same_token_from_several_processes_gives_one_instance": TOKENS,
    "test_a_token_with_other_parameters_makes_no_second_instance": TOKENS,
}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as url, credentials(url):
        yield url


@pytest.fixture(scope="module")
def aws(moto: str) -> Callable[[str], Any]:
    """Make clients past the provider."""
    return lambda service: boto3.client(service, region_name=REGION)  # type: ignore[call-overload]  # by name


@pytest.fixture(scope="module")
def target(aws: Callable[[str], Any]) -> Iterator[ConformanceTarget]:
    ec2: EC2Client = aws("ec2")
    clock = SystemClock()

    def make_foreign() -> InstanceId:
        answer = ec2.run_instances(ImageId=image().reference, MinCount=1, MaxCount=1)
        return InstanceId(answer["Instances"][0]["InstanceId"])

    def stop(instance_id: InstanceId) -> None:
        ec2.stop_instances(InstanceIds=[instance_id])

    with ConformanceTarget(
        provider=opened(clock),
        open_another=lambda: opened(clock),
        machine=MACHINE,
        other_machine={"instance_types": "t3.small"},
        image=image(),
        clock=clock,
        unknown_id=UNKNOWN,
        within_seconds=20,
        plugin=plugin,
        machine_with_disk={**MACHINE, "data_disks": [DISK]},
        stop=stop,
        make_foreign=make_foreign,
    ) as target:
        yield target


class TestOnMoto(ProviderConformance):
    @pytest.fixture(autouse=True)
    def _expected(self, request: pytest.FixtureRequest) -> None:
        """Let exactly those fail that ask for what moto has not got."""
        if reason := BEYOND_MOTO.get(request.node.name):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


def test_a_machine_takes_its_place_in_a_target_group_and_leaves_it(
    target: ConformanceTarget, aws: Callable[[str], Any]
) -> None:
    elbv2, vpc = aws("elbv2"), aws("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    answer = elbv2.create_target_group(Name="web", Protocol="HTTP", Port=80, VpcId=vpc)
    group = answer["TargetGroups"][0]["TargetGroupArn"]

    def members() -> list[str]:
        found = elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return [one["Target"]["Id"] for one in found]

    request = target.request(cluster := target.new_cluster())
    request = replace(request, machine={**MACHINE, "target_groups": ["web"]})
    (id_,) = target.boot(request)
    assert "its place in target group web" in running(target, cluster).lacks
    assert target.boot(request) == [id_]
    assert members() == [id_]
    assert not running(target, cluster).lacks
    assert [one.error for one in target.destroy([running(target, cluster)])] == [None]
    assert members() == []


def test_a_member_finds_its_disk_and_its_address_again(target: ConformanceTarget, aws: Callable[[str], Any]) -> None:
    cluster = target.new_cluster()
    kept: list[tuple[str, list[Leftover]]] = []
    for incarnation in range(2):
        request = target.named_request(cluster, "db-1", incarnation=incarnation)
        request = replace(request, machine={**request.machine, "elastic_ip": True})
        target.boot(request)
        assert running(target, cluster).lacks
        target.boot(request)
        instance = running(target, cluster)
        assert not instance.lacks
        kept.append((instance.addresses[1], list(target.provider.leftovers(cluster))))
        target.destroy([instance])
        assert target.eventually(lambda: not target.listed(cluster))
    assert kept[0] == kept[1]
    aws("ec2").disassociate_address(PublicIp=kept[0][0])  # moto leaves it with a machine that is terminated
    swept = target.provider.sweep(cluster, kept[0][1])
    assert [one.error for one in swept] == [None, None]
    assert not target.provider.leftovers(cluster)


def test_a_parameter_stands_for_the_image_that_it_holds(target: ConformanceTarget, aws: Callable[[str], Any]) -> None:
    aws("ssm").put_parameter(Name="/images/web", Value=image().reference, Type="String")
    assert target.provider.resolve("ssm:/images/web") == image().reference
    with pytest.raises(ProviderError, match="/images/db"):
        target.provider.resolve("ssm:/images/db")


def test_it_works_as_a_role(target: ConformanceTarget) -> None:
    role: Json = {"role_arn": "arn:aws:iam::123456789012:role/infrakit"}
    provider = plugin.open({**SETTINGS, "assume_role": role}, ProviderContext(SystemClock(), Path()))
    (id_,) = target.boot(target.request(cluster := target.new_cluster()))
    try:
        assert [instance.id for instance in provider.describe(cluster)] == [id_]
    finally:
        provider.close()


def running(target: ConformanceTarget, cluster: str) -> Instance:
    """Return a cluster's only machine, once it runs."""

    def found() -> list[Instance]:
        return [one for one in target.listed(cluster) if one.state is InstanceState.RUNNING]

    assert target.eventually(lambda: len(found()) == 1)
    return found()[0]
