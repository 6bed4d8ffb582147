"""Named machines, example by example."""

import pytest

from infrakit_groups.policies.quorum import quorum
from infrakit_py.model.instance import Health, InFlight, InstanceState, Verdict
from infrakit_py.model.plan import Create
from tests.policies.test_rollout import told
from tests.policies.world import ILL, World, decide, desired, image, member, snapshot

ABC = ("a", "b", "c")


def three(**changes: dict[str, object]) -> list:  # type: ignore[type-arg]
    return [member(name, named=True, **changes.get(name, {})) for name in ABC]  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "floor"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 3), (5, 3), (7, 4)])
def test_quorum_is_the_majority_or_all_but_one(count: int, floor: int) -> None:
    assert quorum(count) == floor


def test_names_without_a_machine_get_one_at_once() -> None:
    plan = decide(desired(names=ABC), snapshot())
    assert told(plan) == ["+a", "+b", "+c"]
    assert [(a.slot, a.logical_id) for a in plan.actions if isinstance(a, Create)] == [(n, n) for n in ABC]


def test_an_outdated_member_goes_before_its_successor_comes() -> None:
    wanted = desired(names=ABC, version="v2")
    assert told(decide(wanted, snapshot(*three()))) == ["-a"]
    assert told(decide(wanted, snapshot(*three()[1:]))) == ["+a"]


def test_nobody_goes_while_another_is_starting() -> None:
    starting = {"version": "v2", "state": InstanceState.PENDING, "launched_at": 990.0}
    assert told(decide(desired(names=ABC, version="v2"), snapshot(*three(a=starting)))) == []


def test_nobody_that_serves_goes_below_the_quorum() -> None:
    silent = {"version": "v2", "health": Health(Verdict.UNKNOWN, "cannot ask", ever_healthy=True)}
    assert told(decide(desired(names=ABC, version="v2"), snapshot(*three(c=silent)))) == []


def test_the_failed_member_goes_first() -> None:
    wanted = desired(names=ABC, version="v2")
    assert told(decide(wanted, snapshot(*three(b={"health": ILL})))) == ["-b"]
    assert told(decide(wanted, snapshot(*three(c={"state": InstanceState.STOPPED}, b={"health": ILL})))) == ["-c"]


def test_a_member_that_left_the_list_goes_last() -> None:
    plan = decide(desired(names=("a", "b", "d"), allow=True), snapshot(*three()))
    assert told(plan) == ["+d"]


def test_a_second_machine_of_one_name_goes() -> None:
    twin = member("a", named=True, incarnation=1)
    assert told(decide(desired(names=ABC), snapshot(*three(), twin))) == ["-a"]


def test_an_unanswered_creation_of_a_name_is_asked_for_again() -> None:
    coming = InFlight("a", 3, "v1-v1", "a", 999.0)
    plan = decide(desired(names=("a",)), snapshot(in_flight=(coming,)))
    assert [(a.slot, a.incarnation, a.resumes) for a in plan.actions if isinstance(a, Create)] == [("a", 3, True)]


def test_the_incarnation_moves_with_each_successor() -> None:
    world = World(desired(names=("a",)))
    world.settle()
    world.wanted = desired(names=("a",), version="v2")
    world.settle()
    assert [m.incarnation for m in world.members.values()] == [1]


def test_trap_4_a_change_to_size_is_blocked_and_destroys_nothing() -> None:
    plan = decide(desired(3), snapshot(*(member(n, named=True) for n in ABC)))
    assert plan.block is not None
    assert "logical_ids to size" in plan.block.reason


def test_a_change_of_kind_that_is_allowed_brings_the_named_before_the_others_go() -> None:
    world = World(desired(names=("a", "b"), allow=True))
    world.published = frozenset({image("v1").identity})
    world.members = {m.id: m for m in (member(n) for n in range(2))}
    assert told(world.plan()) == ["+a", "+b"]
    plan = world.settle()
    assert sorted(a.member.slot for a in plan.members) == ["a", "b"]
