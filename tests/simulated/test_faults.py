"""Calls fail when they are told to, at the rate that was asked for, and over the limits of EC2."""

import pytest

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.faults import Fault
from infrakit_py.errors import IncompleteView, ProviderError, Throttled, Transient
from infrakit_py.model.instance import InstanceState
from infrakit_py.spi.provider import CallRates, Rate, TagRequest
from tests.simulated.conftest import MakeWorld
from tests.simulated.worlds import World, errors


def fails(world: World, *slots: int) -> str:
    """Provision, and return the name of the error that the call as a whole ends with."""
    try:
        world.provision(*slots)
    except ProviderError as error:
        return type(error).__name__
    return ""


@pytest.mark.parametrize(
    ("fault", "raised"),
    [(Fault.TRANSIENT, Transient), (Fault.THROTTLED, Throttled), (Fault.INCOMPLETE_VIEW, IncompleteView)],
    ids=str,
)
def test_the_next_calls_fail_as_ordered_and_then_no_more(
    make_world: MakeWorld, fault: Fault, raised: type[ProviderError]
) -> None:
    world = make_world()
    world.cloud.fail(Call.DESCRIBE, fault, times=2)
    for _ in range(2):
        with pytest.raises(raised):
            world.listed()
    assert world.listed() == []


def test_orders_are_carried_out_one_after_the_other(make_world: MakeWorld) -> None:
    world = make_world()
    world.cloud.fail(Call.PROVISION, Fault.THROTTLED)
    world.cloud.fail(Call.PROVISION, Fault.TRANSIENT)
    assert [fails(world, 0) for _ in range(3)] == ["Throttled", "Transient", ""]


def test_an_order_for_one_kind_of_call_touches_no_other(make_world: MakeWorld) -> None:
    world = make_world()
    world.cloud.fail(Call.TAG, Fault.TRANSIENT)
    (id_,) = world.boot(0)
    with pytest.raises(Transient):
        world.provider.tag([TagRequest(id_, "c", {})])


@pytest.mark.parametrize(("fault", "error"), [(Fault.CAPACITY, "NoCapacity"), (Fault.QUOTA, "QuotaExceeded")])
def test_a_lack_is_the_outcome_of_each_machine(make_world: MakeWorld, fault: Fault, error: str) -> None:
    world = make_world()
    world.cloud.fail(Call.PROVISION, fault)
    assert errors(world.provision(0, 1)) == [error, error]
    assert errors(world.provision(0, 1)) == ["", ""]


def test_after_a_time_out_nothing_was_done(make_world: MakeWorld) -> None:
    world = make_world()
    world.cloud.fail(Call.PROVISION, Fault.TRANSIENT)
    assert fails(world, 0) == "Transient"
    assert world.listed() == []


def test_after_a_lost_reply_everything_was_done(make_world: MakeWorld) -> None:
    world = make_world()
    world.cloud.fail(Call.PROVISION, Fault.LOST_REPLY)
    assert fails(world, 0, 1) == "Transient"
    assert world.listed() == world.boot(0, 1)


def test_a_destruction_whose_reply_was_lost_was_done(make_world: MakeWorld) -> None:
    world = make_world()
    (id_,) = world.boot(0)
    world.cloud.fail(Call.DESTROY, Fault.LOST_REPLY)
    with pytest.raises(Transient):
        world.destroy(id_)
    assert world.listed() == []


def test_a_creation_cut_short_is_incomplete_until_it_is_asked_for_again(make_world: MakeWorld) -> None:
    world = make_world(boot_time="5s")
    world.cloud.fail(Call.PROVISION, Fault.CUT_SHORT)
    assert fails(world, 0) == "Transient"
    world.clock.sleep(60)
    (id_,) = world.listed()
    assert (world.see(id_).state, world.see(id_).addresses) == (InstanceState.INCOMPLETE, ())
    assert world.boot(0) == [id_]
    assert world.state(id_) is InstanceState.PENDING
    world.clock.sleep(5)
    assert (world.state(id_), len(world.see(id_).addresses)) == (InstanceState.RUNNING, 1)


def test_a_creation_cut_short_can_be_destroyed(make_world: MakeWorld) -> None:
    world = make_world()
    world.cloud.fail(Call.PROVISION, Fault.CUT_SHORT)
    fails(world, 0)
    world.destroy(*world.listed())
    assert world.listed() == []


