"""Interchangeable machines, example by example."""

import pytest

from infrakit_py.model.instance import Health, InFlight, InstanceState, Verdict
from infrakit_py.model.plan import Cause, Condition, Create, Destroy, Drain, GroupPlan, Publish, Retag
from infrakit_py.model.quantities import Amount
from tests.policies.world import ILL, World, decide, desired, member, snapshot


def told(plan: GroupPlan) -> list[str]:
    """Write a plan's actions as `+web-0`, `-web-1`, `~web-2`."""
    signs = {Create: "+", Destroy: "-", Drain: ".", Retag: "~"}
    return [f"^{a.image.name}" if isinstance(a, Publish) else f"{signs[type(a)]}{a.name}" for a in plan.actions]


def test_an_empty_group_is_filled_at_once() -> None:
    assert told(decide(desired(3), snapshot())) == ["+web-0", "+web-1", "+web-2"]


def test_the_image_is_published_before_the_first_machine() -> None:
    assert told(decide(desired(1), snapshot(published=False))) == ["^v1", "+web-0"]


def test_an_image_is_not_published_for_machines_that_stay() -> None:
    assert decide(desired(1), snapshot(member(0), published=False)).converged


def test_the_image_is_published_before_an_old_machine_makes_room_for_a_new_one() -> None:
    old = [member(n) for n in range(3)]
    wanted = desired(3, version="v2", surge=0, unavailable=1)
    assert told(decide(wanted, snapshot(*old, published=False))) == ["^v2", "-web-0"]
    names = ("a", "b", "c")
    named = [member(n, named=True) for n in names]
    assert told(decide(desired(names=names, version="v2"), snapshot(*named, published=False))) == ["^v2", "-a"]


def test_nothing_is_published_for_machines_that_only_go() -> None:
    old = [member(n) for n in range(3)]
    assert told(decide(desired(2), snapshot(*old, published=False))) == ["-web-2"]


def test_a_new_version_comes_before_an_old_one_goes() -> None:
    old = [member(n) for n in range(3)]
    assert told(decide(desired(3, version="v2"), snapshot(*old))) == ["+web-3"]


def test_an_old_one_goes_once_the_new_one_is_ready() -> None:
    old = [member(n) for n in range(3)]
    assert told(decide(desired(3, version="v2"), snapshot(*old, member(3, version="v2")))) == ["-web-0"]


def test_without_surge_an_old_one_goes_first() -> None:
    old = [member(n) for n in range(3)]
    wanted = desired(3, version="v2", surge=0, unavailable=1)
    assert told(decide(wanted, snapshot(*old))) == ["-web-0"]


def test_trap_18_the_old_machine_stays_while_the_new_one_is_not_ready() -> None:
    old = [member(n) for n in range(3)]
    new = member(3, version="v2", launched_at=990.0, health=Health(Verdict.UNHEALTHY, "refused"))
    plan = decide(desired(3, version="v2"), snapshot(*old, new))
    assert told(plan) == []
    assert [wait.until for wait in plan.waits if "starting" in wait.reason] == [990.0 + 60.0]


def test_trap_18_a_new_machine_that_never_gets_ready_costs_no_old_one() -> None:
    old = [member(n) for n in range(3)]
    assert told(decide(desired(3, version="v2"), snapshot(*old, member(3, version="v2", health=ILL)))) == ["-web-3"]


def test_trap_23_a_group_of_one_is_replaced_by_surge() -> None:
    assert told(decide(desired(1, version="v2"), snapshot(member(0)))) == ["+web-1"]


def test_trap_27_an_unhealthy_group_can_be_updated_to_its_cure() -> None:
    world = World(desired(3, version="v2"))
    world.members = {m.id: m for m in (member(n, health=ILL) for n in range(3))}
    assert world.settle().ready == 3


def test_trap_2_an_unhealthy_machine_is_replaced_without_any_update() -> None:
    group = snapshot(member(0), member(1), member(2, health=ILL))
    assert told(decide(desired(3), group)) == ["+web-3"]
    assert told(decide(desired(3), snapshot(*group.members, member(3)))) == ["-web-2"]


