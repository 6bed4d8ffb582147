"""The fault proxy: each effect, seen from both ends."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ConnectionClosedError
from botocore.parsers import ResponseParserError

from tests.fakes.account import Account, client, refused
from tests.fakes.ec2.settings import LINUX
from tests.fakes.proxy import Call, CutReply, Delay, DropReply, DropRequest, FaultProxy, Limit, Say, Tap

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

RUN = "Action=RunInstances"


@pytest.fixture
def proxy(account: Account) -> Iterator[FaultProxy]:
    with ExitStack() as stack:
        yield stack.enter_context(FaultProxy(account.fake.url))


@pytest.fixture
def ec2(proxy: FaultProxy) -> "EC2Client":
    made: EC2Client = client("ec2", proxy.url)
    return made


def _run(ec2: "EC2Client", **wanted: Any) -> list[str]:
    made = ec2.run_instances(ImageId=LINUX, InstanceType="m5.large", MinCount=1, MaxCount=1, **wanted)
    return [one["InstanceId"] for one in made["Instances"]]


def _fails(act: Callable[[], object]) -> None:
    with pytest.raises(ConnectionClosedError):
        act()


def test_what_no_rule_strikes_passes(account: Account, proxy: FaultProxy, ec2: "EC2Client") -> None:
    proxy.add(RUN, DropRequest(), first=2)
    assert _run(ec2) == account.fake.ids()
    (logged,) = proxy.calls(RUN)
    assert (logged.status, logged.forwarded, logged.call.method) == (200, True, "POST")


def test_a_dropped_request_does_no_work(account: Account, proxy: FaultProxy, ec2: "EC2Client") -> None:
    rule = proxy.add(RUN, DropRequest())
    _fails(lambda: _run(ec2, ClientToken="t"))
    assert account.fake.ids() == []
    assert _run(ec2, ClientToken="t") == account.fake.ids()
    assert rule.seen == 2
    assert [(one.status, one.forwarded) for one in proxy.calls(RUN)] == [(None, False), (200, True)]


def test_a_dropped_reply_comes_after_the_work(account: Account, proxy: FaultProxy, ec2: "EC2Client") -> None:
    proxy.add(RUN, DropReply())
    _fails(lambda: _run(ec2, ClientToken="t"))
    assert len(account.fake.ids()) == 1
    assert _run(ec2, ClientToken="t") == account.fake.ids()


def test_half_a_reply_is_an_error_of_the_line(account: Account, proxy: FaultProxy, ec2: "EC2Client") -> None:
    proxy.add(RUN, CutReply())
    with pytest.raises(ResponseParserError):  # which is neither a BotoCoreError nor a ClientError
        _run(ec2)
    assert len(account.fake.ids()) == 1


def test_an_answer_can_be_made_up(account: Account, proxy: FaultProxy, ec2: "EC2Client") -> None:
    proxy.add("Action=Describe", Say(), times=2)
    assert refused(ec2, "describe_instances") == "RequestLimitExceeded"
    assert refused(ec2, "describe_instances") == "RequestLimitExceeded"
    ec2.describe_instances()
    assert account.fake.calls["DescribeInstances"] == 1


def test_the_nth_call_is_the_one_that_is_struck(proxy: FaultProxy, ec2: "EC2Client") -> None:
    proxy.add("Action=Describe", Say(), first=2)
    ec2.describe_vpcs()
    assert refused(ec2, "describe_subnets") == "RequestLimitExceeded"
    ec2.describe_subnets()


def test_a_bucket_refuses_until_time_has_passed(proxy: FaultProxy, ec2: "EC2Client") -> None:
    now = [0.0]
    proxy.add("Action=Describe", Limit(2, 1, now=lambda: now[0]), times=None)
    ec2.describe_vpcs()
    ec2.describe_vpcs()
    assert refused(ec2, "describe_vpcs") == "RequestLimitExceeded"
    now[0] = 1.0
    ec2.describe_vpcs()


def test_a_tap_sees_the_call_before_and_after_the_work(account: Account, proxy: FaultProxy, ec2: "EC2Client") -> None:
    seen: list[tuple[int, int]] = []

    def look(call: Call) -> None:
        seen.append((call.number, len(account.fake.ids())))

    proxy.add(RUN, Tap(look, "before"))
    proxy.add(RUN, Tap(look, "after"))
    _run(ec2)
    assert seen == [(1, 0), (1, 1)]


def test_a_delay_delays(proxy: FaultProxy, ec2: "EC2Client") -> None:
    proxy.add(RUN, Delay(0.05))
    proxy.add(RUN, Delay(0.05, "after"))
    began = time.monotonic()
    _run(ec2)
    assert time.monotonic() - began >= 0.1


def test_a_proxy_that_does_nothing_costs_nothing_worth_naming(account: Account, proxy: FaultProxy) -> None:
    def fastest(url: str) -> float:
        ec2, times = client("ec2", url), []
        for _ in range(20):
            began = time.perf_counter()
            ec2.describe_vpcs()
            times.append(time.perf_counter() - began)
        return min(times)

    assert fastest(proxy.url) - fastest(account.fake.url) < 0.02
