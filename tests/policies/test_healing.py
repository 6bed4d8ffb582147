"""Back-off, the circuit breaker, protection, expiry and rebalancing, as single decisions."""

from dataclasses import replace

import pytest

from infrakit_py.model import tags
from infrakit_py.model.instance import Health, InstanceState, Member, Verdict
from infrakit_py.model.plan import Create, Desired, Destroy, GroupPlan, Previous
from infrakit_py.model.quantities import Amount
from infrakit_py.model.spec import HealingSpec
from tests.policies.world import ILL, WELL, decide, desired, image, member, snapshot

NOW = 10_000.0


def created(plan: GroupPlan) -> list[Create]:
    return [a for a in plan.actions if isinstance(a, Create)]


def gone(plan: GroupPlan) -> list[str]:
    return [a.name for a in plan.actions if isinstance(a, Destroy)]


def dead(slot: int, *, failures: int, launched_at: float, served: bool = False) -> Member:
    health = Health(Verdict.UNKNOWN, ever_healthy=served)
    made = member(slot, state=InstanceState.STOPPED, launched_at=launched_at, health=health)
    return tagged(made, **{tags.FAILURES: str(failures)}) if failures else made


def tagged(made: Member, **more: str) -> Member:
    return replace(made, instance=replace(made.instance, tags={**made.instance.tags, **more}))


def wanted(count: int, **changes: object) -> Desired:
    return replace(desired(count=count), **changes)  # type: ignore[arg-type]  # fields of Desired


def test_a_first_failure_is_healed_at_once() -> None:
    plan = decide(wanted(1), snapshot(dead(0, failures=0, launched_at=NOW - 1)), NOW)
    assert [c.failures for c in created(plan)] == [1]
    assert gone(plan) == ["web-0"]


@pytest.mark.parametrize(("failures", "delay"), [(1, 10.0), (2, 20.0), (3, 40.0), (4, 1800.0), (9, 1800.0)])
def test_the_more_failed_in_a_row_the_later_the_next_comes(failures: int, delay: float) -> None:
    there = snapshot(dead(0, failures=failures, launched_at=NOW))
    early = decide(wanted(1), there, NOW + delay - 0.1)
    assert early.actions == ()
    assert early.waits[0].until == NOW + delay
    late = decide(wanted(1), there, NOW + delay)
    assert [c.failures for c in created(late)] == [failures + 1]
    assert gone(late) == ["web-0"]


def test_one_that_served_for_long_is_no_failure_in_a_row() -> None:
    plan = decide(wanted(1), snapshot(dead(0, failures=4, launched_at=NOW - 5000, served=True)), NOW)
    assert [c.failures for c in created(plan)] == [0]


def test_when_most_of_a_group_is_ill_nobody_is_replaced_for_it() -> None:
    there = snapshot(*(member(n, health=ILL if n < 4 else WELL) for n in range(6)))
    plan = decide(wanted(6), there, NOW)
    assert plan.actions == ()
    assert "the breaker is open" in plan.waits[0].reason


def test_the_breaker_never_blocks_a_cure() -> None:
    there = snapshot(*(member(n, health=ILL) for n in range(6)))
    plan = decide(replace(desired(count=6, version="v2"), healing=HealingSpec()), there, NOW)
    assert created(plan)


def test_behind_a_stopped_rollout_an_old_machine_goes_only_once_its_predecessors_successor_is_up() -> None:
    stopped = replace(
        desired(2, version="v2"), previous=Previous("v1-v1", image("v1")), stopped="1 new machine failed"
    )
    failed = member(2, version="v2", health=replace(ILL, ever_healthy=False), launched_at=NOW - 100)
    successor = Health(Verdict.UNHEALTHY, "tcp 8080: connection refused")
    starting = member(0, health=successor, launched_at=NOW - 1, incarnation=1)
    assert gone(decide(stopped, snapshot(starting, member(1, health=ILL), failed), NOW)) == []
    up = replace(starting, health=WELL)
    assert gone(decide(stopped, snapshot(up, member(1, health=ILL), failed), NOW)) == ["web-1"]


def test_half_of_a_small_group_may_be_ill_and_is_healed() -> None:
    assert created(decide(wanted(2), snapshot(member(0, health=ILL), member(1, health=ILL)), NOW))


def test_machines_that_fail_in_one_zone_only_are_left_alone() -> None:
    ill = [member(n, zone="a", health=ILL) for n in range(3)]
    well = [member(n, zone="b") for n in range(3, 9)]
    plan = decide(wanted(9), snapshot(*ill, *well), NOW)
    assert plan.actions == ()
    assert "zone a" in plan.waits[0].reason


def test_machines_that_fail_here_and_there_are_replaced() -> None:
    ill = [member(0, zone="a", health=ILL), member(1, zone="b", health=ILL), member(2, zone="b", health=ILL)]
    well = [member(n, zone="ab"[n % 2]) for n in range(3, 9)]
    assert created(decide(wanted(9), snapshot(*ill, *well), NOW))


def test_a_protected_machine_is_nobodys_victim() -> None:
    kept = tagged(member(0, health=ILL), **{tags.PROTECTED: "true"})
    old = tagged(member(1, version="v0"), **{tags.PROTECTED: "yes"})
    plan = decide(wanted(1), snapshot(kept, old, member(2), member(3)), NOW)
    assert not {"web-0", "web-1"} & set(gone(plan))


def test_trap_24_a_protected_machine_spoils_nothing_for_the_others() -> None:
    there = [tagged(member(0), **{tags.PROTECTED: "true"}), *(member(n) for n in range(1, 4))]
    plan = decide(wanted(2), snapshot(*there), NOW)
    assert len(gone(plan)) == 2
    assert "web-0" not in gone(plan)


def test_a_machine_that_a_person_marked_is_replaced_by_one_of_its_own_version() -> None:
    marked = tagged(member(0), **{tags.REPLACE: "true"})
    first = decide(wanted(2), snapshot(marked, member(1)), NOW)
    assert [c.reason for c in created(first)] == ["to replace web-0 (a person marked it for replacement)"]
    assert gone(first) == []
    assert gone(decide(wanted(2), snapshot(marked, member(1), member(2)), NOW)) == ["web-0"]


def test_a_crowded_zone_gives_one_machine_to_another_and_then_rests() -> None:
    a = [member(n, zone="a", launched_at=n) for n in range(4)]
    balanced = wanted(4, rebalance=True)
    there = replace(snapshot(*a), zones=("a", "b"))
    assert len(created(decide(balanced, there, NOW))) == 1
    with_successor = replace(snapshot(*a, member(4, zone="b", launched_at=NOW - 10)), zones=("a", "b"))
    assert gone(decide(balanced, with_successor, NOW)) == ["web-0"]
    even = replace(snapshot(*a[2:], *(member(n, zone="b", launched_at=5) for n in (4, 5))), zones=("a", "b"))
    assert decide(balanced, even, NOW).converged


def test_where_another_zone_has_no_room_rebalancing_is_not_tried_over_and_over() -> None:
    a = [member(n, zone="a", launched_at=NOW - 100 + n) for n in range(4)]
    there = replace(snapshot(*a), zones=("a", "b"))
    assert decide(wanted(4, rebalance=True), there, NOW).converged


def test_what_may_be_missing_is_what_the_clusters_budget_leaves() -> None:
    there = [member(n, version="v0") for n in range(4)]
    wish = replace(desired(count=4, surge=Amount(0), unavailable=Amount(3)), allowance=1)
    assert len(gone(decide(wish, snapshot(*there), NOW))) == 1
    assert gone(decide(replace(wish, allowance=0), snapshot(*there), NOW)) == []
