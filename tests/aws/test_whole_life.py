"""A spec's least policy is enough for all that the provider does for it, from the first look to the last sweep."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import pytest

from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.permissions import least_policy
from infrakit_py.clock import VirtualClock
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import (
    DestroyRequest,
    Examining,
    Grade,
    Provider,
    ProvisionRequest,
    TagRequest,
    Wanted,
)
from tests.aws.ground import fake_ec2, image, opened
from tests.fakes.ec2.actions import HANDLERS
from tests.fakes.ec2.settings import DEFAULT_GROUP, SUBNETS

CLUSTER: Final = "shop"
SIGNED_AS: Final = {"elbv2": "elasticloadbalancing", "service-quotas": "servicequotas"}
NEEDS_NO_PERMISSION: Final = {"sts:GetCallerIdentity"}
KEPT: Final[dict[str, Json]] = {
    "data_disks": [{"name": "data", "device": "/dev/sdf", "size": "1GiB"}],
    "elastic_ip": True,
    "keep_interface": True,
}  # fmt: skip
WORN: Final[dict[str, Json]] = {
    "target_groups": ["web"], "security_groups": [DEFAULT_GROUP], "key_name": "operator",
    "subnets": [SUBNETS["a"], SUBNETS["b"]], "termination_protection": True, "root_disk": {"size": "20GiB"},
}  # fmt: skip


def wants(group: str, machine: Mapping[str, Json], *, named: bool = False, of: str = "") -> Wanted:
    written: dict[str, Json] = {"instance_types": "t3.micro", **machine}
    return Wanted(group, written, image(of) if of else image(), 2, named)


def requests(wanted: Wanted, reference: str) -> Iterator[ProvisionRequest]:
    for number in range(wanted.count):
        key = f"{wanted.group}-{number}" if wanted.named else None
        slot = key or str(number)
        token = tags.token(CLUSTER, wanted.group, slot, 0)
        own = {
            tags.CLUSTER: CLUSTER, tags.GROUP: wanted.group, tags.SLOT: slot, tags.INCARNATION: "0",
            tags.TOKEN: token, **({tags.LOGICAL_ID: key} if key else {}),
        }  # fmt: skip
        yield ProvisionRequest(token, slot, own, image(reference), wanted.machine, data_key=key)


def live(provider: Provider, clock: VirtualClock, wanted: Sequence[Wanted]) -> None:
    """Do everything once that is ever done for a cluster."""
    assert isinstance(provider, Examining)
    resolved = {one.group: provider.resolve(one.image.reference) for one in wanted}
    examined = [replace(one, image=image(resolved[one.group])) for one in wanted]
    assert all(one.grade is not Grade.PROBLEM for one in provider.examine(CLUSTER, examined))
    assert provider.published([one.image for one in examined])
    coming = [request for one in wanted for request in requests(one, resolved[one.group])]
    tickets = provider.arrange(coming)
    coming = [replace(one, ticket=ticket) for one, ticket in zip(coming, tickets, strict=True)]
    for _ in range(2):  # the second time they run, and get what they lack
        outcomes = provider.provision(coming)
        assert [one.error for one in outcomes] == [None] * len(coming)
        clock.sleep(120)
        provider.describe(CLUSTER)
    ids = [one.instance_id for one in outcomes if one.instance_id]
    assert set(provider.lookup(ids)) == set(ids)
    assert all(one.lacks == "" for one in provider.describe(CLUSTER))
    assert all(one.grade is not Grade.PROBLEM for one in provider.examine(CLUSTER, examined))
    drain = [TagRequest(one, CLUSTER, {tags.DRAINING: "1"}, ("tier",)) for one in ids]
    assert all(one.error is None for one in provider.tag(drain))
    there = provider.describe(CLUSTER)
    gone = provider.destroy([DestroyRequest(one.id, CLUSTER, one.tags[tags.GROUP]) for one in there])
    assert all(one.error is None for one in gone)
    clock.sleep(120)
    assert all(one.state is InstanceState.GONE for one in provider.describe(CLUSTER))
    assert all(one.error is None for one in provider.sweep(CLUSTER, provider.leftovers(CLUSTER)))
    assert not provider.leftovers(CLUSTER)


def actions_of(calls: Mapping[str, int]) -> set[str]:
    """Return what IAM calls the actions that were called."""
    services = {action: service for service, handlers in HANDLERS.items() for action in handlers}
    return {f"{SIGNED_AS.get(services[action], services[action])}:{action}" for action in calls}


@pytest.mark.parametrize(
    "wanted",
    [
        [wants("web", {})],
        [wants("web", WORN)],
        [wants("web", {}, of="ssm:/infrakit/ami/linux")],
        [wants("web", {"capacity": {"spot_percent": 50}})],
        [wants("web", {"instance_types": ["t3.micro", "t3.small"], "capacity": {"spot_percent": 100}})],
        [wants("db", KEPT, named=True)],
        [wants("db", {**KEPT, **WORN}, named=True), wants("web", {"capacity": {"spot_percent": 100}})],
    ],
    ids=["plain", "with all around it", "an image by parameter", "spot", "a fleet", "named", "everything"],
)
def test_the_least_policy_allows_each_call_of_a_whole_life(wanted: Sequence[Wanted]) -> None:
    machines = [(Machine.model_validate(dict(one.machine)), one.named, one.image.reference) for one in wanted]
    document = least_policy(CLUSTER, machines, "eu-central-1")
    allowed = {action for statement in document["Statement"] for action in statement["Action"]}
    clock = VirtualClock()
    with fake_ec2(clock=clock) as fake:
        provider = opened(clock)
        live(provider, clock, wanted)
        provider.close()
        called = actions_of(fake.calls)
    assert called - allowed - NEEDS_NO_PERMISSION == set()
