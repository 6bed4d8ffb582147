"""What goes goes alone: protection, whosever it is, and what would bring a machine back."""

from collections.abc import Mapping
from dataclasses import replace

import boto3
import pytest

from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ImageMissing, NotOurs, ProviderError, TokenMismatch, TokenSpent
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceId, InstanceState
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import DestroyRequest, Outcome, Provider, ProvisionRequest, TagRequest
from tests.aws.ground import UNKNOWN, fake_ec2, image, opened
from tests.fakes.ec2 import FakeEC2
from tests.fakes.ec2.settings import LINUX, LINUX_2

MICRO: Mapping[str, Json] = {"instance_types": "t3.micro"}
ONE_ZONE: Mapping[str, Json] = {**MICRO, "zones": ["eu-central-1a"]}


def boot(provider: Provider, count: int, machine: Mapping[str, Json] = MICRO, group: str = "web") -> list[InstanceId]:
    asked = []
    for slot in range(count):
        token = tags.token("shop", group, str(slot), 0)
        own = {tags.CLUSTER: "shop", tags.GROUP: group, tags.SLOT: str(slot), tags.TOKEN: token}
        asked.append(ProvisionRequest(token, f"{group}-{slot}", own, image(), machine))
    tickets = provider.arrange(asked)
    outcomes = provider.provision([replace(r, ticket=t) for r, t in zip(asked, tickets, strict=True)])
    return [one.instance_id for one in outcomes if one.instance_id is not None]


def destroy(provider: Provider, ids: list[InstanceId]) -> dict[InstanceId, ProviderError | None]:
    outcomes = provider.destroy([DestroyRequest(id_, "shop", "web") for id_ in ids])
    return {id_: outcome.error for id_, outcome in zip(ids, outcomes, strict=True)}


def protect(instance_id: str) -> None:
    boto3.client("ec2", region_name="eu-central-1").modify_instance_attribute(
        InstanceId=instance_id, DisableApiTermination={"Value": True}
    )


def test_a_machine_that_a_person_protected_stays_and_keeps_no_other(provider: Provider, fake: FakeEC2) -> None:
    ids = boot(provider, 6, ONE_ZONE)
    protect(ids[2])
    errors = destroy(provider, ids)
    assert [id_ for id_, error in errors.items() if error] == [ids[2]]
    assert "OperationNotPermitted" in str(errors[ids[2]])
    assert fake.ids("pending", "running") == [ids[2]]


def test_a_protection_that_the_spec_asked_for_is_lifted(provider: Provider, fake: FakeEC2) -> None:
    ids = boot(provider, 2, {**MICRO, "termination_protection": True})
    assert all(instance.protected for instance in fake.world.instances.values())
    assert not any(destroy(provider, ids).values())
    assert not fake.ids("pending", "running")


def test_a_spot_request_that_would_bring_the_machine_back_is_cancelled_first(
    provider: Provider, fake: FakeEC2
) -> None:
    ids = boot(provider, 2, {**MICRO, "capacity": {"spot_percent": 100, "interruption": "stop"}})
    assert not any(destroy(provider, ids).values())
    assert {one.state for one in fake.world.spot_requests.values()} == {"cancelled"}


def test_an_unknown_id_is_a_success_and_spoils_no_other(provider: Provider, fake: FakeEC2) -> None:
    ids = boot(provider, 2)
    assert not any(destroy(provider, [ids[0], UNKNOWN, ids[1]]).values())
    assert not fake.ids("pending", "running")


def test_one_call_a_zone_is_enough(provider: Provider, fake: FakeEC2) -> None:
    ids = boot(provider, 30)
    assert not any(destroy(provider, ids).values())
    assert fake.calls["TerminateInstances"] == 3


def test_a_machine_whose_tag_went_away_is_not_ours(provider: Provider, fake: FakeEC2) -> None:
    ids = boot(provider, 2)
    ec2 = boto3.client("ec2", region_name="eu-central-1")
    ec2.delete_tags(Resources=[ids[0]], Tags=[{"Key": tags.CLUSTER}])
    errors = destroy(provider, ids)
    assert isinstance(errors[ids[0]], NotOurs)
    assert fake.ids("pending", "running") == [ids[0]]


