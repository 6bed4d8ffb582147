"""What goes goes alone: protection, whosever it is, labels that somebody changes, tags of every length."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ImageMissing, NotOurs, ProviderError, TokenSpent
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceId, InstanceState
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import DestroyRequest, Outcome, Provider, ProvisionRequest, TagRequest
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.fakes.gce.auth import UNIVERSE
from tests.gcp.ground import LINUX, LINUX_2, MACHINE, PROJECT, UNKNOWN, fake_gce, image, opened

ONE_ZONE: Final[Mapping[str, Json]] = {**MACHINE, "zones": ["europe-west1-b"]}
LONG: Final = "länger als ein Label: " + 300 * "x"


def requests(count: int, reference: str = LINUX, machine: Mapping[str, Json] = ONE_ZONE) -> list[ProvisionRequest]:
    asked = []
    for slot in range(count):
        token = tags.token("shop", "web", str(slot), 0)
        own = {tags.CLUSTER: "shop", tags.GROUP: "web", tags.SLOT: str(slot), tags.TOKEN: token}
        asked.append(ProvisionRequest(token, f"web-{slot}", own, image(reference), machine))
    return asked


def provision(provider: Provider, asked: list[ProvisionRequest]) -> list[Outcome]:
    tickets = provider.arrange(asked)
    return list(provider.provision([replace(r, ticket=t) for r, t in zip(asked, tickets, strict=True)]))


def boot(provider: Provider, count: int, machine: Mapping[str, Json] = ONE_ZONE) -> list[InstanceId]:
    outcomes = provision(provider, requests(count, machine=machine))
    return [one.instance_id for one in outcomes if one.instance_id is not None]


def destroy(provider: Provider, ids: list[InstanceId]) -> dict[InstanceId, ProviderError | None]:
    outcomes = provider.destroy([DestroyRequest(id_, "shop", "web") for id_ in ids])
    return {id_: outcome.error for id_, outcome in zip(ids, outcomes, strict=True)}


def there(fake: FakeGCE) -> set[str]:
    """Return the ids of machines that are not on their way out, as we write ids."""
    return {f"{one.zone}/{one.name}" for one in fake.instances("PROVISIONING", "STAGING", "RUNNING", "TERMINATED")}


class Person:
    """Somebody who changes machines by Google's own tools."""

    def __init__(self, fake: FakeGCE, clock: VirtualClock) -> None:
        from google.cloud.compute_v1 import InstancesClient

        options = {"api_endpoint": fake.url, "universe_domain": UNIVERSE}
        self._client = InstancesClient(client_options=options)
        self._clock = clock

    def label(self, id_: str, change: Mapping[str, str | None]) -> None:
        """Set labels, and remove those that are to be None."""
        seen = self._client.get(request=self._address(id_))
        labels = {key: value for key, value in {**seen.labels, **change}.items() if value is not None}
        body = {"labels": labels, "label_fingerprint": seen.label_fingerprint}
        request: Any = {**self._address(id_), "instances_set_labels_request_resource": body}
        self._client.set_labels_unary(request=request)
        self._clock.sleep(2)

    def protect(self, id_: str) -> None:
        request = self._address(id_)
        request["resource"] = request.pop("instance")
        self._client.set_deletion_protection_unary(request={**request, "deletion_protection": True})
        self._clock.sleep(2)

    def close(self) -> None:
        self._client.transport.close()  # type: ignore[no-untyped-call]  # it has no types

    def _address(self, id_: str) -> dict[str, Any]:
        zone, _, name = id_.partition("/")
        return {"project": PROJECT, "zone": zone, "instance": name}


@pytest.fixture
def person(fake: FakeGCE, clock: VirtualClock) -> Any:
    person = Person(fake, clock)
    yield person
    person.close()


def test_a_machine_that_a_person_protected_stays_and_keeps_no_other(
    provider: Provider, fake: FakeGCE, person: Person
) -> None:
    ids = boot(provider, 6)
    person.protect(ids[2])
    errors = destroy(provider, ids)
    assert [id_ for id_, error in errors.items() if error] == [ids[2]]
    assert "protected against deletion" in str(errors[ids[2]])
    assert there(fake) == {ids[2]}


def test_a_protection_that_the_spec_asked_for_is_lifted(provider: Provider, fake: FakeGCE) -> None:
    ids = boot(provider, 2, {**MACHINE, "deletion_protection": True})
    assert all(one.protected for one in fake.instances())
    assert not any(destroy(provider, ids).values())
    assert there(fake) == set()


