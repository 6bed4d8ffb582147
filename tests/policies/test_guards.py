"""What is not done before a person has said so, and what is never half done."""

from dataclasses import replace

from infrakit_py.model import tags
from infrakit_py.model.instance import Health, InFlight, InstanceState, Member, Verdict
from infrakit_py.model.plan import Create, Destroy
from tests.policies.test_rollout import told
from tests.policies.world import ILL, WELL, World, decide, desired, member, snapshot

SILENT = Health(Verdict.UNKNOWN, "cannot ask", ever_healthy=True)


def world_of(*members: Member, **wanted: object) -> World:
    world = World(desired(**wanted))  # type: ignore[arg-type]
    world.members = {m.id: m for m in members}
    world.incarnations = {m.slot: 1 for m in members}
    return world


def test_a_group_with_prevent_destroy_can_be_rolled_out() -> None:
    plan = world_of(*(member(n) for n in range(3)), count=3, version="v2", prevent_destroy=True).settle()
    assert plan.block is None
    assert plan.outdated == 0


def test_a_name_that_is_dropped_blocks_before_its_successor_is_created() -> None:
    plan = decide(
        desired(names=("a", "b", "d"), prevent_destroy=True), snapshot(*(member(n, named=True) for n in "abc"))
    )
    assert plan.block is not None


def test_machines_that_fail_their_check_count_as_lost_too() -> None:
    assert decide(desired(2), snapshot(*(member(n, health=ILL) for n in range(10)))).block is not None


def test_renaming_all_members_is_losing_all() -> None:
    assert world_of(*(member(n, named=True) for n in "abc"), names=("d", "e", "f")).settle().block is not None


def test_machines_of_the_other_kind_that_are_leaving_block_nothing() -> None:
    named = member("a", named=True, state=InstanceState.LEAVING)
    named = replace(named, instance=replace(named.instance, tags={**named.instance.tags, tags.GROUP: "web"}))
    assert decide(desired(3), snapshot(*(member(n) for n in range(3)), named)).block is None


def test_a_rename_keeps_a_quorum_of_those_that_are_known_to_serve() -> None:
    members = [member(n, named=True) for n in "abc"] + [member(n, named=True, health=SILENT) for n in "def"]
    for _ in range(4):
        plan = decide(desired(names=("d", "e", "f"), allow=True), snapshot(*members))
        gone = {action.instance_id for action in plan.actions if isinstance(action, Destroy)}
        members = [m for m in members if m.id not in gone]
    assert sum(m.health == WELL for m in members) >= plan.bounds.floor


def test_a_named_member_of_unknown_health_may_serve() -> None:
    members = [
        member("a", named=True, version="v2", health=Health(Verdict.UNKNOWN, "refused")),
        *(member(n, named=True, health=Health(Verdict.UNKNOWN)) for n in "bc"),
    ]
    assert told(decide(desired(names=("a", "b", "c"), version="v2"), snapshot(*members))) == []


def test_a_name_that_nobody_wants_is_not_finished_but_cleared_away() -> None:
    members = [*(member(n, named=True) for n in "ab"), member("c", named=True, state=InstanceState.INCOMPLETE)]
    assert told(decide(desired(names=("a", "b")), snapshot(*members))) == ["-c"]


def test_a_surplus_machine_is_not_finished_but_cleared_away() -> None:
    members = [member(0), member(1), member(2, state=InstanceState.INCOMPLETE)]
    assert told(decide(desired(2), snapshot(*members))) == ["-web-2"]


def test_a_named_creation_in_flight_is_none_of_a_sized_group() -> None:
    coming = InFlight("db-1", 0, "v1-v1", "db-1", 999.0)
    plan = decide(desired(3), snapshot(in_flight=(coming,)))
    assert all(action.slot.isdecimal() for action in plan.actions if isinstance(action, Create))


def test_a_machine_that_is_leaving_gets_no_tags() -> None:
    members = [
        member("a", named=True, state=InstanceState.LEAVING),
        *(member(n, named=True, user_tags={"x": "1"}) for n in "bc"),
    ]
    assert told(decide(desired(names=("a", "b", "c"), user_tags={"x": "1"}), snapshot(*members))) == []