def test_trap_21_a_booting_machine_is_not_unhealthy_within_its_grace() -> None:
    young = member(0, launched_at=950.0, health=Health(Verdict.UNHEALTHY, "refused"))
    plan = decide(desired(1), snapshot(young))
    assert plan.members[0].condition is Condition.STARTING
    assert told(plan) == []


def test_grace_is_over_with_the_first_healthy_answer() -> None:
    young = member(0, launched_at=950.0, health=Health(Verdict.UNHEALTHY, "refused", ever_healthy=True))
    assert decide(desired(1), snapshot(young)).members[0].condition is Condition.UNHEALTHY


def test_a_dead_machine_goes_and_its_successor_comes_in_the_same_tick() -> None:
    group = snapshot(member(0), member(1, state=InstanceState.STOPPED), member(2))
    assert told(decide(desired(3), group)) == ["-web-1", "+web-3"]


def test_trap_10_scale_down_takes_the_broken_machine_not_the_oldest() -> None:
    group = snapshot(member(0, launched_at=1.0), member(1, launched_at=2.0, health=ILL), member(2, launched_at=3.0))
    assert told(decide(desired(2), group)) == ["-web-1"]


def test_scale_down_takes_the_youngest_of_healthy_machines() -> None:
    group = snapshot(*(member(n, launched_at=float(n)) for n in range(4)))
    assert told(decide(desired(2), group)) == ["-web-3", "-web-2"]


def test_scale_down_keeps_zones_even() -> None:
    group = snapshot(
        *(member(n, zone="a", launched_at=float(n)) for n in range(4)), member(4, zone="b", launched_at=9.0)
    )
    assert told(decide(desired(3), group)) == ["-web-3", "-web-2"]


def test_scale_down_by_more_than_half_is_blocked() -> None:
    plan = decide(desired(1), snapshot(*(member(n) for n in range(3))))
    assert plan.block is not None
    assert "from 3 to 1" in plan.block.reason


def test_scale_down_by_more_than_half_goes_on_when_allowed() -> None:
    plan = decide(desired(1, allow=True), snapshot(*(member(n) for n in range(3))))
    assert told(plan) == ["-web-2", "-web-1"]


def test_trap_6_a_group_of_zero_is_converged_when_it_is_empty() -> None:
    assert decide(desired(0), snapshot()).converged


def test_trap_4_a_change_to_named_members_is_blocked_and_destroys_nothing() -> None:
    sized = snapshot(*(member(n) for n in range(3)))
    plan = decide(desired(names=("a", "b")), sized)
    assert plan.block is not None
    assert "size to logical_ids" in plan.block.reason


def test_prevent_destroy_blocks_a_scale_down() -> None:
    plan = decide(desired(2, prevent_destroy=True), snapshot(*(member(n) for n in range(3))))
    assert plan.block is not None
    assert "prevent_destroy" in plan.block.reason


def test_percentages_round_surge_up_and_unavailable_down() -> None:
    plan = decide(desired(3, surge=Amount(25, percent=True), unavailable=Amount(50, percent=True)), snapshot())
    assert (plan.bounds.surge, plan.bounds.unavailable, plan.bounds.floor) == (1, 1, 2)


def test_both_bounds_zero_after_rounding_is_blocked() -> None:
    plan = decide(desired(3, surge=0, unavailable=Amount(10, percent=True)), snapshot())
    assert plan.block is not None


def test_trap_7_a_draining_machine_is_not_dismissed_again_by_a_second_change() -> None:
    old = [member(0, draining=995.0), member(1), member(2)]
    new = member(3, version="v2")
    plan = decide(desired(3, version="v3", drains=True), snapshot(*old, new))
    assert not [a for a in plan.actions if isinstance(a, Destroy | Drain)]


