"""A course that is told of changes plans as the policy does for the whole snapshot."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from infrakit_groups.policies import rolling
from infrakit_py.model.instance import Health, InstanceState, Member, Snapshot, Verdict
from infrakit_py.model.plan import GroupPlan
from infrakit_py.model.quantities import Amount
from infrakit_py.model.spec import RolloutSpec, Strategy
from tests.policies.world import ILL, WELL, World, desired, member

conditions = st.sampled_from(["well", "ill", "unknown", "pending", "stopped", "leaving", "draining"])


@st.composite
def members(draw: st.DrawFn, slot: int) -> Member:
    what = draw(conditions)
    made = member(
        slot,
        version=draw(st.sampled_from(["v1", "v2"])),
        launched_at=float(draw(st.integers(0, 900))),
        zone=draw(st.sampled_from(["a", "b"])),
        draining=950.0 if what == "draining" else None,
    )
    match what:
        case "ill":
            return replace(made, health=ILL)
        case "unknown":
            return replace(made, health=Health(Verdict.UNKNOWN, "cannot ask", ever_healthy=True))
        case "pending" | "stopped" | "leaving":
            state = InstanceState(what)
            return replace(made, instance=replace(made.instance, state=state), health=Health(Verdict.UNKNOWN))
        case _:
            return replace(made, health=replace(WELL, since=made.instance.launched_at))


@st.composite
def rollouts(draw: st.DrawFn) -> RolloutSpec:
    strategy = draw(st.sampled_from(Strategy))
    rolls = strategy is Strategy.ROLLING
    return RolloutSpec(
        strategy=strategy,
        max_surge=Amount(draw(st.integers(1, 3))) if rolls else None,
        max_unavailable=Amount(draw(st.integers(0, 2))) if rolls else None,
        steps=(Amount(1),) if rolls and draw(st.booleans()) else (),
        bake_seconds=draw(st.sampled_from([0.0, 60.0])),
        min_ready_seconds=draw(st.sampled_from([0.0, 30.0])),
        failure_limit=Amount(draw(st.integers(1, 3))),
        paused=draw(st.integers(0, 5)) == 0,
    )


def _comparable(plan: GroupPlan) -> Any:
    """Members are named in the order in which they are known, which is not the plan's business."""
    return (plan.bounds, sorted(map(repr, plan.actions)), plan.tally, plan.progress.phase, plan.block, plan.failure)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), count=st.integers(0, 6), rollout=rollouts())
def test_a_course_told_of_changes_plans_as_for_the_whole_snapshot(
    data: st.DataObject, count: int, rollout: RolloutSpec
) -> None:
    wanted = replace(desired(count=count, version="v2", allow=True), rollout=rollout)
    there = {slot: data.draw(members(slot), label="member") for slot in range(data.draw(st.integers(0, 6)))}
    now = 1000.0
    course = rolling.follow(wanted, _snapshot(there), now)
    for _ in range(data.draw(st.integers(1, 8), label="changes")):
        slot = data.draw(st.integers(0, 6), label="slot")
        if slot in there and data.draw(st.booleans(), label="goes"):
            course.drop("local", there.pop(slot).id)
        else:
            if slot in there:
                course.drop("local", there[slot].id)
            there[slot] = data.draw(members(slot), label="member")
            course.put(there[slot])
        now += data.draw(st.sampled_from([0.0, 1.0, 40.0, 200.0]), label="time")
        assert _comparable(course.plan(now)) == _comparable(rolling.decide(wanted, _snapshot(there), now))


def _snapshot(there: dict[int, Member]) -> Snapshot:
    world = World(desired(count=0))
    world.members = {m.id: m for _, m in sorted(there.items())}
    incarnations = {str(slot): 1 for slot in range(10)}
    return Snapshot(tuple(there.values()), (), incarnations, frozenset())


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_what_is_plain_and_what_is_not_are_counted_alike(data: st.DataObject) -> None:
    """Most members are taken in a short cut. A rule that changes nothing takes it from all."""
    tagged = data.draw(st.lists(st.booleans(), max_size=8))
    there = {slot: member(slot, user_tags={"a": "b"} if odd else None) for slot, odd in enumerate(tagged)}
    short = desired(count=8, allow=True)
    long = replace(short, max_age_seconds=1e9)
    assert (
        rolling.decide(short, _snapshot(there), 1000.0).tally == rolling.decide(long, _snapshot(there), 1000.0).tally
    )
    of_both = [rolling.follow(wish, _snapshot(there), 1000.0) for wish in (short, long)]
    assert of_both[0].baked == of_both[1].baked == len(there)