def test_an_unknown_id_is_a_success_and_spoils_no_other(provider: Provider, fake: FakeGCE) -> None:
    ids = boot(provider, 2)
    assert not any(destroy(provider, [ids[0], UNKNOWN, ids[1]]).values())
    assert there(fake) == set()


def test_a_machine_that_is_being_deleted_already_is_a_success(provider: Provider, fake: FakeGCE) -> None:
    ids = boot(provider, 2)
    fake.delete(ids[0])
    assert not any(destroy(provider, ids).values())
    assert not any(destroy(provider, ids).values())
    assert there(fake) == set()


def test_a_machine_whose_label_went_away_is_not_ours(provider: Provider, fake: FakeGCE, person: Person) -> None:
    ids = boot(provider, 2)
    person.label(ids[0], {"infrakit-cluster": None})
    errors = destroy(provider, ids)
    assert isinstance(errors[ids[0]], NotOurs)
    assert there(fake) == {ids[0]}


def test_a_machine_with_our_labels_and_another_name_is_not_ours(provider: Provider, fake: FakeGCE) -> None:
    boot(provider, 2)
    copy = InstanceId(f"europe-west1-b/{fake.clone(fake.names()[0], 'copy')}")
    assert isinstance(destroy(provider, [copy])[copy], NotOurs)
    assert copy in there(fake)
    assert copy not in {one.id for one in provider.describe("shop")}


def test_disks_of_a_machine_go_with_it(provider: Provider, fake: FakeGCE, clock: VirtualClock) -> None:
    ids = boot(provider, 3, {**MACHINE, "disks": [{"size": "10GiB"}], "boot_disk": {"size": "10GiB"}})
    assert len(fake.disks()) == 6
    destroy(provider, ids)
    clock.sleep(60)
    assert not fake.disks()


def test_a_machine_of_many_has_tags_of_its_own_and_loses_none(provider: Provider) -> None:
    ids = boot(provider, 5)
    provider.tag([TagRequest(ids[1], "shop", {tags.DRAINING: "1.0"}, ("absent",))])
    held = {one.id: dict(one.tags) for one in provider.describe("shop")}
    assert [held[id_][tags.SLOT] for id_ in ids] == ["0", "1", "2", "3", "4"]
    assert held[ids[1]].pop(tags.DRAINING) == "1.0"
    assert all(tags.DRAINING not in one for one in held.values())
    assert {tags.token("shop", "web", one[tags.SLOT], 0) for one in held.values()} == {
        one[tags.TOKEN] for one in held.values()
    }


@pytest.mark.parametrize("count", [1, 3], ids=["a machine", "machines of one call"])
def test_tags_that_are_too_long_for_labels_are_kept_from_first_to_last(provider: Provider, count: int) -> None:
    asked = [
        replace(one, tags={**one.tags, "motto": LONG, "Ünïcode key/": "v"})
        for one in requests(count, machine={**ONE_ZONE, "metadata": {"theirs": "stays"}})
    ]
    ids = [one.instance_id for one in provision(provider, asked) if one.instance_id]
    assert [one.tags["motto"] for one in provider.describe("shop")] == [LONG] * count
    provider.tag([TagRequest(ids[0], "shop", {"motto": LONG.upper(), "other": LONG}, ("Ünïcode key/",))])
    found = provider.lookup([ids[0]])[ids[0]]
    listed = {one.id: one for one in provider.describe("shop")}
    assert found is not None
    assert found.tags == listed[ids[0]].tags
    assert (found.tags["motto"], found.tags["other"]) == (LONG.upper(), LONG)
    assert "Ünïcode key/" not in found.tags
    provider.tag([TagRequest(ids[0], "shop", {}, ("motto", "other"))])
    assert not {"motto", "other"} & set({one.id: one for one in provider.describe("shop")}[ids[0]].tags)
    assert not any(destroy(provider, ids).values())


def test_labels_that_a_person_sets_meanwhile_are_kept(provider: Provider, fake: FakeGCE, person: Person) -> None:
    (id_,) = boot(provider, 1)
    before = provider.describe("shop")
    person.label(id_, {"theirs": "stays"})
    assert not any(one.error for one in provider.tag([TagRequest(id_, "shop", {"ours": "is set"})]))
    held = provider.describe("shop")[0].tags
    assert held == {**before[0].tags, "theirs": "stays", "ours": "is set"}