def test_a_drained_machine_is_destroyed() -> None:
    plan = decide(desired(1, drains=True), snapshot(member(0), member(1, draining=999.0)))
    assert told(plan) == []
    assert [wait.until for wait in plan.waits] == [999.0 + 30.0]


def test_trap_3_a_drain_that_never_ends_is_over_at_its_deadline() -> None:
    plan = decide(desired(1, drains=True), snapshot(member(0), member(1, draining=900.0)))
    assert told(plan) == ["-web-1"]


def test_a_machine_that_serves_is_drained_first_and_a_broken_one_is_not() -> None:
    group = snapshot(member(0), member(1), member(2, health=ILL), member(3), member(4))
    plan = decide(desired(3, drains=True), group)
    assert told(plan) == ["-web-2", ".web-4"]


def test_an_accepted_creation_counts_as_present() -> None:
    coming = InFlight("0", 0, "v1-v1", None, 999.0, accepted=True)
    assert told(decide(desired(1), snapshot(in_flight=(coming,)))) == []


def test_an_unanswered_creation_is_asked_for_again_under_its_own_incarnation() -> None:
    coming = InFlight("0", 4, "v1-v1", None, 999.0)
    plan = decide(desired(1), snapshot(in_flight=(coming,)))
    assert [(a.slot, a.incarnation, a.resumes) for a in plan.actions if isinstance(a, Create)] == [("0", 4, True)]


def test_trap_14_a_machine_still_being_created_is_not_destroyed() -> None:
    pending = member(0, state=InstanceState.PENDING, launched_at=999.0)
    assert told(decide(desired(1), snapshot(pending))) == []


def test_a_creation_cut_short_is_finished_in_place() -> None:
    half = member(0, state=InstanceState.INCOMPLETE, launched_at=999.0, incarnation=2)
    plan = decide(desired(1), snapshot(half))
    assert [(a.slot, a.incarnation, a.resumes) for a in plan.actions if isinstance(a, Create)] == [("0", 2, True)]


def test_an_outdated_creation_cut_short_is_cleared_away() -> None:
    half = member(0, state=InstanceState.INCOMPLETE, launched_at=999.0)
    assert told(decide(desired(1, version="v2"), snapshot(half))) == ["-web-0", "+web-1"]


def test_machines_on_another_provider_are_outdated() -> None:
    plan = decide(desired(1), snapshot(member(0, provider="old")))
    assert told(plan) == ["+web-1"]
    assert "provider" in plan.members[0].reason


def test_changed_tags_replace_nothing() -> None:
    plan = decide(desired(1, user_tags={"tier": "web"}), snapshot(member(0, user_tags={"old": "x"})))
    (action,) = plan.actions
    assert isinstance(action, Retag)
    assert (dict(action.set_tags), action.remove_tags) == ({"tier": "web", "infrakit.tags": "tier"}, ("old",))


def test_unwanted_groups_are_blocked_until_that_is_allowed() -> None:
    assert decide(desired(undeclared=True), snapshot(member(0))).block is not None
    plan = decide(desired(undeclared=True, allow=True), snapshot(member(0)))
    assert [(a.cause, a.name) for a in plan.actions if isinstance(a, Destroy)] == [(Cause.UNDECLARED, "web-0")]


def test_unknown_health_is_neither_counted_on_nor_replaced() -> None:
    silent = member(2, health=Health(Verdict.UNKNOWN, "cannot ask", ever_healthy=True))
    plan = decide(desired(3), snapshot(member(0), member(1), silent))
    assert told(plan) == []
    assert plan.ready == 2
    assert not plan.converged


@pytest.mark.parametrize("surge", [1, 2, 5])
def test_a_rollout_never_exceeds_its_surge(surge: int) -> None:
    world = World(desired(5, surge=surge))
    world.settle()
    world.wanted = desired(5, surge=surge, version="v2")
    most = 0
    for _ in range(50):
        plan = world.plan()
        if plan.converged:
            break
        world.carry_out(plan.actions)
        most = max(most, len(world.members))
        world.boot_all()
    assert plan.converged
    assert most == 5 + surge
