"""The policies' promises, whatever happens: machines die, plans are cut short, specs change half-way."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from infrakit_py.model.instance import Health, InstanceState, Verdict
from infrakit_py.model.plan import Condition, Create, Version
from infrakit_py.model.quantities import Amount
from tests.policies.world import ILL, WELL, World, desired

amounts = st.one_of(
    st.integers(0, 4).map(Amount), st.integers(0, 100).map(lambda percent: Amount(percent, percent=True))
)
_FATES = ["boot", "die", "sicken", "fall silent", "recover", "vanish", "leave", "nothing"]


@st.composite
def sized(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(0, 9))
    surge, unavailable = draw(amounts), draw(amounts)
    if not surge.rounded_up(count) and not unavailable.rounded_down(count):
        surge = Amount(1)
    return {
        "count": count,
        "surge": surge,
        "unavailable": unavailable,
        "version": draw(st.sampled_from(["v1", "v2"])),
    }


def disturb(world: World, data: st.DataObject) -> None:
    """Let one of the things happen that happen to machines."""
    ids = sorted(world.members)
    if not ids:
        return
    id_ = data.draw(st.sampled_from(ids), label="who")
    match data.draw(st.sampled_from(_FATES), label="what"):
        case "boot":
            world.boot_all()
        case "die":
            world.set_state(id_, InstanceState.STOPPED)
        case "sicken":
            world.set_health(id_, ILL)
        case "fall silent":
            world.set_health(id_, Health(Verdict.UNKNOWN, "cannot ask", ever_healthy=True))
        case "recover":
            world.set_health(id_, WELL)
        case "vanish":
            del world.members[id_]
        case "leave":
            world.set_state(id_, InstanceState.LEAVING)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), first=sized(), drains=st.booleans())
def test_a_sized_group_keeps_its_promises_under_disturbance_and_converges_after_it(
    data: st.DataObject, first: dict[str, Any], drains: bool
) -> None:
    world = World(desired(**first, drains=drains, allow=True))
    for _ in range(data.draw(st.integers(1, 25), label="steps")):
        if data.draw(st.integers(0, 5), label="edit?") == 0:
            world.wanted = desired(**data.draw(sized()), drains=drains, allow=True)
        plan = world.plan()
        kept = data.draw(st.integers(0, len(plan.actions)), label="carried out")
        world.carry_out(plan.actions[:kept])
        disturb(world, data)
        world.now += data.draw(st.sampled_from([0.1, 5.0, 100.0]), label="time")
    for id_ in list(world.members):
        world.set_health(id_, WELL)
    plan = world.settle()
    assert plan.ready == world.wanted.count
    assert all(a.version is Version.CURRENT for a in plan.members)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), names=st.sets(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=0))
def test_a_named_group_keeps_its_promises_under_disturbance_and_converges_after_it(
    data: st.DataObject, names: set[str]
) -> None:
    world = World(desired(names=tuple(sorted(names)), allow=True))
    for _ in range(data.draw(st.integers(1, 25), label="steps")):
        if data.draw(st.integers(0, 5), label="edit?") == 0:
            others = data.draw(st.sets(st.sampled_from(["a", "b", "c", "d", "e"])))
            version = data.draw(st.sampled_from(["v1", "v2"]))
            world.wanted = desired(names=tuple(sorted(others)), version=version, allow=True)
        plan = world.plan()
        world.carry_out(plan.actions[: data.draw(st.integers(0, len(plan.actions)), label="carried out")])
        assert len({m.slot for m in world.members.values()}) == len(world.members), "two machines of one name"
        disturb(world, data)
        world.now += data.draw(st.sampled_from([0.1, 5.0, 100.0]), label="time")
    for id_ in list(world.members):
        world.set_health(id_, WELL)
    plan = world.settle()
    assert world.wanted.logical_ids is not None
    assert sorted(a.member.slot for a in plan.members) == sorted(world.wanted.logical_ids)
    assert all(a.condition is Condition.READY and a.version is Version.CURRENT for a in plan.members)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), first=sized())
def test_a_version_that_never_gets_healthy_costs_no_healthy_machine(
    data: st.DataObject, first: dict[str, Any]
) -> None:
    world = World(desired(**{**first, "version": "v1"}, allow=True))
    world.settle()
    world.wanted = replace(desired(**{**first, "version": "v2"}), allow_mass_destroy=True)
    world.sick_versions = frozenset({"v2"})
    floor = world.plan().bounds.floor
    for _ in range(30):
        plan = world.plan()
        world.carry_out(plan.actions[: data.draw(st.integers(0, len(plan.actions)))])
        world.boot_all()
        world.now += 30.0
        assert world.ready() >= floor


@settings(max_examples=100, deadline=None)
@given(first=sized())
def test_a_converged_group_is_left_alone(first: dict[str, Any]) -> None:
    world = World(desired(**first))
    world.settle()
    assert world.plan().actions == ()


@settings(max_examples=100, deadline=None)
@given(data=st.data(), first=sized(), second=sized())
def test_a_restart_at_every_tick_changes_nothing(
    data: st.DataObject, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Policies remember nothing, so two worlds fed alike stay alike even if one is rebuilt from its snapshot."""
    world = World(desired(**first, allow=True))
    world.settle()
    world.wanted = desired(**second, allow=True)
    for _ in range(20):
        rebuilt = World(
            world.wanted, dict(world.members), (), dict(world.incarnations), world.published, now=world.now
        )
        plan = world.plan()
        assert rebuilt.plan() == plan
        world.carry_out(plan.actions)
        world.boot_all()
        world.now += 1.0
    assert not [a for a in world.settle().actions if isinstance(a, Create)]
