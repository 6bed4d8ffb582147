"""One fake account with its clients, and what tests say of it in short."""

from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cached_property
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infrakit_py.clock import VirtualClock
from tests.fakes.ec2 import FakeEC2, FakeSettings
from tests.fakes.ec2.settings import LINUX, SUBNETS

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client

_SESSION: Final[Any] = boto3.session.Session()
ONCE: Final = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10)


def client(service: Any, url: str, *, region: str = "eu-central-1", **credentials: str) -> Any:
    """Return a client that tries each call once."""
    credentials = credentials or {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    return _SESSION.client(service, endpoint_url=url, region_name=region, config=ONCE, **credentials)


class Account:
    """A fake on a virtual clock."""

    def __init__(self, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.fake = FakeEC2(FakeSettings(**settings), self.clock)

    @cached_property
    def ec2(self) -> "EC2Client":
        made: EC2Client = client("ec2", self.fake.url)
        return made

    @cached_property
    def elb(self) -> "ElasticLoadBalancingv2Client":
        made: ElasticLoadBalancingv2Client = client("elbv2", self.fake.url)
        return made

    def check(self) -> None:
        assert self.fake.mistakes == []

    def run(self, count: int = 1, **wanted: Any) -> list[str]:
        """Run so many instances in zone a, or as the request says. Return their ids."""
        return [one["InstanceId"] for one in self.reserve(count, **wanted)["Instances"]]

    def reserve(self, count: int = 1, **wanted: Any) -> Any:
        request = {"ImageId": LINUX, "InstanceType": "m5.large", "MinCount": count, "MaxCount": count, **wanted}
        if not {"SubnetId", "NetworkInterfaces", "Placement"} & set(request):
            request["SubnetId"] = SUBNETS["a"]
        return self.ec2.run_instances(**{name: value for name, value in request.items() if value is not None})

    def boot(self, count: int = 1, **wanted: Any) -> list[str]:
        """Run instances and wait until they are running."""
        ids = self.run(count, **wanted)
        self.clock.sleep(self.fake.world.settings.boot_seconds)
        return ids

    def listed(self, **filters: str | list[str]) -> list[str]:
        """Return the ids of the instances that filters let through; __ in a name stands for a hyphen."""
        return [one["InstanceId"] for one in self.see(**filters)]

    def see(self, *ids: str, **filters: str | list[str]) -> list[Any]:
        wanted: list[Any] = [
            {"Name": name.replace("__", "-"), "Values": [values] if isinstance(values, str) else values}
            for name, values in filters.items()
        ]
        asked: dict[str, Any] = {"InstanceIds": list(ids)} if ids else {"Filters": wanted} if wanted else {}
        answer = self.ec2.describe_instances(**asked)
        return [one for reservation in answer["Reservations"] for one in reservation["Instances"]]

    def state(self, instance_id: str) -> str:
        return str(self.see(instance_id)[0]["State"]["Name"])

    def end(self, *ids: str) -> None:
        """Terminate instances and wait until they are gone."""
        self.ec2.terminate_instances(InstanceIds=list(ids))
        self.clock.sleep(self.fake.world.settings.terminate_seconds)

    def raw(self, action: str, **members: str) -> tuple[int, str]:
        """Call EC2 without boto3, which would not let a mistake through. Return status and body."""
        return raw(self.fake.url, {"Action": action, "Version": "2016-11-15", **members})

    def refused(self, call: str, **asked: Any) -> str:
        """Return the code that an EC2 call is refused with."""
        return refused(self.ec2, call, **asked)


def raw(url: str, form: Mapping[str, str]) -> tuple[int, str]:
    """Post a form to a server on this machine."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
    with closing(connection):
        connection.request("POST", "/", urlencode(form).encode())
        response = connection.getresponse()
        return response.status, response.read().decode()


def refused(client: Any, call: str, **asked: Any) -> str:
    with pytest.raises(ClientError) as caught:
        getattr(client, call)(**asked)
    return str(caught.value.response["Error"]["Code"])


def tagged(tags: Mapping[str, str], kind: str = "instance") -> list[Any]:
    """Return a TagSpecifications."""
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


Opens = Callable[..., Account]
"""Opens an account with settings."""
