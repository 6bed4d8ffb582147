"""What went wrong in systems like this one, as far as a provider is to blame."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.faults import Fault
from infrakit_providers.simulated.placement import Room
from infrakit_py.errors import IncompleteView, ProviderError, QuotaExceeded
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceId
from infrakit_py.spi.provider import DestroyRequest
from tests.simulated.conftest import MakeWorld
from tests.simulated.worlds import World, errors, request


def zones_of(world: World, group: str = "web") -> Counter[str]:
    return Counter(one.zone for one in world.provider.describe("c") if one.tags[tags.GROUP] == group)


@pytest.mark.parametrize("asked", ["c", "", "other"])
def test_trap_12_a_machine_that_lacks_the_key_matches_no_cluster(make_world: MakeWorld, asked: str) -> None:
    world = make_world()
    world.cloud.add_foreign("bare", {})
    world.cloud.add_foreign("their own cluster", {"cluster": "c", "Name": "c"})
    world.cloud.add_foreign("half ours", {tags.CLUSTER: "c"})
    assert world.listed(asked) == []


def test_trap_19_quota_is_not_transient(make_world: MakeWorld) -> None:
    world = make_world(quota=2)
    outcomes = world.provision(0, 1, 2)
    assert errors(outcomes) == ["", "", QuotaExceeded.__name__]
    assert outcomes[2].error and not outcomes[2].error.retryable


def test_trap_24_one_machine_that_may_not_be_destroyed_blocks_no_other(make_world: MakeWorld) -> None:
    world = make_world()
    first, last = world.boot(0, 1)
    foreign = InstanceId(world.cloud.add_foreign("theirs", {}))
    requests = [DestroyRequest(id_, "c", "web") for id_ in (first, foreign, InstanceId("i-never"), last)]
    assert errors(list(world.provider.destroy(requests))) == ["", "NotOurs", "", ""]
    assert [machine.id for machine in world.cloud.everything()] == [foreign]


@pytest.mark.parametrize("fault", [Fault.LOST_REPLY, Fault.CUT_SHORT])
def test_trap_25_a_machine_has_its_tags_however_its_creation_ends(make_world: MakeWorld, fault: Fault) -> None:
    world = make_world()
    world.cloud.fail(Call.PROVISION, fault)
    with pytest.raises(ProviderError):
        world.provision(0)
    assert [dict(machine.tags) for machine in world.cloud.everything()] == [dict(request(0).tags)]


def test_trap_26_each_machine_of_a_group_has_a_disk_of_its_own(make_world: MakeWorld) -> None:
    world = make_world()
    wanted = [("db", "1"), ("db", "2"), ("cache", "1")]
    disk = {"data_disk": "1GiB"}
    requests = [request(at, group=group, data_key=key, machine=disk) for at, (group, key) in enumerate(wanted)]
    assert errors(list(world.provider.provision(requests))) == ["", "", ""]
    assert len({instance.facts["data_disk"] for instance in world.provider.describe("c")}) == 3


def test_trap_26_a_disk_is_held_by_one_machine_at_a_time(make_world: MakeWorld) -> None:
    world = make_world(destroy_time="10s")
    disk: dict[str, object] = {"machine": {"data_disk": "1GiB"}, "data_key": "1"}
    (first,) = world.boot(0, **disk)
    assert errors(world.provision(1, **disk)) == ["Transient"], "held by a machine that runs"
    world.destroy(first)
    assert errors(world.provision(1, **disk)) == ["Transient"], "held by a machine that is not yet gone"
    world.clock.sleep(10)
    (second,) = world.boot(1, **disk)
    assert world.see(second).facts["data_disk"]


def test_trap_28_machines_chosen_at_once_see_one_another(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": None, "b": None})
    world.boot(*range(20))
    assert zones_of(world) == {"a": 10, "b": 10}


def test_trap_28_machines_chosen_at_once_by_several_threads_see_one_another(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": None, "b": None, "c": None})
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda start: world.boot(*range(start, start + 5)), range(0, 30, 5)))
    assert zones_of(world) == {"a": 10, "b": 10, "c": 10}


def test_trap_28_a_group_is_spread_by_itself(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": None, "b": None})
    world.boot(*range(6), group="only-in-a", machine={"zones": ["a"]})
    world.boot(*range(6))
    assert zones_of(world) == {"a": 3, "b": 3}


def test_trap_28_a_replacement_goes_where_one_is_missing(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": None, "b": None}, destroy_time="1h")
    world.boot(*range(6))
    world.destroy(*[one.id for one in world.provider.describe("c") if one.zone == "b"][:2])
    world.boot(6, 7)
    assert Counter(one.zone for one in world.provider.describe("c") if one.state != "leaving") == {"a": 3, "b": 3}


@settings(max_examples=50)
@given(zones=st.integers(1, 5), batches=st.lists(st.integers(0, 9), max_size=6))
def test_trap_28_no_two_zones_ever_differ_by_more_than_one(zones: int, batches: list[int]) -> None:
    room = Room({f"z{number}": None for number in range(zones)}, None, [])
    placed: Counter[str] = Counter({f"z{number}": 0 for number in range(zones)})
    for batch in batches:
        placed.update(room.place("c", "g", "small", ()) for _ in range(batch))
        assert max(placed.values()) - min(placed.values()) <= 1


def test_trap_29_a_view_that_lacks_a_zone_is_an_error(make_world: MakeWorld) -> None:
    world = make_world()
    world.boot(0, 1)
    world.cloud.fail(Call.DESCRIBE, Fault.INCOMPLETE_VIEW)
    with pytest.raises(IncompleteView):
        world.provider.describe("c")
    assert len(world.listed()) == 2
