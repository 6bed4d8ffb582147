"""A plan to its end: what plan shows is what apply decides when all goes well."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from infrakit_groups.policies import rolling
from infrakit_py.engine.forecast import Forecast, forecast
from infrakit_py.model.instance import InFlight, InstanceState, Snapshot
from infrakit_py.model.plan import Desired
from tests.policies.test_rollout import told
from tests.policies.world import ILL, World, desired, member, snapshot


def foresee(wanted: Desired, there: Snapshot) -> Forecast:
    return forecast(rolling, wanted, there, 1000.0)


def test_nothing_to_do_is_no_wave() -> None:
    seen = foresee(desired(2), snapshot(member(0), member(1)))
    assert seen.waves == ()
    assert seen.counts == {"create": 0, "finish": 0, "replace": 0, "destroy": 0, "tag": 0, "publish": 0}


def test_a_rolling_replacement_is_foreseen_to_its_end() -> None:
    seen = foresee(desired(3, version="v2"), snapshot(*(member(n) for n in range(3))))
    assert (seen.counts["create"], seen.counts["replace"], seen.counts["destroy"]) == (3, 3, 0)
    assert seen.lowest_ready == 3
    assert [told(replace(seen.first, actions=wave.actions)) for wave in seen.waves] == [
        ["+web-3"],
        ["-web-0", "+web-0"],
        ["-web-1", "+web-1"],
        ["-web-2"],
    ]


def test_a_scale_down_is_counted_as_destroyed() -> None:
    seen = foresee(desired(2), snapshot(*(member(n) for n in range(4))))
    assert (seen.counts["create"], seen.counts["replace"], seen.counts["destroy"]) == (0, 0, 2)


def test_draining_is_foreseen_with_its_destruction() -> None:
    seen = foresee(desired(1, version="v2", drains=True), snapshot(member(0)))
    assert seen.counts["replace"] == 1
    assert [len(wave.actions) for wave in seen.waves] == [1, 1, 1]


def test_what_is_still_starting_is_expected_to_come_up() -> None:
    booting = member(0, state=InstanceState.PENDING, launched_at=990.0)
    seen = foresee(desired(1), snapshot(booting))
    assert seen.waves == ()
    assert seen.first.waits


def test_creations_in_flight_and_cut_short_are_expected_to_be_finished() -> None:
    coming = InFlight("0", 0, "v1-v1", None, 999.0, accepted=True)
    half = member(1, state=InstanceState.INCOMPLETE, launched_at=999.0)
    seen = foresee(desired(2), snapshot(half, in_flight=(coming,)))
    assert seen.counts["create"] == 1
    assert seen.counts["replace"] == 0


def test_what_was_asked_for_and_not_answered_is_asked_for_once_more_and_not_again() -> None:
    coming = tuple(InFlight(str(n), 0, "v1-v1", None, 999.0) for n in range(3))
    seen = foresee(desired(3), snapshot(in_flight=coming))
    assert seen.counts["create"] == 3
    assert len(seen.waves) == 1


def test_a_machine_that_lacks_something_is_given_it_once() -> None:
    there = member(0)
    lacking = replace(there, instance=replace(there.instance, lacks="its place in target group web"))
    seen = foresee(desired(1), snapshot(lacking))
    assert [told(replace(seen.first, actions=wave.actions)) for wave in seen.waves] == [["+web-0"]]


def test_a_blocked_plan_says_so() -> None:
    seen = foresee(desired(1), snapshot(*(member(n) for n in range(4))))
    assert seen.block is not None
    assert seen.waves == ()


def test_a_group_that_cannot_be_cured_ends_the_forecast() -> None:
    seen = foresee(desired(1, surge=0, unavailable=1), snapshot(member(0, health=ILL)))
    assert seen.counts["create"] == 1


@settings(max_examples=100, deadline=None)
@given(
    count=st.integers(0, 7),
    there=st.integers(0, 7),
    surge=st.integers(0, 3),
    unavailable=st.integers(0, 3),
    version=st.sampled_from(["v1", "v2"]),
)
def test_a_forecast_is_what_a_kind_world_does(
    count: int, there: int, surge: int, unavailable: int, version: str
) -> None:
    if not surge and not unavailable:
        surge = 1
    wanted = desired(count, version=version, surge=surge, unavailable=unavailable, allow=True)
    world = World(wanted)
    members = [member(n) for n in range(there)]
    world.members = {m.id: m for m in members}
    world.published = frozenset({wanted.image.identity}) if wanted.image else frozenset()
    seen = foresee(wanted, world.snapshot)
    done: list[list[str]] = []
    waited = True
    for _ in range(300):
        plan = world.plan()
        if plan.converged:
            break
        if plan.actions:
            done += [[]] if waited else []
            done[-1] += told(plan)
            world.carry_out(plan.actions)
        else:
            world.boot_all()
        waited = not plan.actions
        world.now += 1.0
    assert [told(replace(plan, actions=wave.actions)) for wave in seen.waves] == done
    assert seen.lowest_ready >= min(there, seen.bounds.floor)
