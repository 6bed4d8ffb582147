"""What becomes of a machine while time passes."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_providers.simulated.machines import NEVER, Row, address_of, state_of
from infrakit_providers.simulated.settings import Spread, draw
from infrakit_py.errors import ProviderError, TokenMismatch, TokenSpent
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import HealthCheck
from tests.simulated.conftest import MakeWorld
from tests.simulated.worlds import BUILT, REFERENCE, errors, request

CHECK = HealthCheck(tcp=80)
REFUSED = "connection refused (simulated)"


def test_a_machine_is_pending_until_it_has_booted(make_world: MakeWorld) -> None:
    world = make_world(boot_time="5s")
    (id_,) = world.boot(0)
    world.clock.sleep(4.9)
    assert world.state(id_) is InstanceState.PENDING
    world.clock.sleep(0.2)
    assert world.state(id_) is InstanceState.RUNNING


def test_a_machine_answers_its_health_check_once_it_has_booted(make_world: MakeWorld) -> None:
    world = make_world(boot_time="5s")
    (id_,) = world.boot(0)
    assert world.provider.probe(id_, CHECK) == REFUSED
    world.clock.sleep(5)
    assert world.provider.probe(id_, CHECK) is None


def test_a_call_takes_as_long_as_it_is_told(make_world: MakeWorld) -> None:
    world = make_world(provision_delay="30s")
    before = world.clock.now()
    world.boot(0)
    assert world.clock.now() - before == 30


def test_a_destroyed_machine_leaves_then_is_gone_then_is_forgotten(make_world: MakeWorld) -> None:
    world = make_world(destroy_time="10s", gone_listed_for="1h")
    (id_,) = world.boot(0)
    world.destroy(id_)
    assert world.state(id_) is InstanceState.LEAVING
    world.clock.sleep(10)
    assert world.state(id_) is InstanceState.GONE
    assert world.listed() == [id_]
    world.clock.sleep(3600)
    assert world.state(id_) is None
    assert world.listed() == []


def test_by_default_a_destroyed_machine_is_gone_at_once(make_world: MakeWorld) -> None:
    world = make_world()
    (id_,) = world.boot(0)
    world.destroy(id_)
    assert (world.state(id_), world.listed()) == (None, [])


def test_destroying_again_does_not_delay_the_end(make_world: MakeWorld) -> None:
    world = make_world(destroy_time="10s")
    (id_,) = world.boot(0)
    world.destroy(id_)
    world.clock.sleep(6)
    world.destroy(id_, id_)
    world.clock.sleep(4)
    assert world.state(id_) is None


def test_a_new_machine_is_listed_late_and_looked_up_at_once(make_world: MakeWorld) -> None:
    world = make_world(listing_lag="20s")
    (id_,) = world.boot(0)
    assert world.provider.listing_lag_seconds == 20
    assert (world.listed(), world.state(id_)) == ([], InstanceState.PENDING)
    world.clock.sleep(20)
    assert world.listed() == [id_]


def test_a_token_gives_its_machine_also_while_that_is_not_listed(make_world: MakeWorld) -> None:
    world = make_world(listing_lag="20s")
    assert world.boot(0) == world.boot(0) == world.boot(0)


def test_a_killed_machine_stops_and_stays(make_world: MakeWorld) -> None:
    world = make_world()
    (id_,) = world.boot(0)
    world.clock.sleep(60)
    world.cloud.stop(id_)
    world.clock.sleep(3600)
    assert world.see(id_).state is InstanceState.STOPPED
    assert world.see(id_).detail == "killed (simulated)"
    assert world.provider.probe(id_, CHECK) == REFUSED


def test_a_machine_dies_once(make_world: MakeWorld) -> None:
    world = make_world()
    (id_,) = world.boot(0)
    world.cloud.stop(id_, "lightning")
    world.clock.sleep(60)
    world.cloud.stop(id_)
    assert world.see(id_).detail == "lightning"


def test_a_machine_is_impaired_while_it_runs_and_the_cloud_says_so(make_world: MakeWorld) -> None:
    world = make_world(boot_time="5s")
    (id_,) = world.boot(0)
    world.cloud.set_impaired(id_, "disk failed")
    assert world.see(id_).impaired == ""
    world.clock.sleep(5)
    assert world.see(id_).impaired == "disk failed"
    assert world.provider.probe(id_, CHECK) is None, "a health check knows nothing of it"
    world.cloud.set_impaired(id_, "")
    assert world.see(id_).impaired == ""
    world.cloud.set_impaired(id_, "disk failed")
    world.cloud.stop(id_)
    assert world.see(id_).impaired == ""


def test_about_eight_machines_share_a_host_of_their_zone(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": None, "b": None})
    world.boot(*range(320))
    hosts = Counter(one.host for one in world.provider.describe("c"))
    assert set(hosts.values()) == {8}
    assert all(one.host.startswith(f"{one.zone}-h") for one in world.provider.describe("c"))


def test_machines_made_one_after_another_are_on_different_hosts(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": None, "b": None})
    world.boot(*range(8))
    assert len({one.host for one in world.provider.describe("c")}) == 8


def test_machines_fail_at_the_rate_that_was_asked_for(make_world: MakeWorld) -> None:
    world = make_world(mean_time_between_failures="1h")
    world.boot(*range(1000))
    world.clock.sleep(2 + 3600)
    dead = sum(one.state is InstanceState.STOPPED for one in world.provider.describe("c"))
    assert 580 < dead < 680, "of machines that fail once an hour, 63 % fail within an hour"


def test_a_sick_machine_runs_and_answers_no_health_check_until_it_is_healed(make_world: MakeWorld) -> None:
    world = make_world()
    (id_,) = world.boot(0)
    world.clock.sleep(2)
    world.cloud.set_sick(id_, sick=True)
    assert (world.state(id_), world.provider.probe(id_, CHECK)) == (InstanceState.RUNNING, REFUSED)
    world.cloud.set_sick(id_, sick=False)
    assert world.provider.probe(id_, CHECK) is None


@pytest.mark.parametrize("named", [REFERENCE.reference, REFERENCE.identity[:12]], ids=["reference", "identity"])
def test_a_sick_image_never_gets_healthy(make_world: MakeWorld, named: str) -> None:
    world = make_world(sick_images=[named])
    (id_,) = world.boot(0)
    world.clock.sleep(3600)
    assert (world.state(id_), world.provider.probe(id_, CHECK)) == (InstanceState.RUNNING, REFUSED)


def test_a_machine_that_is_gone_is_not_healthy(make_world: MakeWorld) -> None:
    world = make_world()
    (id_,) = world.boot(0)
    world.clock.sleep(2)
    world.destroy(id_)
    assert world.provider.probe(id_, CHECK) == REFUSED


def test_nothing_can_be_done_to_a_machine_that_is_gone(make_world: MakeWorld) -> None:
    world = make_world()
    (id_,) = world.boot(0)
    world.destroy(id_)
    with pytest.raises(ProviderError, match=f"no machine {id_}"):
        world.cloud.stop(id_)


def test_the_token_of_a_machine_that_is_gone_is_spent(make_world: MakeWorld) -> None:
    world = make_world()
    (id_,) = world.boot(0)
    world.destroy(id_)
    assert errors(world.provision(0)) == [TokenSpent.__name__]
    assert errors(world.provision(0, incarnation=1)) == [""]


def test_the_token_of_a_machine_on_its_way_out_still_stands_for_it(make_world: MakeWorld) -> None:
    world = make_world(destroy_time="10s")
    (id_,) = world.boot(0)
    world.destroy(id_)
    assert world.boot(0) == [id_]


@pytest.mark.parametrize(
    "other",
    [{"machine": {"type": "large"}}, {"image": replace(REFERENCE, identity="ef" * 32)}, {"user_data": b"other"}],
    ids=["machine", "image", "user data"],
)
def test_a_token_with_other_parameters_is_refused(make_world: MakeWorld, other: dict[str, object]) -> None:
    world = make_world()
    world.boot(0)
    assert errors(world.provision(0, **other)) == [TokenMismatch.__name__]


def test_a_default_that_is_written_out_is_no_other_parameter(make_world: MakeWorld) -> None:
    world = make_world()
    assert world.boot(0) == world.boot(0, machine={"type": "small"})


def test_addresses_are_unique(make_world: MakeWorld) -> None:
    world = make_world()
    world.destroy(*world.boot(*range(300)))
    world.boot(*range(300, 600))
    addresses = [instance.addresses[0] for instance in world.provider.describe("c")]
    assert len(set(addresses)) == 300
    assert all(address.startswith("10.") for address in addresses)


def test_an_image_can_be_booted_once_all_of_it_was_published(make_world: MakeWorld) -> None:
    world = make_world(publish_rate="1MB")
    seen: list[tuple[int, bool]] = []

    def progress(done: int, total: int) -> None:
        assert total == BUILT.size
        seen.append((done, BUILT.identity in world.provider.published([BUILT])))

    before = world.clock.now()
    world.provider.publish(BUILT, progress)
    assert world.clock.now() - before == 8
    assert [done for done, published in seen if published] == [BUILT.size]
    assert world.boot(0, image=BUILT)


def test_a_reference_that_the_cloud_lacks_can_be_neither_booted_nor_published(make_world: MakeWorld) -> None:
    world = make_world(missing_images=[REFERENCE.reference])
    assert errors(world.provision(0)) == ["ImageMissing"]
    with pytest.raises(ProviderError, match="the simulated cloud has no 'linux-1'"):
        world.provider.publish(REFERENCE, lambda *_: None)


def test_a_machine_mapping_that_cannot_be_is_refused_alone(make_world: MakeWorld) -> None:
    world = make_world()
    outcomes = world.provider.provision([request(0, machine={"typo": 1}), request(1)])
    assert errors(list(outcomes)) == ["ProviderError", ""]


@given(st.floats(0.001, 0.999), st.floats(0, 100), st.floats(0, 100), st.floats(0, 50))
def test_a_boot_time_stays_within_its_bounds(chance: float, low: float, more: float, stddev: float) -> None:
    spread = Spread.model_construct(min=low, max=low + more, mean=low + more / 2, stddev=stddev)
    assert low <= spread.at(chance) <= low + more
    assert low <= Spread.model_construct(min=low, max=low + more).at(chance) <= low + more


@given(st.lists(st.text()))
def test_what_is_drawn_is_a_chance(key: list[str]) -> None:
    assert 0 < draw(*key) < 1
    assert draw(*key) == draw(*key)


@given(
    boots=st.floats(0, 100),
    dies=st.floats(0, 200) | st.just(NEVER),
    gone=st.floats(0, 300) | st.just(NEVER),
    moments=st.lists(st.floats(0, 400), min_size=2).map(sorted),
)
def test_a_machine_never_goes_back_to_an_earlier_state(
    boots: float, dies: float, gone: float, moments: list[float]
) -> None:
    order = list(InstanceState)
    blank = dict.fromkeys((name for name in Row._fields), "") | {"cut_short": False}
    row = Row(**blank | {"boots_at": boots, "dies_at": dies, "gone_at": gone})  # type: ignore[arg-type]
    reached = [order.index(state_of(row, moment)) for moment in moments]
    assert reached == sorted(reached)


@given(st.integers(1, 16_000_000), st.integers(1, 16_000_000))
def test_no_two_machines_share_an_address(one: int, other: int) -> None:
    assert (address_of(one) == address_of(other)) == (one == other)


def test_an_instance_shows_what_people_want_to_know(make_world: MakeWorld) -> None:
    world = make_world()
    (id_,) = world.boot(0, machine={"type": "large"}, user_data=b"hush")
    shown = world.see(id_)
    assert shown.facts == {"name": "web-0", "type": "large", "image": REFERENCE.short}
    assert shown.zone == "a"
    assert shown.launched_at == world.clock.now()
