"""Machines that exist elsewhere are taken over as they are, and then are like any other."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_py.errors import ProviderError
from infrakit_py.model import tags
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import HealthCheck, Json
from tests.simulated.conftest import MakeWorld
from tests.simulated.worlds import REFERENCE, errors, open_world, request

SLOW: dict[str, Json] = {"boot_time": "30s", "destroy_time": "10s", "gone_listed_for": "1h"}
LAUNCHED_AT = 1_700_000_000.0


def elsewhere(slot: int, state: InstanceState = InstanceState.RUNNING, **changes: object) -> Instance:
    return replace(
        Instance(InstanceId(f"i-elsewhere-{slot}"), request(slot).tags, state, LAUNCHED_AT, zone="eu-1"),
        **changes,  # type: ignore[arg-type]
    )


@given(states=st.lists(st.sampled_from(InstanceState), max_size=5), data=st.data())
def test_what_is_adopted_is_what_was_there(states: list[InstanceState], data: st.DataObject) -> None:
    world = open_world(SLOW)
    instances = [
        elsewhere(
            slot,
            state,
            zone=data.draw(st.sampled_from(["", "a", "eu-1"])),
            host=data.draw(st.sampled_from(["", "rack-7"])),
            impaired=data.draw(st.sampled_from(["", "disk"])) if state is InstanceState.RUNNING else "",
            detail="powered off" if state is InstanceState.STOPPED else "",
            launched_at=data.draw(st.floats(1, 2e9)),
        )
        for slot, state in enumerate(states)
    ]
    world.provider.adopt(instances, healthy={})
    for before, now in zip(instances, world.provider.describe("c"), strict=True):
        assert (now.id, now.tags, now.state, now.zone) == (before.id, before.tags, before.state, before.zone)
        assert (now.launched_at, now.impaired, now.detail) == (before.launched_at, before.impaired, before.detail)
        assert now.host == before.host or not before.host
    world.provider.close()


def test_a_machine_that_was_not_healthy_is_sick(make_world: MakeWorld) -> None:
    world = make_world()
    ids = [InstanceId(f"i-elsewhere-{slot}") for slot in range(3)]
    world.provider.adopt([elsewhere(slot) for slot in range(3)], healthy={ids[0]: True, ids[1]: False})
    assert [world.provider.probe(id_, HealthCheck()) is None for id_ in ids] == [True, False, True]


def test_the_token_of_an_adopted_machine_gives_it(make_world: MakeWorld) -> None:
    world = make_world()
    world.provider.adopt([elsewhere(0)], healthy={})
    assert world.boot(0, user_data=b"whatever it was made from") == ["i-elsewhere-0"]
    world.destroy(InstanceId("i-elsewhere-0"))
    assert errors(world.provision(0)) == ["TokenSpent"]


def test_an_adopted_machine_goes_its_way(make_world: MakeWorld) -> None:
    world = make_world(**SLOW)
    world.provider.adopt([elsewhere(0, InstanceState.PENDING), elsewhere(1, InstanceState.LEAVING)], healthy={})
    world.clock.sleep(30)
    assert [one.state for one in world.provider.describe("c")] == ["running", "gone"]
    world.destroy(InstanceId("i-elsewhere-0"))
    world.clock.sleep(3610)
    assert world.listed() == []


def test_adopted_machines_take_room_and_count_for_the_spread(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": 3, "b": None})
    world.provider.adopt([elsewhere(slot, zone="a") for slot in range(3)], healthy={})
    world.boot(3, 4)
    assert [one.zone for one in world.provider.describe("c")] == ["a", "a", "a", "b", "b"]


def test_adopted_machines_die_at_the_rate_of_the_cloud_from_now_on(make_world: MakeWorld) -> None:
    world = make_world(mean_time_between_failures="1h")
    world.provider.adopt([elsewhere(slot) for slot in range(500)], healthy={})
    assert {one.state for one in world.provider.describe("c")} == {"running"}
    world.clock.sleep(3600)
    assert 260 < sum(one.state is InstanceState.STOPPED for one in world.provider.describe("c")) < 370


def test_one_that_is_here_already_is_refused_with_all_others(make_world: MakeWorld) -> None:
    world = make_world()
    world.provider.adopt([elsewhere(0)], healthy={})
    with pytest.raises(ProviderError, match="machine i-elsewhere-0 is here already"):
        world.provider.adopt([elsewhere(1), elsewhere(0)], healthy={})
    assert world.listed() == ["i-elsewhere-0"]


def test_what_one_simulated_cloud_has_another_can_adopt(make_world: MakeWorld) -> None:
    here, there = make_world(), make_world()
    for slot in range(5):
        there.boot(slot, tags={**request(slot).tags, tags.IMAGE: REFERENCE.identity})
    there.clock.sleep(60)
    here.clock.sleep(60)
    (fallen, *_) = there.listed()
    there.cloud.stop(fallen)
    here.provider.adopt(there.provider.describe("c"), healthy={})
    assert here.provider.describe("c") == there.provider.describe("c")
    assert here.boot(1) == there.boot(1)


def test_an_adopted_machine_is_called_by_its_tags(make_world: MakeWorld) -> None:
    world = make_world()
    named = elsewhere(1, tags={**request(1).tags, tags.LOGICAL_ID: "mariadb"})
    world.provider.adopt([elsewhere(0), named], healthy={})
    assert [one.facts["name"] for one in world.provider.describe("c")] == ["web-0", "mariadb"]