def test_volumes_and_interfaces_of_a_machine_go_with_it(
    provider: Provider, fake: FakeEC2, clock: VirtualClock
) -> None:
    disks: Json = [{"device": "/dev/sdf", "size": "1GiB"}]
    ids = boot(provider, 3, {**MICRO, "disks": disks, "root_disk": {"size": "9GiB"}})
    assert len(fake.volumes()) == 6
    destroy(provider, ids)
    clock.sleep(60)
    assert not fake.volumes()
    assert not fake.interfaces()


def test_a_machine_of_many_has_tags_of_its_own_and_loses_none(provider: Provider, clock: VirtualClock) -> None:
    ids = boot(provider, 5, ONE_ZONE)
    provider.tag([TagRequest(ids[1], "shop", {tags.DRAINING: "1.0"}, ("absent",))])
    held = {one.id: dict(one.tags) for one in provider.describe("shop")}
    assert [held[id_][tags.SLOT] for id_ in ids] == ["0", "1", "2", "3", "4"]
    assert held[ids[1]].pop(tags.DRAINING) == "1.0"
    assert all(tags.DRAINING not in one for one in held.values())
    assert {tags.token("shop", "web", one[tags.SLOT], 0) for one in held.values()} == {
        one[tags.TOKEN] for one in held.values()
    }


def test_a_machine_that_ec2_does_not_know_yet_is_neither_gone_nor_forgotten(clock: VirtualClock) -> None:
    from tests.aws.ground import SETTINGS
    from tests.fakes.ec2 import FakeSettings

    with fake_ec2(FakeSettings(listing_lag=10, id_lag=5), clock) as fake:
        provider = opened(clock, {**SETTINGS, "listing_lag": "10s"})
        (id_,) = boot(provider, 1)
        found = provider.lookup([id_])[id_]
        assert found is not None
        assert found.state is InstanceState.PENDING
        error = destroy(provider, [id_])[id_]
        assert error is not None
        assert error.retryable
        assert fake.ids() == [id_]
        another = opened(clock, {**SETTINGS, "listing_lag": "10s"})
        assert id_ not in another.lookup([id_])
        clock.sleep(10)
        assert not any(destroy(provider, [id_]).values())
        assert UNKNOWN in another.lookup([UNKNOWN])
        provider.close()
        another.close()


def request(slot: int, reference: str, count: int = 1) -> list[ProvisionRequest]:
    made = []
    for number in range(slot, slot + count):
        token = tags.token("shop", "web", str(number), 0)
        own = {tags.CLUSTER: "shop", tags.GROUP: "web", tags.SLOT: str(number), tags.TOKEN: token}
        made.append(ProvisionRequest(token, f"web-{number}", own, image(reference), ONE_ZONE))
    return made


def provision(provider: Provider, asked: list[ProvisionRequest]) -> list[Outcome]:
    tickets = provider.arrange(asked)
    return list(provider.provision([replace(r, ticket=t) for r, t in zip(asked, tickets, strict=True)]))


@pytest.mark.parametrize("count", [1, 3], ids=["a machine", "machines of one call"])
@pytest.mark.parametrize("hours", [0.1, 2], ids=["still listed", "no longer listed"])
def test_the_token_of_what_is_gone_is_spent_also_for_other_parameters(
    provider: Provider, fake: FakeEC2, clock: VirtualClock, count: int, hours: float
) -> None:
    ids = [one.instance_id for one in provision(provider, request(0, LINUX, count)) if one.instance_id]
    destroy(provider, ids)
    clock.sleep(hours * 3600)
    provider.describe("shop")
    again = provision(provider, request(0, LINUX_2, count))
    assert [type(one.error) for one in again] == [TokenSpent] * count


def test_the_token_of_what_lives_is_a_mismatch_for_other_parameters(provider: Provider, fake: FakeEC2) -> None:
    provision(provider, request(0, LINUX))
    (again,) = provision(provider, request(0, LINUX_2))
    assert isinstance(again.error, TokenMismatch)
    assert len(fake.ids()) == 1


def test_an_image_that_went_away_is_not_taken_for_published(provider: Provider, fake: FakeEC2) -> None:
    assert provider.published([image()])
    fake.remove_image(LINUX)
    (outcome,) = provision(provider, request(0, LINUX))
    assert isinstance(outcome.error, ImageMissing)
    assert not provider.published([image()])