@pytest.mark.parametrize(
    ("call", "fault"),
    [(Call.TAG, Fault.CUT_SHORT), (Call.DESCRIBE, Fault.QUOTA), (Call.DESTROY, Fault.INCOMPLETE_VIEW)],
)
def test_what_makes_no_sense_cannot_be_ordered(make_world: MakeWorld, call: Call, fault: Fault) -> None:
    with pytest.raises(ProviderError):
        make_world().cloud.fail(call, fault)


def test_nothing_can_be_ordered_less_than_once(make_world: MakeWorld) -> None:
    with pytest.raises(ProviderError, match="cannot fail 0 times"):
        make_world().cloud.fail(Call.TAG, Fault.TRANSIENT, times=0)


def test_a_share_of_all_calls_fails(make_world: MakeWorld) -> None:
    world = make_world(failure_rate=0.3)
    failed = sum(bool(fails(world, slot)) for slot in range(500))
    assert 110 < failed < 190


def test_half_of_the_changes_that_fail_were_made(make_world: MakeWorld) -> None:
    world = make_world(failure_rate=0.5)
    failed = [slot for slot in range(400) if fails(world, slot)]
    made = {int(machine.name.removeprefix("web-")) for machine in world.cloud.everything()}
    assert 0.35 < sum(slot in made for slot in failed) / len(failed) < 0.65
    assert all(slot in made for slot in range(400) if slot not in failed)


@pytest.mark.parametrize("call", ["provision", "destroy", "tag"])
def test_the_rates_that_are_declared_are_those_that_are_kept(make_world: MakeWorld, call: str) -> None:
    world = make_world(limits="ec2")
    rate = getattr(world.provider.limits, call).calls
    assert isinstance(rate, Rate)

    def refused() -> bool:
        try:
            getattr(world.provider, call)([])
        except Throttled:
            return True
        return False

    assert [refused() for _ in range(int(rate.burst) + 1)].index(True) == rate.burst
    world.clock.sleep(10)
    expected = min(rate.burst, 10 * rate.per_second)
    assert [refused() for _ in range(int(expected) + 1)].index(True) == expected


def test_the_rates_of_ec2_are_declared(make_world: MakeWorld) -> None:
    limits = make_world(limits="ec2").provider.limits
    assert limits.provision == CallRates(Rate(5, 2), Rate(1000, 2))
    assert limits.destroy == CallRates(Rate(100, 5), Rate(1000, 20))
    assert limits.tag == CallRates(Rate(100, 10), None)


def test_without_limits_no_rates_are_declared(make_world: MakeWorld) -> None:
    limits = make_world().provider.limits
    assert limits.provision == limits.destroy == limits.tag == CallRates()


def test_without_limits_nothing_is_throttled(make_world: MakeWorld) -> None:
    world = make_world()
    assert not any(fails(world, slot) for slot in range(200))


def test_ec2_takes_five_launches_at_once_then_two_a_second(make_world: MakeWorld) -> None:
    world = make_world(limits="ec2")
    assert [fails(world, slot) for slot in range(6)] == [""] * 5 + ["Throttled"]
    world.clock.sleep(1)
    assert [fails(world, slot) for slot in range(6, 9)] == ["", "", "Throttled"]


def test_ec2_gives_a_thousand_machines_at_once_then_two_a_second(make_world: MakeWorld) -> None:
    world = make_world(limits="ec2")
    assert fails(world, *range(1000)) == ""
    assert fails(world, 1000) == "Throttled"
    world.clock.sleep(10)
    assert fails(world, *range(1000, 1021)) == "Throttled"
    assert fails(world, *range(1000, 1020)) == ""


def test_a_throttled_call_does_nothing(make_world: MakeWorld) -> None:
    world = make_world(limits="ec2")
    for slot in range(7):
        fails(world, slot)
    assert len(world.cloud.everything()) == 5


def test_ec2_takes_a_hundred_listings_at_once_then_twenty_a_second(make_world: MakeWorld) -> None:
    world = make_world(limits="ec2")
    for _ in range(100):
        world.listed()
    with pytest.raises(Throttled):
        world.listed()
    world.clock.sleep(1)
    for _ in range(20):
        world.listed()
