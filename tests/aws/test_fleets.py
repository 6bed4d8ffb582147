"""Spot machines of several types are EC2's choice: one fleet a machine, and a template for all of a kind."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from infrakit_py.clock import VirtualClock
from infrakit_py.errors import NoCapacity
from infrakit_py.model import tags
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import DestroyRequest, Provider, ProvisionRequest
from tests.aws.ground import image
from tests.fakes.ec2 import FakeEC2

MIXED: Mapping[str, Json] = {
    "instance_types": ["m5.large", "c5.large"],
    "capacity": {"on_demand_base": 2, "spot_percent": 50},
    "tags": {"volumes": {"team": "shop"}},
}


def requests(count: int, machine: Mapping[str, Json] = MIXED) -> list[ProvisionRequest]:
    made = []
    for slot in range(count):
        token = tags.token("shop", "web", str(slot), 0)
        own = {
            tags.CLUSTER: "shop",
            tags.GROUP: "web",
            tags.SLOT: str(slot),
            tags.INCARNATION: "0",
            tags.TOKEN: token,
        }
        made.append(ProvisionRequest(token, f"web-{slot}", own, image(), machine, user_data=b"#!/bin/sh\n"))
    return made


def ticketed(provider: Provider, asked: list[ProvisionRequest]) -> list[ProvisionRequest]:
    tickets = provider.arrange(asked)
    return [replace(request, ticket=ticket) for request, ticket in zip(asked, tickets, strict=True)]


def test_the_mix_holds_base_and_share(provider: Provider, fake: FakeEC2) -> None:
    provider.provision(ticketed(provider, requests(10)))
    markets = Counter(one.facts.get("lifecycle", "on-demand") for one in provider.describe("shop"))
    assert markets == {"on-demand": 6, "spot": 4}


def test_each_spot_machine_has_its_own_fleet_and_all_tags(provider: Provider, fake: FakeEC2) -> None:
    asked = ticketed(provider, requests(10))
    provider.provision(asked)
    assert fake.calls["CreateFleet"] == 4
    assert fake.calls["CreateLaunchTemplate"] == 1
    shown = {one.tags[tags.TOKEN]: dict(one.tags) for one in provider.describe("shop")}
    assert shown == {request.token: dict(request.tags) for request in asked}
    assert all(one.tags.get("team") == "shop" for one in fake.world.volumes.values())


def test_a_repeated_fleet_gives_the_same_machines(provider: Provider, fake: FakeEC2) -> None:
    asked = ticketed(provider, requests(6))
    first, again = provider.provision(asked), provider.provision(asked)
    assert [one.instance_id for one in first] == [one.instance_id for one in again]
    assert len(fake.ids()) == 6


def test_a_fleet_takes_the_type_that_is_left(provider: Provider, fake: FakeEC2) -> None:
    for zone in "abc":
        fake.set_capacity(zone, {"c5.large": 100})
    spot = {**MIXED, "capacity": {"spot_percent": 100}}
    outcomes = provider.provision(ticketed(provider, requests(3, spot)))
    assert not [one.error for one in outcomes if one.error]
    assert {one.facts["type"] for one in provider.describe("shop")} == {"c5.large"}


def test_a_fleet_without_a_machine_is_no_capacity_and_the_next_zone_is_tried(
    provider: Provider, fake: FakeEC2
) -> None:
    fake.set_capacity("a", 0)
    spot = {**MIXED, "capacity": {"spot_percent": 100}}
    refused = [one for one in provider.provision(ticketed(provider, requests(3, spot))) if one.error]
    assert len(refused) == 1
    error = refused[0].error
    assert isinstance(error, NoCapacity)
    assert error.elsewhere
    again = provider.provision(ticketed(provider, requests(3, spot)))
    assert not [one.error for one in again if one.error]
    assert {one.zone for one in provider.describe("shop")} == {"eu-central-1b", "eu-central-1c"}


def test_templates_are_left_over_and_swept(provider: Provider, fake: FakeEC2, clock: VirtualClock) -> None:
    ids = [one.instance_id for one in provider.provision(ticketed(provider, requests(6))) if one.instance_id]
    provider.destroy([DestroyRequest(id_, "shop", "web") for id_ in ids])
    clock.sleep(60)
    (template,) = provider.leftovers("shop")
    assert (template.kind, template.holds_data) == ("launch template", False)
    assert not provider.leftovers("other")
    for _ in range(2):
        (outcome,) = provider.sweep("shop", [template])
        assert outcome.error is None
    assert not fake.world.templates
