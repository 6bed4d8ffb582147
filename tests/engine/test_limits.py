"""Whose turn it is when an account's tokens are short: repair before rollout before growth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.provider import SimulatedProvider
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.clock import VirtualClock
from infrakit_py.engine.engine import Engine
from infrakit_py.engine.limits import Kind, Limiter, Limiters, Urgency, urgency_of
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.plan import (
    Action,
    Bounds,
    Cause,
    Create,
    Destroy,
    Drain,
    GroupPlan,
    Progress,
    Retag,
    RolloutPhase,
    Tally,
)
from infrakit_py.model.spec import GroupSpec, HealthCheck, RolloutSpec
from infrakit_py.spi.provider import CallLimits, CallRates, DestroyRequest, Rate
from tests.engine.harness import Lab, group

REPAIR, ROLLOUT, RESIZE = Urgency.REPAIR, Urgency.ROLLOUT, Urgency.RESIZE
BURST, PER_SECOND = 100, 2.0
LIMITS: Final = CallLimits(
    provision_batch=50, provision=CallRates(calls=Rate(10, 2.0), machines=Rate(BURST, PER_SECOND))
)
LONG: Final = 300.0
"""No claim lasts so long, and no repair here takes so long."""


def limiter(limits: CallLimits = LIMITS, *, level: int = BURST) -> Limiter:
    """A limiter with so many tokens for machines left."""
    made = Limiter(limits, 0.0)
    if level < BURST:
        made.take(Kind.PROVISION, {REPAIR: BURST - level}, 0.0, "who was there before")
    return made


def granted(made: Limiter, demand: Mapping[Urgency, int], now: float, claimant: str) -> int:
    return made.take(Kind.PROVISION, demand, now, claimant).machines


# -- how urgent ------------------------------------------------------------------------------------------------------

ROLLING = Progress(RolloutPhase.ROLLING)
WEB_0 = InstanceId("i-0")
NEW: Final = Create("sim", "0", 0, None, "web-0", "")
URGENCIES: Final[dict[str, tuple[Action, GroupPlan, Urgency]]] = {
    "a machine that grows": (NEW, GroupPlan("web", Bounds(3, 1, 0, 3)), RESIZE),
    "a new one while there are old ones": (
        NEW,
        GroupPlan("web", Bounds(3, 1, 0, 3), tally=Tally(outdated=1)),
        ROLLOUT,
    ),
    "a new one while rolling": (NEW, GroupPlan("web", Bounds(3, 1, 0, 3), progress=ROLLING), ROLLOUT),
    "one that heals, while rolling": (
        replace(NEW, heals=True),
        GroupPlan("web", Bounds(3, 1, 0, 3), progress=ROLLING),
        REPAIR,
    ),
    "a failed one": (
        Destroy("sim", WEB_0, "web-0", "", Cause.HEAL),
        GroupPlan("web", Bounds(3, 1, 0, 3)),
        REPAIR,
    ),
    "a drain of a rollout": (
        Drain("sim", WEB_0, "web-0", "", Cause.REPLACE),
        GroupPlan("web", Bounds(3, 1, 0, 3)),
        ROLLOUT,
    ),
    "one too many, while rolling": (
        Destroy("sim", WEB_0, "web-0", "", Cause.SCALE_DOWN),
        GroupPlan("web", Bounds(3, 1, 0, 3), progress=ROLLING),
        RESIZE,
    ),
    "an undeclared one": (
        Destroy("sim", WEB_0, "web-0", "", Cause.UNDECLARED),
        GroupPlan("web", Bounds(0, 0, 0, 0)),
        RESIZE,
    ),
    "other tags": (Retag("sim", WEB_0, "web-0", "", {"a": "b"}), GroupPlan("web", Bounds(3, 1, 0, 3)), RESIZE),
}


def test_what_a_group_lacks_that_had_all_its_machines_was_lost() -> None:
    whole = GroupPlan("web", Bounds(3, 1, 0, 3))
    assert urgency_of(NEW, whole, whole=True) is REPAIR
    assert urgency_of(NEW, replace(whole, progress=ROLLING), whole=True) is ROLLOUT


@pytest.mark.parametrize(("action", "plan", "urgency"), URGENCIES.values(), ids=URGENCIES)
def test_the_urgency_of_an_action_is_read_off_its_plan(action: Action, plan: GroupPlan, urgency: Urgency) -> None:
    assert urgency_of(action, plan) is urgency


# -- one limiter -----------------------------------------------------------------------------------------------------


def test_what_is_there_is_granted() -> None:
    assert granted(limiter(), {RESIZE: 30}, 0.0, "web") == 30


def test_of_one_demand_the_more_urgent_part_is_granted_first() -> None:
    made = limiter(level=20)
    assert granted(made, {RESIZE: 500, REPAIR: 12}, 0.0, "web") == 12
    assert granted(made, {RESIZE: 500}, 0.0, "web") == 0  # the 8 that are left are not worth a call


def test_a_part_that_must_wait_lets_nothing_less_urgent_of_the_same_demand_go() -> None:
    assert granted(limiter(level=5), {REPAIR: 40, RESIZE: 3}, 0.0, "web") == 0


def test_a_few_that_heal_do_not_wait_until_growth_is_worth_a_call() -> None:
    assert granted(limiter(level=4), {REPAIR: 3, RESIZE: 500}, 0.0, "web") == 3


def test_tokens_are_held_back_from_what_is_less_urgent_until_all_are_healed() -> None:
    made = limiter(level=0)
    assert granted(made, {REPAIR: 40}, 0.0, "web") == 0
    assert granted(made, {RESIZE: 500}, 5.0, "api") == 0
    assert granted(made, {ROLLOUT: 5}, 5.0, "db") == 0
    assert granted(made, {REPAIR: 40}, 5.0, "web") == 10
    assert granted(made, {RESIZE: 500}, 20.0, "api") == 0
    assert granted(made, {REPAIR: 30}, 20.0, "web") == 30
    assert granted(made, {ROLLOUT: 5}, 25.0, "db") == 5
    assert granted(made, {RESIZE: 500}, 30.0, "api") == 15


def test_what_is_equally_urgent_comes_as_it_comes() -> None:
    made = limiter(level=0)
    assert granted(made, {RESIZE: 500}, 0.0, "web") == 0
    assert granted(made, {RESIZE: 500}, 5.0, "api") == 10


def test_what_is_more_than_is_held_back_goes_to_the_others() -> None:
    made = limiter(level=8)
    assert granted(made, {REPAIR: 9}, 0.0, "web") == 0
    assert granted(made, {RESIZE: 500}, 20.0, "api") == 48 - 9


def test_what_was_claimed_as_a_repair_stays_one_though_the_failed_are_seen_no_longer() -> None:
    made = limiter(level=0)
    granted(made, {REPAIR: 40}, 0.0, "web")
    assert granted(made, {RESIZE: 40}, 5.0, "web") == 10
    assert granted(made, {ROLLOUT: 500}, 10.0, "api") == 0
    assert granted(made, {RESIZE: 30}, 20.0, "web") == 30


def test_a_demand_that_has_shrunk_gives_back_what_was_held_for_it() -> None:
    made = limiter(level=0)
    made.take(Kind.PROVISION, {REPAIR: 40}, 0.0, "web")
    assert granted(made, {ROLLOUT: 2}, 5.0, "web") == 2
    assert granted(made, {RESIZE: 500}, 10.0, "api") == 18


def test_it_says_when_to_come_back_with_what_is_held_back_in_mind() -> None:
    made = limiter(level=0)
    assert made.take(Kind.PROVISION, {REPAIR: 40}, 0.0, "web").more_at == pytest.approx(5.0)
    assert made.take(Kind.PROVISION, {RESIZE: 500}, 0.0, "api").more_at == pytest.approx(25.0)


def test_kinds_of_calls_do_not_hold_one_another_up() -> None:
    made = limiter(replace(LIMITS, destroy=CallRates(machines=Rate(10, 1.0))), level=0)
    assert granted(made, {REPAIR: 40}, 0.0, "web") == 0
    assert made.take(Kind.DESTROY, {RESIZE: 7}, 0.0, "api").machines == 7


def test_calls_are_held_back_where_calls_are_what_is_short() -> None:
    made = Limiter(CallLimits(tag_batch=10, tag=CallRates(calls=Rate(2, 1.0))), 0.0)
    assert made.take(Kind.TAG, {ROLLOUT: 60}, 0.0, "web").machines == 20
    assert made.take(Kind.TAG, {RESIZE: 10}, 2.0, "api").machines == 0
    assert made.take(Kind.TAG, {ROLLOUT: 40}, 2.0, "web").machines == 20


def test_a_claimant_that_never_comes_back_blocks_nobody_for_long() -> None:
    made = limiter(level=0)
    made.take(Kind.PROVISION, {REPAIR: 100_000}, 0.0, "web")
    made.take(Kind.PROVISION, {ROLLOUT: 100_000}, 0.0, "db")  # told to come back in hours
    assert granted(made, {RESIZE: 500}, LONG, "api") == BURST


def test_other_limits_of_an_account_are_heeded_with_what_is_left() -> None:
    made = limiter(level=0)
    made.heed(replace(LIMITS, provision=CallRates(machines=Rate(1000, 50.0))), 1.0)
    assert granted(made, {RESIZE: 500}, 1.0, "web") == 0
    assert granted(made, {RESIZE: 500}, 11.0, "web") == 500


# -- properties ------------------------------------------------------------------------------------------------------

demands = st.dictionaries(st.sampled_from(Urgency), st.integers(0, 300), max_size=3)
rates = st.builds(Rate, st.integers(1, 200), st.floats(0.1, 40))
limits = st.builds(
    CallLimits,
    provision_batch=st.integers(1, 100),
    provision=st.builds(CallRates, st.none() | rates, st.none() | rates),
)


@dataclass
class Account:
    """What a vendor counts."""

    rate: Rate
    level: float = field(init=False)

    def __post_init__(self) -> None:
        self.level = self.rate.burst

    def pass_by(self, seconds: float) -> None:
        self.level = min(self.rate.burst, self.level + seconds * self.rate.per_second)

    def take(self, tokens: int) -> None:
        self.level -= tokens
        assert self.level >= -1e-6, "more was granted than the bucket held"


@given(limits, st.lists(st.tuples(st.floats(0, 40), demands, st.sampled_from("abc")), max_size=30))
def test_never_more_is_granted_than_the_buckets_hold(
    limits: CallLimits, asked: list[tuple[float, Mapping[Urgency, int], str]]
) -> None:
    made, now = Limiter(limits, 0.0), 0.0
    calls, machines = (
        Account(r) if r is not None else None for r in (limits.provision.calls, limits.provision.machines)
    )
    for seconds, demand, claimant in asked:
        now += seconds
        grant = made.take(Kind.PROVISION, demand, now, claimant)
        assert 0 <= grant.machines <= sum(demand.values())
        assert (grant.machines == sum(demand.values())) == (not grant.more_at)
        for account, tokens in ((calls, -(-grant.machines // limits.provision_batch)), (machines, grant.machines)):
            if account is not None:
                account.pass_by(seconds)
                account.take(tokens)


@given(
    st.integers(1, 200),
    st.lists(
        st.tuples(st.floats(0, 3), st.sampled_from([ROLLOUT, RESIZE]), st.integers(1, 500)), min_size=1, max_size=20
    ),
)
def test_others_never_make_a_repair_wait_that_has_asked(
    failed: int, others: list[tuple[float, Urgency, int]]
) -> None:
    made, alone = limiter(level=0), limiter(level=0)
    now, left, left_alone, turn = 0.0, failed, failed, 0
    due = 0.0
    while left_alone:
        seconds, urgency, many = others[turn % len(others)]
        turn += 1
        now += 0.5 + seconds
        if now >= due:
            grant = made.take(Kind.PROVISION, {REPAIR: left}, now, "web")
            undisturbed = alone.take(Kind.PROVISION, {REPAIR: left_alone}, now, "web")
            left, left_alone = left - grant.machines, left_alone - undisturbed.machines
            due = undisturbed.more_at
            assert left == left_alone
        made.take(Kind.PROVISION, {urgency: many}, now, f"other {turn % 3}")


@given(
    limits.filter(lambda it: it.provision.machines is not None),
    st.lists(st.tuples(st.floats(0, 20), demands, st.sampled_from("abc")), max_size=20),
)
def test_a_claim_that_was_left_behind_lapses(
    limits: CallLimits, asked: list[tuple[float, Mapping[Urgency, int], str]]
) -> None:
    made, now = Limiter(limits, 0.0), 0.0
    for seconds, demand, claimant in asked:
        now += seconds
        made.take(Kind.PROVISION, demand, now, claimant)
    now += 2000.0  # the slowest bucket here is full again
    fresh = Limiter(limits, now)
    wanted = {RESIZE: 50}
    assert made.take(Kind.PROVISION, wanted, now, "late") == fresh.take(Kind.PROVISION, wanted, now, "late")


# -- one process -----------------------------------------------------------------------------------------------------


class Accounted(SimulatedProvider):
    """Says whose account it is."""

    def __init__(self, cloud: SimCloud, account: str) -> None:
        super().__init__(cloud)
        self.account = account


def test_providers_of_one_account_share_its_buckets_and_others_do_not() -> None:
    cloud = SimCloud(SimSettings.model_validate({"limits": "ec2"}), VirtualClock())
    limiters = Limiters()
    opened = {
        "a": Accounted(cloud, "1234"),
        "b": Accounted(cloud, "1234"),
        "c": Accounted(cloud, "5678"),
        "d": SimulatedProvider(cloud),
        "e": SimulatedProvider(cloud),
    }
    by_name = limiters.of(opened, 0.0)
    assert by_name["a"] is by_name["b"]
    assert len({id(one) for one in by_name.values()}) == 4
    assert limiters.of({"again": Accounted(cloud, "1234")}, 0.0)["again"] is by_name["a"]
    cloud.close()


# -- the engine ------------------------------------------------------------------------------------------------------

PATIENT: Final = RolloutSpec(progress_deadline_seconds=86400.0)
CHECKED: Final = HealthCheck(tcp=80, interval_seconds=5.0, grace_seconds=600.0)
EC2: Final = {"boot_time": "10s", "limits": "ec2"}
BOOT: Final = 10.0
FAILED: Final = 60
NOTICED: Final = 10.0
"""So long it takes until a loss is noticed, and what was begun before is done."""


def fleet(name: str, size: int, **changes: object) -> GroupSpec:
    return group(name, size=size, rollout=PATIENT, health=CHECKED, **changes)


def steps(labs: Mapping[Engine, Lab], until: float) -> None:
    """Drive engines beside each other in one thread, for so long."""
    (clock,) = {id(lab.clock): lab.clock for lab in labs.values()}.values()
    while clock.now() < until:
        due = min(engine.step() for engine in labs)
        clock.sleep(max(0.0, min(due, until) - clock.now()))


def seconds_until_whole(labs: Mapping[Engine, Lab], lab: Lab, name: str, size: int) -> float:
    began = lab.clock.now()
    while True:
        if len([m for m in lab.machines(name) if m.state == "running"]) == size:
            return lab.clock.now() - began
        assert lab.clock.now() - began < LONG
        steps(labs, lab.clock.now() + 1.0)


def kill(lab: Lab) -> None:
    lab.provider.mishap("kill", FAILED, "web")


def terminate(lab: Lab) -> None:
    """Let somebody else destroy machines: nothing is left to be seen of them."""
    lab.provider.destroy([DestroyRequest(InstanceId(m.id), lab.cluster, "web") for m in lab.machines("web")[:FAILED]])


@pytest.mark.parametrize("lose", [kill, terminate], ids=["dead", "gone"])
@pytest.mark.parametrize(
    "image",
    [pytest.param("a1", id="others grow", marks=pytest.mark.long), pytest.param("a2", id="others grow and roll")],
)
def test_what_one_group_has_lost_is_replaced_before_another_goes_on_growing(
    image: str, lose: Callable[[Lab], None]
) -> None:
    lab = Lab(EC2)
    lab.run(fleet("web", 80), fleet("api", 3))
    lab.clock.sleep(3600.0)
    engine = lab.engine(fleet("api", 3000, image=image), fleet("web", 80), endless=True)  # who grows asks first
    driven = {engine: lab}
    steps(driven, lab.clock.now() + 120.0)
    assert 900 < len(lab.machines("api")) < 1500  # the burst is used up, and much is still wanted
    lose(lab)
    steps(driven, lab.clock.now() + NOTICED)
    before = len(lab.machines("api"))
    assert seconds_until_whole(driven, lab, "web", 80) <= FAILED / PER_SECOND + BOOT + NOTICED
    assert len(lab.machines("api")) - before <= (BOOT + NOTICED) * PER_SECOND  # what came while the last ones booted
    lab.cloud.close()


def test_growth_goes_on_once_all_is_healed() -> None:
    lab = Lab(EC2)
    lab.run(fleet("web", 20), fleet("api", 3))
    engine = lab.engine(fleet("web", 20), fleet("api", 2000), endless=True)
    driven = {engine: lab}
    steps(driven, lab.clock.now() + 60.0)
    lab.provider.mishap("kill", 20, "web")
    seconds_until_whole(driven, lab, "web", 20)
    before = len(lab.machines("api"))
    steps(driven, lab.clock.now() + 100.0)
    assert len(lab.machines("api")) - before >= 190 - 2 * 20
    lab.cloud.close()


@dataclass
class Shared(Lab):
    """A lab whose provider says whose account it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.provider = Accounted(self.cloud, "1234")


