"""What named members keep, on the fake Compute Engine: made once, found again, and given from one to the next."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from infrakit_providers.gcp.machine import Machine
from infrakit_py.errors import ProviderError, Transient
from tests.fakes.gce import FakeSettings
from tests.gcp.keeping import (
    CLUSTER,
    DISKED,
    EXPOSED,
    GROUP,
    KEPT,
    KEY,
    OWNER,
    PLAIN,
    SETTLED,
    TYPE,
    WHOLE,
    B,
    C,
    Scene,
    staged,
)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with staged() as scene:
        yield scene


# Making.


def test_a_machine_that_keeps_nothing_costs_no_call(scene: Scene) -> None:
    request = scene.request()
    prepared = scene.belongings.prepare(request, PLAIN, B)
    assert (prepared.attachments, prepared.external_address, prepared.internal_address) == ((), "", "")
    assert scene.belongings.zone_of(CLUSTER, GROUP, KEY, PLAIN) is None
    assert not scene.fake.calls


def test_only_a_named_machine_keeps_anything(scene: Scene) -> None:
    with pytest.raises(ProviderError, match="only a named machine keeps"):
        scene.belongings.prepare(replace(scene.request(), data_key=None), WHOLE, B)
    assert scene.belongings.notes(WHOLE, named=False) == {}


def test_no_disk_is_made_before_its_machine(scene: Scene) -> None:
    scene.belongings.prepare(scene.request(), WHOLE, B)
    assert scene.kept_disks() == {}


def test_a_members_disks_are_made_with_its_first_machine_and_outlive_it(scene: Scene) -> None:
    id_ = scene.boot(scene.request(), WHOLE)
    found = {name: (one.size_gb, one.type, one.zone, one.user != "") for name, one in scene.kept_disks().items()}
    assert found == {"data": (10, "pd-balanced", B, True), "logs": (20, "pd-ssd", B, True)}
    scene.end(id_)
    assert {name: one.user for name, one in scene.kept_disks().items()} == {"data": "", "logs": ""}


def test_everything_that_is_kept_says_whose_it_is(scene: Scene) -> None:
    scene.boot(scene.request(), WHOLE)
    assert scene.kept_disks()["data"].labels == {**OWNER, "infrakit-disk": "data", "cost": "db"}
    addresses = scene.addresses()
    assert addresses["EXTERNAL"].labels == {**OWNER, "infrakit-address": "external", "cost": "db"}
    assert addresses["INTERNAL"].labels == {**OWNER, "infrakit-address": "internal", "cost": "db"}


def test_a_machine_has_the_addresses_that_its_member_keeps(scene: Scene) -> None:
    id_ = scene.boot(scene.request(), WHOLE)
    addresses = scene.addresses()
    assert scene.seen(id_).addresses == (addresses["INTERNAL"].ip, addresses["EXTERNAL"].ip)


def test_an_internal_address_is_in_the_subnetwork_of_its_machine(scene: Scene) -> None:
    machine = Machine.model_validate({"machine_types": TYPE, "internal_ip": "static", "subnetwork": "private"})
    id_ = scene.boot(scene.request(), machine)
    (ip,) = scene.seen(id_).addresses
    assert ip.startswith("10.10.0.")
    assert scene.addresses()["INTERNAL"].ip == ip


def test_each_member_has_its_own(scene: Scene) -> None:
    requests = [scene.request(), scene.request(key="db-2"), scene.request(cluster="other")]
    for request in requests:
        scene.boot(request, WHOLE)
    assert len(scene.fake.addresses()) == 6
    assert sum("infrakit-disk" in one.labels for one in scene.fake.disks()) == 6


def test_preparing_again_changes_nothing(scene: Scene) -> None:
    id_ = scene.boot(scene.request(), WHOLE)
    before = scene.seen(id_)
    first = scene.belongings.prepare(scene.request(), WHOLE, B)
    assert scene.another().prepare(scene.request(), WHOLE, B) == first
    assert (first.internal_address, first.external_address) == before.addresses
    assert all(one.source for one in first.attachments)
    assert scene.seen(id_) == before


# From one machine to the next.


def test_the_next_machine_has_what_the_first_had(scene: Scene) -> None:
    first = scene.boot(scene.request(), WHOLE)
    addresses, disks = scene.seen(first).addresses, scene.seen(first).disks
    ids = {one.id for one in scene.kept_disks().values()}
    scene.end(first)
    second = scene.boot(scene.request(1), WHOLE)
    assert (scene.seen(second).addresses, scene.seen(second).disks) == (addresses, disks)
    assert {one.id for one in scene.kept_disks().values()} == ids
    assert scene.lacking(second) == {}


@pytest.mark.parametrize(
    ("machine", "what"),
    [(DISKED, "data disk data"), (EXPOSED, "its external address"), (SETTLED, "its internal address")],
    ids=["disk", "external", "internal"],
)
def test_what_a_predecessor_still_has_is_waited_for(scene: Scene, machine: Machine, what: str) -> None:
    first = scene.boot(scene.request(), machine)
    with pytest.raises(Transient, match=rf"db-1: {what} .* still .*{first.partition('/')[2]}"):
        scene.belongings.prepare(scene.request(1), machine, B)
    scene.fake.delete(first)
    with pytest.raises(Transient):
        scene.belongings.prepare(scene.request(1), machine, B)
    scene.clock.sleep(60)
    assert scene.boot(scene.request(1), machine)


def test_a_disk_that_is_smaller_than_written_stays_as_it_is(scene: Scene) -> None:
    scene.end(scene.boot(scene.request(), DISKED))
    disks = [{"name": "data", "size": "40GiB", "type": "pd-ssd"}]
    scene.boot(scene.request(1), Machine.model_validate({"machine_types": TYPE, "data_disks": disks}))
    assert (scene.kept_disks()["data"].size_gb, scene.kept_disks()["data"].type) == (10, "pd-balanced")


def test_a_disk_without_its_labels_is_not_taken(scene: Scene) -> None:
    scene.end(scene.boot(scene.request(), DISKED))
    scene.kept_disks()["data"].labels.clear()
    with pytest.raises(ProviderError, match="not labelled as shop/db-1's") as told:
        scene.belongings.prepare(scene.request(1), DISKED, B)
    assert told.value.hint is not None
    assert "infrakit-cluster=shop" in told.value.hint


@pytest.mark.parametrize(("status", "retryable"), [("FAILED", False), ("DELETING", True)])
def test_a_disk_that_cannot_be_attached_is_told(scene: Scene, status: str, retryable: bool) -> None:
    scene.end(scene.boot(scene.request(), DISKED))
    scene.kept_disks()["data"].status = status
    with pytest.raises(ProviderError, match="data disk data") as told:
        scene.belongings.prepare(scene.request(1), DISKED, B)
    assert told.value.retryable is retryable


# Zones.


def test_nothing_ties_a_new_member_to_a_zone(scene: Scene) -> None:
    assert scene.belongings.zone_of(CLUSTER, GROUP, KEY, WHOLE) is None


def test_addresses_tie_nobody_to_a_zone(scene: Scene) -> None:
    machine = Machine.model_validate({**KEPT, "data_disks": []})
    scene.end(scene.boot(scene.request(), machine))
    assert scene.belongings.zone_of(CLUSTER, GROUP, KEY, machine) is None
    assert scene.boot(scene.request(1), machine, C).startswith(C)


def test_a_member_is_tied_to_where_its_disks_are(scene: Scene) -> None:
    scene.boot(scene.request(), DISKED, C)
    scene.fake.calls.clear()
    assert scene.belongings.zone_of(CLUSTER, GROUP, KEY, DISKED) == C
    assert sum(scene.fake.calls.values()) == 1
    assert scene.belongings.zone_of(CLUSTER, GROUP, "db-2", DISKED) is None
    assert scene.another("europe-north1").zone_of(CLUSTER, GROUP, KEY, DISKED) is None


def test_a_machine_in_another_zone_than_its_disks_is_an_error(scene: Scene) -> None:
    scene.end(scene.boot(scene.request(), DISKED))
    with pytest.raises(ProviderError, match=f"data disk data .* is not in {C}, where the machine is") as told:
        scene.belongings.prepare(scene.request(1), DISKED, C)
    assert not told.value.retryable
    assert told.value.hint


def test_a_disk_that_was_never_used_is_passed_over_for_one_that_was(scene: Scene) -> None:
    scene.end(scene.boot(scene.request(), DISKED, C))
    for disk in scene.kept_disks().values():
        scene.copy(disk, B)
    assert scene.belongings.zone_of(CLUSTER, GROUP, KEY, DISKED) == C


def test_two_disks_of_one_name_that_were_used_are_an_error(scene: Scene) -> None:
    scene.end(scene.boot(scene.request(), DISKED))
    disk = scene.kept_disks()["data"]
    scene.copy(disk, C)
    other = scene.fake.world.disks[C, disk.name]
    scene.attach(scene.boot(scene.request(key="x"), PLAIN, C), other, "other")
    with pytest.raises(ProviderError, match=f"in two zones: {B}/{disk.name} and {C}/{disk.name}"):
        scene.belongings.zone_of(CLUSTER, GROUP, KEY, DISKED)


def test_disks_in_two_zones_are_an_error(scene: Scene) -> None:
    scene.end(scene.boot(scene.request(), DISKED))
    logs = scene.kept_disks()["logs"]
    scene.copy(logs, C)
    scene.by_hand("disks", "delete", zone=B, disk=logs.name)
    with pytest.raises(ProviderError, match=f"more than one zone: data disk data in {B}, data disk logs in {C}"):
        scene.belongings.zone_of(CLUSTER, GROUP, KEY, DISKED)


@pytest.mark.parametrize("unasked", [False, True], ids=["an error", "a part"])
def test_a_zone_that_does_not_answer_may_have_a_disk(scene: Scene, unasked: bool) -> None:
    scene.end(scene.boot(scene.request(), DISKED))
    scene.fake.lose_zone("b", unasked=unasked)
    with pytest.raises(Transient):
        scene.belongings.zone_of(CLUSTER, GROUP, KEY, DISKED)
    with pytest.raises(Transient):
        scene.belongings.leftovers(CLUSTER)


# Addresses.


@pytest.mark.parametrize("times", [1, 8], ids=["once", "again and again"])
def test_a_lost_reply_reserves_no_second_address(scene: Scene, times: int) -> None:
    scene.fake.fail("addresses.insert", "lost-reply", times)
    for _ in range(3):
        try:
            scene.belongings.prepare(scene.request(), EXPOSED, B)
        except Transient:
            continue
    assert scene.addresses()["EXTERNAL"]


def test_what_another_process_reserves_at_the_same_time_is_shared(scene: Scene) -> None:
    """This process has looked, and found none; the other is done before it reserves its own."""
    found: list[str] = []
    other = scene.another()
    scene.caller.before["addresses.insert"] = lambda: found.append(
        other.prepare(scene.request(), EXPOSED, B).external_address
    )
    assert scene.belongings.prepare(scene.request(), EXPOSED, B).external_address == found[0]
    assert scene.addresses()["EXTERNAL"].ip == found[0]


def test_threads_that_reserve_at_once_reserve_one_address(scene: Scene) -> None:
    def reserved(_: int) -> str:
        try:
            return scene.belongings.prepare(scene.request(), EXPOSED, B).external_address
        except Transient:
            return ""  # another thread's is not ready yet

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(reserved, range(4)))
    assert found - {""} == {scene.addresses()["EXTERNAL"].ip}


def test_an_address_that_takes_long_is_waited_for_next_time() -> None:
    with staged(FakeSettings(boot_seconds=2, operation_seconds=30)) as scene:
        began = scene.clock.now()
        with pytest.raises(Transient):
            scene.belongings.prepare(scene.request(), EXPOSED, B)
        assert scene.clock.now() - began < 20
        scene.clock.sleep(30)
        assert (
            scene.belongings.prepare(scene.request(), EXPOSED, B).external_address == scene.addresses()["EXTERNAL"].ip
        )


def test_an_address_that_lost_its_labels_gets_them_again(scene: Scene) -> None:
    scene.belongings.prepare(scene.request(), EXPOSED, B)
    scene.clock.sleep(5)
    scene.addresses()["EXTERNAL"].labels.clear()
    scene.belongings.prepare(scene.request(), EXPOSED, B)
    scene.clock.sleep(5)
    assert scene.addresses()["EXTERNAL"].labels == {**OWNER, "infrakit-address": "external"}


def test_an_address_of_the_same_name_that_is_somebody_elses_is_not_taken(scene: Scene) -> None:
    scene.belongings.prepare(scene.request(), EXPOSED, B)
    scene.addresses()["EXTERNAL"].description = "mine"
    with pytest.raises(ProviderError, match="somebody else's"):
        scene.belongings.prepare(scene.request(), EXPOSED, B)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ({"internal_ip": "static"}, {"internal_ip": "static", "subnetwork": "private"}, "in subnetwork default"),
        (
            {"external_ip": "static", "network_tier": "premium"},
            {"external_ip": "static", "network_tier": "standard"},
            "of tier PREMIUM",
        ),
    ],
    ids=["subnetwork", "tier"],
)
def test_an_address_that_does_not_suit_its_machine_any_more_is_an_error(
    scene: Scene, before: dict[str, str], after: dict[str, str], what: str
) -> None:
    scene.belongings.prepare(scene.request(), Machine.model_validate({"machine_types": TYPE, **before}), B)
    with pytest.raises(ProviderError, match=what) as told:
        scene.belongings.prepare(scene.request(), Machine.model_validate({"machine_types": TYPE, **after}), B)
    assert not told.value.retryable
    assert told.value.hint


# What somebody has taken away.


def test_a_machine_that_has_all_its_own_lacks_nothing_and_asking_costs_no_call(scene: Scene) -> None:
    seen = [scene.seen(scene.boot(scene.request(), WHOLE)), scene.seen(scene.boot(scene.request(key="x"), PLAIN))]
    scene.fake.calls.clear()
    assert scene.belongings.lacks(seen) == {}
    assert not scene.fake.calls


def test_a_disk_that_somebody_has_detached_is_attached_again(scene: Scene) -> None:
    request = scene.request()
    id_ = scene.boot(request, DISKED)
    disk = scene.kept_disks()["logs"]
    scene.detach(id_, "logs")
    assert scene.lacking(id_) == {id_: "data disk logs is not attached"}
    for _ in range(2):
        scene.complete(request, DISKED, id_)
    assert scene.lacking(id_) == {}
    assert scene.seen(id_).disks == {"data": scene.kept_disks()["data"].name, "logs": disk.name}
    scene.end(id_)
    assert scene.kept_disks()["logs"].id == disk.id


def test_a_lost_reply_attaches_no_disk_twice(scene: Scene) -> None:
    request = scene.request()
    id_ = scene.boot(request, DISKED)
    scene.detach(id_, "logs")
    scene.fake.fail("instances.attachDisk", "lost-reply")
    scene.complete(request, DISKED, id_)
    assert scene.lacking(id_) == {}


def test_a_disk_that_somebody_has_deleted_is_made_anew(scene: Scene) -> None:
    request = scene.request()
    id_ = scene.boot(request, DISKED)
    old = scene.kept_disks()["logs"]
    scene.detach(id_, "logs")
    scene.by_hand("disks", "delete", zone=B, disk=old.name)
    scene.complete(request, DISKED, id_)
    new = scene.kept_disks()["logs"]
    assert (new.name, new.labels, new.size_gb, new.type) == (old.name, old.labels, old.size_gb, old.type)
    assert scene.lacking(id_) == {}


def test_a_disk_that_is_made_anew_has_all_that_is_written_of_it(scene: Scene) -> None:
    disk = {"name": "data", "size": "100GiB", "type": "hyperdisk-balanced", "iops": 4000, "throughput": 500}
    machine = Machine.model_validate({"machine_types": "c3-standard-4", "data_disks": [disk]})
    request = scene.request()
    id_ = scene.boot(request, machine)
    old = scene.kept_disks()["data"]
    scene.detach(id_, "data")
    scene.by_hand("disks", "delete", zone=B, disk=old.name)
    scene.complete(request, machine, id_)
    new = scene.kept_disks()["data"]
    assert (new.size_gb, new.type, new.iops, new.throughput) == (100, "hyperdisk-balanced", "4000", "500")
    assert (old.size_gb, old.type, old.iops, old.throughput) == (100, "hyperdisk-balanced", "4000", "500")


@pytest.mark.parametrize("change", ["disks.insert", "instances.attach_disk"])
def test_what_another_process_makes_good_at_the_same_time_is_made_good_once(scene: Scene, change: str) -> None:
    request = scene.request()
    id_ = scene.boot(request, DISKED)
    old = scene.kept_disks()["logs"]
    scene.detach(id_, "logs")
    if change == "disks.insert":
        scene.by_hand("disks", "delete", zone=B, disk=old.name)
    seen = scene.seen(id_)
    scene.caller.before[change] = lambda: scene.another().complete(request, DISKED, seen)
    try:
        scene.complete(request, DISKED, id_)
    except Transient:
        scene.complete(request, DISKED, id_)
    assert scene.lacking(id_) == {}
    assert set(scene.kept_disks()) == {"data", "logs"}


def test_a_disk_that_is_with_another_machine_is_waited_for(scene: Scene) -> None:
    request = scene.request()
    id_, other = scene.boot(request, DISKED), scene.boot(scene.request(key="x"), PLAIN)
    scene.detach(id_, "logs")
    scene.attach(other, scene.kept_disks()["logs"], "logs")
    with pytest.raises(Transient, match=f"still attached to {other}"):
        scene.complete(request, DISKED, id_)


def test_a_disk_under_another_device_name_is_not_lacking(scene: Scene) -> None:
    id_ = scene.boot(scene.request(), DISKED)
    scene.detach(id_, "logs")
    scene.attach(id_, scene.kept_disks()["logs"], "by-hand")
    assert scene.lacking(id_) == {}


def test_an_external_address_that_somebody_has_taken_away_is_given_back(scene: Scene) -> None:
    request = scene.request()
    id_ = scene.boot(request, WHOLE)
    before = scene.seen(id_).addresses
    scene.by_hand(
        "instances", "delete_access_config", zone=B, instance=id_.partition("/")[2],
        access_config="External NAT", network_interface="nic0",
    )  # fmt: skip
    assert scene.lacking(id_) == {id_: "its external address is not associated"}
    scene.complete(request, WHOLE, id_)
    assert scene.seen(id_).addresses == before
    assert scene.lacking(id_) == {}


def test_a_machine_gets_its_own_only_while_it_runs(scene: Scene) -> None:
    request = scene.request()
    id_ = scene.boot(request, DISKED)
    scene.detach(id_, "logs")
    scene.fake.kill(id_)
    scene.clock.sleep(5)
    assert scene.lacking(id_) == {}
    with pytest.raises(Transient, match="gets its own when it runs"):
        scene.complete(request, DISKED, id_)
