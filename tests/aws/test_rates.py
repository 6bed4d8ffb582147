"""Requests are counted by account and region, whoever makes them."""

from infrakit_py.clock import VirtualClock
from tests.aws.ground import SETTINGS, opened
from tests.fakes.ec2 import FakeEC2

FEW = {**SETTINGS, "limits": {"describe": {"burst": 2, "per_second": 1}}}


def test_two_providers_of_an_account_wait_for_one_another(fake: FakeEC2, clock: VirtualClock) -> None:
    one, other = opened(clock, FEW), opened(clock, FEW)
    began = clock.now()
    for provider in (one, other, one, other):
        provider.describe("shop")
    assert clock.now() - began == 2.0
    one.close()
    other.close()


def test_another_region_has_requests_of_its_own(fake: FakeEC2, clock: VirtualClock) -> None:
    elsewhere = opened(clock, {**FEW, "profile": None, "region": "eu-west-1"})
    here = opened(clock, FEW)
    began = clock.now()
    for _ in range(2):
        here.describe("shop")
    assert clock.now() == began
    elsewhere.close()
    here.close()