def two_clusters(path: Path) -> tuple[Shared, Shared]:
    clock, limiters = VirtualClock(), Limiters()
    one = Shared(EC2, clock, path=path, limiters=limiters)
    return one, Shared(EC2, clock, path=path, cluster="forum", limiters=limiters)


def test_two_clusters_of_one_process_never_run_into_the_limits_of_their_account(tmp_path: Path) -> None:
    shop, forum = two_clusters(tmp_path / "cloud.sqlite")
    driven = {
        shop.engine(fleet("web", 560), endless=True): shop,
        forum.engine(fleet("talk", 560), endless=True): forum,
    }
    steps(driven, shop.clock.now() + 100.0)
    assert len(shop.machines("web")) == len(forum.machines("talk")) == 560
    assert not [event for lab in (shop, forum) for event in lab.events if "over the limit" in event.text]


def test_the_dead_of_one_cluster_are_replaced_before_another_goes_on_growing(tmp_path: Path) -> None:
    shop, forum = two_clusters(tmp_path / "cloud.sqlite")
    shop.run(fleet("web", 80))
    driven = {
        forum.engine(fleet("talk", 3000), endless=True): forum,
        shop.engine(fleet("web", 80), endless=True): shop,
    }
    steps(driven, shop.clock.now() + 120.0)
    kill(shop)
    assert seconds_until_whole(driven, shop, "web", 80) <= FAILED / PER_SECOND + BOOT + 2 * NOTICED


def test_without_limits_nobody_waits() -> None:
    grant = Limiter(CallLimits(), 0.0).take(Kind.PROVISION, {RESIZE: 10**6}, 0.0)
    assert (grant.machines, grant.more_at) == (10**6, 0.0)