def test_a_change_at_the_same_time_by_somebody_else_costs_another_try_and_nothing_else(
    clock: VirtualClock,
) -> None:
    """The label was read, then somebody changed it: Compute Engine refuses the old fingerprint."""
    with fake_gce(FakeSettings(operation_seconds=3), clock) as fake:
        one, other = opened(clock), opened(clock)
        (id_,) = boot(one, 1)
        person = Person(fake, clock)
        name = id_.partition("/")[2]
        labelled: list[str] = []
        deciding = fake.front.handlers["instances.setLabels"]

        def changed_first(*arguments: Any) -> Any:
            if not labelled:
                labelled.append(name)
                fake.world.relabel(fake.find(name), {**fake.labels_of(name), "theirs": "first"})
            return deciding(*arguments)

        fake.front.handlers["instances.setLabels"] = changed_first
        assert [outcome.error for outcome in one.tag([TagRequest(id_, "shop", {"ours": "second"})])] == [None]
        held = other.describe("shop")[0].tags
        assert (held["theirs"], held["ours"]) == ("first", "second")
        for each in (one, other, person):
            each.close()


@pytest.mark.parametrize("count", [1, 3], ids=["a machine", "machines of one call"])
def test_a_machine_that_is_accepted_and_cannot_be_seen_yet_is_neither_gone_nor_forgotten(
    count: int, clock: VirtualClock
) -> None:
    with fake_gce(FakeSettings(boot_seconds=20, accept_seconds=8, bulk_appear_seconds=8), clock) as fake:
        one, another = opened(clock), opened(clock)
        ids = boot(one, count)
        for provider in (one, another):
            assert provider.lookup(ids) == {}, "it cannot tell, and says so"
        errors = destroy(one, ids)
        assert all(error is not None and error.retryable for error in errors.values())
        clock.sleep(10)
        for provider in (one, another):
            assert {found.state for found in provider.lookup(ids).values() if found} == {InstanceState.PENDING}
        assert not any(destroy(another, ids).values())
        clock.sleep(60)
        assert another.lookup(ids) == dict.fromkeys(ids)
        assert fake.names() == []
        one.close()
        another.close()


@pytest.mark.parametrize("count", [3, 30], ids=["few", "many"])
def test_machines_that_listings_miss_for_long_are_neither_gone_nor_left_behind(
    count: int, clock: VirtualClock
) -> None:
    with fake_gce(FakeSettings(boot_seconds=2, listing_lag=300), clock) as fake:
        one, another = opened(clock), opened(clock)
        ids = boot(one, count)
        clock.sleep(20)
        for provider in (one, another):
            assert provider.describe("shop") == []
            assert {id_ for id_, found in provider.lookup(ids).items() if found} == set(ids)
        assert not any(destroy(another, ids).values())
        assert there(fake) == set()
        one.close()
        another.close()


@pytest.mark.parametrize("count", [1, 3], ids=["a machine", "machines of one call"])
def test_the_token_of_what_is_gone_is_spent(
    count: int, provider: Provider, fake: FakeGCE, clock: VirtualClock
) -> None:
    asked = requests(count)
    tickets = provider.arrange(asked)
    asked = [replace(one, ticket=ticket) for one, ticket in zip(asked, tickets, strict=True)]
    ids = [one.instance_id for one in provider.provision(asked) if one.instance_id]
    clock.sleep(10)
    provider.describe("shop")
    destroy(provider, ids)
    clock.sleep(60)
    provider.describe("shop")
    assert [type(one.error) for one in provider.provision(asked)] == [TokenSpent] * count
    assert fake.names() == []


def test_the_token_of_what_lives_is_that_machine_whatever_else_is_asked_for(
    provider: Provider, fake: FakeGCE
) -> None:
    (first,) = provision(provider, requests(1))
    (again,) = provision(provider, requests(1, LINUX_2))
    assert again.instance_id == first.instance_id
    assert len(fake.names()) == 1


@pytest.mark.parametrize("count", [1, 3], ids=["a machine", "machines of one call"])
def test_machines_that_another_process_has_made_are_met_and_not_made_again(
    count: int, provider: Provider, fake: FakeGCE, clock: VirtualClock
) -> None:
    """It has another ticket for them, as after a lost journal."""
    ids = boot(provider, count)
    another = opened(clock)
    asked = requests(count + 2)
    outcomes = another.provision(
        [replace(one, ticket=t) for one, t in zip(asked, another.arrange(asked), strict=True)]
    )
    assert [one.instance_id for one in outcomes[:count]] == ids
    assert len(fake.names()) == count + 2
    another.close()


def test_an_image_that_went_away_is_not_taken_for_published(provider: Provider, fake: FakeGCE) -> None:
    assert provider.published([image()])
    fake.remove_image("linuxkit-1")
    (outcome,) = provision(provider, requests(1))
    assert isinstance(outcome.error, ImageMissing)
    assert not provider.published([image()])
