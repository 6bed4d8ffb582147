"""Capacity, quota and data disks: what is taken is not there, and comes back."""

import pytest

from infrakit_providers.simulated.cloud import Change
from infrakit_providers.simulated.machines import Launch
from infrakit_py.errors import NoCapacity, ProviderError
from tests.simulated.conftest import MakeWorld
from tests.simulated.worlds import BUILT, REFERENCE, errors, request

DISK: dict[str, object] = {"machine": {"data_disk": "1GiB"}, "data_key": "1"}


def test_a_zone_that_is_full_gives_way_to_the_next(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": 1, "b": 3})
    assert errors(world.provision(*range(6))) == ["", "", "", "", "NoCapacity", "NoCapacity"]
    assert sorted(one.zone for one in world.provider.describe("c")) == ["a", "b", "b", "b"]


def test_capacity_is_of_a_type_where_it_is_written_so(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": {"small": 1, "large": 1}})
    large: dict[str, object] = {"machine": {"type": "large"}}
    outcomes = world.provision(0, 1) + world.provision(2, 3, **large) + world.provision(4, machine={"type": "huge"})
    assert errors(outcomes) == ["", "NoCapacity", "", "NoCapacity", "NoCapacity"]


def _launches(count: int) -> list[Launch]:
    return [Launch(f"token-{number}", "", {}, REFERENCE, "") for number in range(count)]


def test_of_machines_that_are_wanted_together_too_few_are_none(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": 2})
    with pytest.raises(NoCapacity):
        world.cloud.launch(_launches(4), at_least=3)
    assert world.cloud.everything() == []
    answers = world.cloud.launch(_launches(4), at_least=2)
    assert [isinstance(answer, str) for answer in answers] == [True, True, False, False]
    assert [machine.id for machine in world.cloud.everything()] == answers[:2]


def test_a_zone_can_be_given_more_or_less_room(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": 1})
    world.boot(0)
    world.cloud.resize("a", 2)
    assert errors(world.provision(1, 2)) == ["", "NoCapacity"]
    world.cloud.resize("a", 0)
    assert (len(world.listed()), errors(world.provision(2))) == (2, ["NoCapacity"])
    world.cloud.resize("a", None)
    assert errors(world.provision(2)) == [""]
    with pytest.raises(ProviderError, match="no zone 'b'"):
        world.cloud.resize("b", 1)


def test_one_machine_can_be_seen_before_it_is_listed(make_world: MakeWorld) -> None:
    world = make_world(listing_lag="10s")
    (id_,) = world.boot(0)
    (seen, nothing) = world.cloud.see(id_), world.cloud.see("i-0")
    assert world.listed() == []
    assert seen is not None
    assert (seen.id, nothing) == (id_, None)


def test_a_machine_stays_in_its_zones(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": None, "b": 1})
    assert errors(world.provision(0, 1, machine={"zones": ["b"]})) == ["", "NoCapacity"]


def test_a_zone_that_is_not_there_is_an_error_of_its_own(make_world: MakeWorld) -> None:
    world = make_world()
    assert errors(world.provision(0, machine={"zones": ["mars"]})) == ["ProviderError"]


def test_capacity_comes_back_when_a_machine_is_gone_not_before(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": 1}, destroy_time="10s")
    (id_,) = world.boot(0)
    world.destroy(id_)
    assert errors(world.provision(1)) == ["NoCapacity"]
    world.clock.sleep(10)
    assert errors(world.provision(1)) == [""]


def test_a_machine_that_stopped_still_takes_its_place(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": 1})
    world.cloud.stop(world.boot(0)[0])
    assert errors(world.provision(1)) == ["NoCapacity"]


def test_quota_counts_all_machines_of_the_account(make_world: MakeWorld) -> None:
    world = make_world(quota=3)
    world.cloud.add_foreign("theirs", {})
    world.boot(0, cluster="other")
    (id_,) = world.boot(0)
    assert errors(world.provision(1)) == ["QuotaExceeded"]
    world.destroy(id_)
    assert errors(world.provision(1)) == [""]


def test_a_token_that_has_its_machine_needs_no_room(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": 1}, quota=1)
    assert world.boot(0) == world.boot(0)


def test_retagged_machines_count_where_their_tags_say(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": None, "b": None})
    world.boot(0, 1, group="old", machine={"zones": ["a"]})
    for id_ in world.listed():
        world.cloud.tag([_regroup(id_)])
    world.boot(2, 3)
    assert sorted(one.zone for one in world.provider.describe("c")) == ["a", "a", "b", "b"]


def test_a_data_disk_is_found_by_the_next_machine_of_its_key(make_world: MakeWorld) -> None:
    world = make_world()
    (first,) = world.boot(0, **DISK)
    disk = world.see(first).facts["data_disk"]
    world.destroy(first)
    (second,) = world.boot(0, incarnation=1, **DISK)
    assert world.see(second).facts["data_disk"] == disk


def test_a_machine_goes_to_the_zone_of_its_data_disk(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": None, "b": 1})
    (first,) = world.boot(0, **DISK | {"machine": {"data_disk": "1GiB", "zones": ["b"]}})
    world.destroy(first)
    world.boot(5, machine={"zones": ["b"]})
    assert errors(world.provision(0, incarnation=1, **DISK)) == ["NoCapacity"]
    stuck = world.provision(0, incarnation=1, **DISK | {"machine": {"data_disk": "1GiB", "zones": ["a"]}})
    assert errors(stuck) == ["ProviderError"]


def test_a_machine_that_asks_for_no_disk_gets_none_and_blocks_none(make_world: MakeWorld) -> None:
    world = make_world()
    (id_,) = world.boot(0, data_key="1")
    assert "data_disk" not in world.see(id_).facts
    world.boot(1, **DISK)


def test_a_data_disk_for_a_machine_without_a_name_is_refused(make_world: MakeWorld) -> None:
    world = make_world()
    assert errors(world.provision(0, machine={"data_disk": "1GiB"})) == ["ProviderError"]


def test_two_machines_of_one_key_in_one_batch_cannot_both_have_the_disk(make_world: MakeWorld) -> None:
    world = make_world()
    assert errors(world.provision(0, 1, **DISK)) == ["", "Transient"]


def test_a_refused_machine_leaves_no_disk_behind(make_world: MakeWorld) -> None:
    world = make_world(quota=0)
    assert errors(world.provision(0, **DISK)) == ["QuotaExceeded"]
    assert world.provider.leftovers("c") == []


def test_leftovers_are_the_clusters_disks_and_images_that_no_other_cluster_uses(make_world: MakeWorld) -> None:
    world = make_world()
    world.boot(0, **DISK)
    assert [(one.kind, one.name, one.group) for one in world.provider.leftovers("c")] == [("data disk", "1", "web")]
    assert world.provider.leftovers("other") == []
    world.provider.publish(BUILT, lambda *_: None)
    world.boot(7, image=BUILT)
    assert [one.kind for one in world.provider.leftovers("c")] == ["data disk", "image"]
    assert world.provider.leftovers("other") == []


def test_an_image_is_used_until_the_last_machine_is_gone(make_world: MakeWorld) -> None:
    world = make_world(destroy_time="10s")
    world.provider.publish(BUILT, lambda *_: None)
    (id_,) = world.boot(0, image=BUILT)
    (image,) = world.provider.leftovers("c")
    world.destroy(id_)
    assert errors(list(world.provider.sweep("c", [image]))) == ["ProviderError"]
    world.clock.sleep(10)
    assert errors(list(world.provider.sweep("c", [image]))) == [""]
    assert world.provider.published([BUILT]) == frozenset()


def _regroup(instance_id: str) -> Change:
    return Change(instance_id, request(0).tags)
