"""Verdicts: what they are made of, since when a machine is healthy, and what of that survives the process."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_py.clock import VirtualClock
from infrakit_py.engine.health import HealthMonitor, Watched
from infrakit_py.engine.runner import InlineRunner
from infrakit_py.errors import ProviderError, StoreError
from infrakit_py.model.instance import Health, Instance, InstanceId, InstanceState, Verdict
from infrakit_py.model.spec import HealthCheck
from infrakit_py.spi.provider import Provider
from infrakit_py.spi.store import ONCE
from tests.engine.harness import WallClock

T = TypeVar("T")

START = 1_000_000.0
LAUNCHED = START - 500.0
EVERY_SECOND = HealthCheck(tcp=80, interval_seconds=1.0, unhealthy_after=2)
NONE = HealthCheck()
DAY = 86_400.0
CANNOT_ASK = ProviderError("cannot ask from here")


@dataclass
class Ward:
    """A provider whose machines are as well as `answers` says; the others are well. It counts who was asked."""

    answers: dict[str, str | ProviderError | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def probe(self, instance_id: InstanceId, check: HealthCheck) -> str | None:
        self.asked.append(instance_id)
        answer = self.answers.get(instance_id)
        if isinstance(answer, ProviderError):
            raise answer
        return answer


class Memory:
    """What is remembered of a cluster, and in how many notes it came."""

    def __init__(self) -> None:
        self.since: dict[InstanceId, float] = {}
        self.notes: list[Mapping[InstanceId, float | None]] = []
        self.is_full = False

    @contextmanager
    def full(self) -> Iterator[None]:
        """Have no room for anything new meanwhile."""
        self.is_full = True
        yield
        self.is_full = False

    def remember(self, since: Mapping[InstanceId, float | None]) -> None:
        if self.is_full:
            raise StoreError("disk full")
        self.notes.append(since)
        for id_, instant in since.items():
            if instant is None:
                self.since.pop(id_, None)
            else:
                self.since[id_] = instant


class Idle(InlineRunner):
    """A runner that has nothing to run."""

    def map(self, calls: Sequence[Callable[[], T]], at_once: int, lane: str = "") -> list[T]:
        raise AssertionError("nobody is to be asked")


class Watch:
    """A monitor in virtual time, and the machines that it watches."""

    def __init__(self, check: HealthCheck = EVERY_SECOND, memory: Memory | None = None) -> None:
        self.clock = WallClock(START)
        self.ward = Ward()
        self.check = check
        self.memory = memory or Memory()
        self.machines = [machine("i-1")]
        self.restart()

    def restart(self) -> None:
        self.monitor = HealthMonitor(self.clock, InlineRunner(), dict(self.memory.since), self.memory.remember)

    def look(self) -> Mapping[tuple[str, InstanceId], Health]:
        members = [Watched("sim", cast(Provider, self.ward), machine) for machine in self.machines]
        return self.monitor.check(members, self.check, None)

    def health(self, id_: str = "i-1") -> Health:
        return self.look()["sim", InstanceId(id_)]

    def after_a_second(self, answer: str | ProviderError | None) -> Health:
        self.clock.sleep(1.0)
        self.ward.answers["i-1"] = answer
        return self.health()


def machine(
    id_: str, state: InstanceState = InstanceState.RUNNING, impaired: str = "", launched_at: float = LAUNCHED
) -> Instance:
    return Instance(InstanceId(id_), {}, state, launched_at, impaired=impaired)


def test_without_a_check_a_machine_that_runs_is_healthy_and_nobody_is_asked() -> None:
    monitor = HealthMonitor(VirtualClock(START), Idle())
    members = [Watched("sim", cast(Provider, Ward()), machine(f"i-{n}")) for n in range(3)]
    health = monitor.check(members, NONE, None)
    assert health == {("sim", f"i-{n}"): Health(Verdict.HEALTHY, ever_healthy=True, since=START) for n in range(3)}


def test_an_impaired_machine_is_unhealthy_at_once_and_not_asked() -> None:
    for check in (NONE, EVERY_SECOND):
        watch = Watch(check)
        watch.machines = [machine("i-1", impaired="status check failed")]
        assert watch.health() == Health(Verdict.UNHEALTHY, "status check failed")
        assert watch.ward.asked == []


def test_impairment_is_heard_between_two_checks_and_its_end_is_followed_by_a_check() -> None:
    watch = Watch(replace(EVERY_SECOND, interval_seconds=60.0))
    assert watch.health().verdict is Verdict.HEALTHY
    watch.machines = [machine("i-1", impaired="disk error")]
    assert watch.health() == Health(Verdict.UNHEALTHY, "disk error", ever_healthy=True)
    watch.machines = [machine("i-1")]
    watch.clock.sleep(1.0)
    assert watch.health() == Health(Verdict.HEALTHY, ever_healthy=True, since=START + 1.0)


def test_without_a_check_a_machine_is_healthy_again_when_it_is_no_longer_impaired() -> None:
    watch = Watch(NONE)
    watch.machines = [machine("i-1", impaired="disk error")]
    watch.look()
    watch.machines = [machine("i-1")]
    watch.clock.sleep(7.0)
    assert watch.health() == Health(Verdict.HEALTHY, ever_healthy=True, since=START + 7.0)


def test_only_running_machines_have_a_verdict_in_the_order_in_which_they_were_given() -> None:
    watch = Watch()
    states = {f"i-{n}": state for n, state in enumerate(InstanceState)}
    watch.machines = [
        machine("i-z"),
        *(machine(id_, state) for id_, state in states.items() if state is not InstanceState.RUNNING),
        machine("i-a"),
    ]
    assert list(watch.look()) == [("sim", "i-z"), ("sim", "i-a")]


def test_machines_of_two_providers_may_have_the_same_id() -> None:
    clock = VirtualClock(START)
    monitor = HealthMonitor(clock, InlineRunner())
    well, ill = Ward(), Ward({"i-1": "refused"})
    members = [Watched(name, cast(Provider, ward), machine("i-1")) for name, ward in [("a", well), ("b", ill)]]
    check = replace(EVERY_SECOND, unhealthy_after=1)
    verdicts = {key: health.verdict for key, health in monitor.check(members, check, None).items()}
    assert verdicts == {("a", "i-1"): Verdict.HEALTHY, ("b", "i-1"): Verdict.UNHEALTHY}


def test_a_machine_is_asked_once_an_interval() -> None:
    watch = Watch(replace(EVERY_SECOND, interval_seconds=10.0))
    for _ in range(30):
        watch.look()
        watch.clock.sleep(1.0)
    assert len(watch.ward.asked) == 3


def test_a_clock_that_is_set_back_delays_no_check() -> None:
    watch = Watch()
    watch.look()
    watch.clock.set_back(3600.0)
    watch.look()
    assert len(watch.ward.asked) == 2


def test_a_verdict_takes_as_many_answers_in_a_row_as_declared() -> None:
    watch = Watch(replace(EVERY_SECOND, healthy_after=2, unhealthy_after=3))
    answers = [None, "refused", None, None, "refused", "refused", None, "refused", "refused", "refused", None, None]
    verdicts = [watch.after_a_second(answer).verdict for answer in answers]
    unknown, healthy, unhealthy = Verdict.UNKNOWN, Verdict.HEALTHY, Verdict.UNHEALTHY
    assert verdicts == [*[unknown] * 3, *[healthy] * 6, *[unhealthy] * 2, healthy]


def test_the_reason_is_the_latest_bad_answer() -> None:
    watch = Watch()
    assert watch.health().reason == ""
    assert watch.after_a_second("refused").reason == ""
    assert watch.after_a_second("timed out").reason == "timed out"
    assert watch.after_a_second("refused").reason == "refused"
    assert watch.after_a_second(CANNOT_ASK).reason == "cannot ask from here"


def test_a_good_answer_that_is_not_enough_does_not_hide_the_next_bad_one() -> None:
    watch = Watch(replace(EVERY_SECOND, healthy_after=2))
    reasons = [watch.after_a_second(answer).reason for answer in ["refused", "refused", None, "timed out"]]
    assert reasons == ["refused", "refused", "refused", "timed out"]


def test_a_check_that_cannot_run_is_never_a_bad_answer() -> None:
    watch = Watch()
    for _ in range(9):
        assert watch.after_a_second(CANNOT_ASK).verdict is Verdict.UNKNOWN
    assert watch.after_a_second("refused").verdict is Verdict.UNKNOWN


def test_an_answer_that_cannot_be_had_begins_both_counts_anew() -> None:
    watch = Watch(replace(EVERY_SECOND, healthy_after=2))
    answers: list[str | ProviderError | None] = ["refused", CANNOT_ASK, "refused", None, CANNOT_ASK, None]
    for answer in answers:
        assert watch.after_a_second(answer).verdict is Verdict.UNKNOWN


def test_a_machine_is_healthy_since_the_first_answer_of_the_row() -> None:
    watch = Watch(replace(EVERY_SECOND, healthy_after=3))
    answers = [None, None, "refused", None, None, None, None]
    since = [watch.after_a_second(answer).since for answer in answers]
    assert since == [None, None, None, None, None, START + 4.0, START + 4.0]


def test_fewer_bad_answers_than_it_takes_end_no_row() -> None:
    watch = Watch()
    since = [watch.after_a_second(answer).since for answer in [None, "refused", None, "refused", "refused", None]]
    assert since == [START + 1.0, START + 1.0, START + 1.0, START + 1.0, None, START + 6.0]


def test_not_being_able_to_ask_ends_no_row() -> None:
    watch = Watch()
    answers = [None, CANNOT_ASK, CANNOT_ASK, "refused", None, CANNOT_ASK, "refused", "refused", CANNOT_ASK]
    since = [watch.after_a_second(answer).since for answer in answers]
    assert since == [*[START + 1.0] * 7, None, None]


@pytest.mark.parametrize("state", [state for state in InstanceState if state is not InstanceState.RUNNING])
def test_a_stop_ends_a_row_and_is_followed_by_a_check(state: InstanceState) -> None:
    watch = Watch(replace(EVERY_SECOND, interval_seconds=60.0))
    watch.look()
    watch.machines = [machine("i-1", state)]
    assert watch.health() == Health(Verdict.UNKNOWN, ever_healthy=True)
    assert watch.memory.since == {"i-1": ONCE}
    watch.machines = [machine("i-1")]
    watch.clock.sleep(1.0)
    watch.ward.answers["i-1"] = "refused"
    assert watch.health() == Health(Verdict.UNKNOWN, "refused", ever_healthy=True)


def test_the_row_goes_on_in_the_next_process() -> None:
    for check in (NONE, EVERY_SECOND):
        watch = Watch(check)
        watch.look()
        watch.clock.sleep(100.0)
        watch.restart()
        assert watch.health().since == START
        assert len(watch.memory.notes) == 1


def test_the_next_process_says_unknown_until_it_asked() -> None:
    watch = Watch()
    watch.look()
    watch.restart()
    assert watch.after_a_second(CANNOT_ASK) == Health(Verdict.UNKNOWN, "cannot ask from here", ever_healthy=True)
    assert watch.after_a_second("refused").verdict is Verdict.UNKNOWN
    assert watch.after_a_second(None).since == START


def test_a_machine_that_stopped_while_nobody_looked_is_not_remembered_as_healthy() -> None:
    watch = Watch()
    watch.look()
    watch.restart()
    watch.machines = [machine("i-1", InstanceState.STOPPED)]
    assert watch.health() == Health(Verdict.UNKNOWN, ever_healthy=True)
    assert watch.memory.since == {"i-1": ONCE}


def test_the_next_process_knows_that_an_ill_machine_once_served() -> None:
    watch = Watch(replace(EVERY_SECOND, unhealthy_after=1))
    watch.look()
    assert watch.after_a_second("refused").verdict is Verdict.UNHEALTHY
    watch.restart()
    assert watch.after_a_second("refused") == Health(Verdict.UNHEALTHY, "refused", ever_healthy=True)
    assert watch.after_a_second(None).since == watch.clock.now(), "a row that had ended does not go on"


def test_a_stopped_machine_that_never_answered_is_told_from_one_that_did() -> None:
    watch = Watch()
    watch.machines = [machine("i-1"), machine("i-2")]
    watch.ward.answers["i-2"] = "refused"
    watch.look()
    watch.machines = [machine(id_, InstanceState.STOPPED) for id_ in ("i-1", "i-2")]
    assert [health.ever_healthy for health in watch.look().values()] == [True, False]


@pytest.mark.parametrize(
    ("noted", "served"),
    [(START + 1.0, True), (LAUNCHED - 1.0, False)],
    ids=["by a clock that was set back since", "of another machine, before the launch"],
)
@pytest.mark.parametrize("state", [InstanceState.RUNNING, InstanceState.STOPPED])
def test_only_a_note_about_this_machine_says_that_it_ever_answered(
    state: InstanceState, noted: float, *, served: bool
) -> None:
    memory = Memory()
    memory.since[InstanceId("i-1")] = noted
    watch = Watch(memory=memory)
    watch.machines = [machine("i-1", state)]
    watch.ward.answers["i-1"] = CANNOT_ASK
    assert watch.health().ever_healthy is served


@pytest.mark.parametrize("state", [InstanceState.RUNNING, InstanceState.PENDING])
def test_what_is_known_of_a_machine_is_not_said_of_a_later_one_with_its_id(state: InstanceState) -> None:
    watch = Watch()
    assert watch.health().ever_healthy
    watch.clock.sleep(5.0)
    watch.machines = [machine("i-1", state, launched_at=watch.clock.now())]
    watch.ward.answers["i-1"] = "refused"
    found = watch.look().get(("sim", InstanceId("i-1")))
    assert found is None or not found.ever_healthy


@pytest.mark.parametrize("noted", [START + 1.0, LAUNCHED - 1.0], ids=["later than now", "before the launch"])
def test_a_row_that_cannot_have_begun_then_begins_anew(noted: float) -> None:
    memory = Memory()
    memory.since[InstanceId("i-1")] = noted
    watch = Watch(memory=memory)
    assert watch.health().since == START
    assert memory.since == {"i-1": START}


def test_all_changes_of_a_look_are_one_note_and_nothing_new_is_none() -> None:
    watch = Watch(replace(EVERY_SECOND, unhealthy_after=1))
    watch.machines = [machine(f"i-{n}") for n in range(4)]
    watch.ward.answers["i-3"] = "refused"
    watch.look()
    watch.look()
    watch.clock.sleep(1.0)
    watch.look()
    assert watch.memory.notes == [{"i-0": START, "i-1": START, "i-2": START}]
    watch.clock.sleep(1.0)
    watch.ward.answers = {"i-0": "refused", "i-1": CANNOT_ASK}
    watch.machines[2] = machine("i-2", impaired="disk error")
    watch.look()
    assert watch.memory.notes[1:] == [{"i-0": ONCE, "i-2": ONCE, "i-3": START + 2.0}]


def test_what_could_not_be_remembered_is_tried_again() -> None:
    watch = Watch()
    with watch.memory.full(), pytest.raises(StoreError):
        watch.look()
    watch.look()
    assert watch.memory.since == {"i-1": START}
    watch.machines = [machine("i-1", InstanceState.STOPPED)]
    with watch.memory.full(), pytest.raises(StoreError):
        watch.look()
    watch.look()
    assert watch.memory.since == {"i-1": ONCE}


def test_between_two_checks_a_verdict_is_the_same_value() -> None:
    for check in (NONE, EVERY_SECOND):
        watch = Watch(check)
        first = watch.health()
        assert watch.health() is first
        assert watch.after_a_second(None) is first


def test_machines_that_are_no_more_are_forgotten_after_a_while() -> None:
    memory = Memory()
    memory.since[InstanceId("i-long-gone")] = START - 1.0
    watch = Watch(NONE, memory)
    watch.look()
    watch.machines = [machine("i-2")]
    for _ in range(30):
        watch.look()
        watch.clock.sleep(DAY / 10)
    assert memory.since == {"i-2": START}
    assert sum("i-long-gone" in note for note in memory.notes) == 1
    watch.machines = [machine("i-1")]
    assert watch.health().since == START + 3 * DAY


def test_a_row_outlives_some_hours_in_which_the_machine_is_not_seen() -> None:
    watch = Watch()
    watch.look()
    machines, watch.machines = watch.machines, []
    for _ in range(10):
        watch.clock.sleep(DAY / 10)
        watch.look()
    watch.machines = machines
    assert watch.health().since == START


def test_health_is_settled_when_every_machine_has_a_verdict() -> None:
    watch = Watch(replace(EVERY_SECOND, healthy_after=2))
    keys = [("sim", InstanceId("i-1")), ("elsewhere", InstanceId("i-1"))]
    assert watch.monitor.is_settled(keys)
    watch.look()
    assert not watch.monitor.is_settled(keys)
    watch.after_a_second(None)
    assert watch.monitor.is_settled(keys)


def test_a_check_that_is_declared_later_begins_with_what_is_known() -> None:
    watch = Watch(NONE)
    watch.look()
    watch.check = EVERY_SECOND
    assert watch.after_a_second("refused").verdict is Verdict.HEALTHY
    assert watch.after_a_second("refused").verdict is Verdict.UNHEALTHY
    watch.check = NONE
    assert watch.after_a_second("refused") == Health(Verdict.HEALTHY, ever_healthy=True, since=START + 3.0)


@given(
    st.lists(st.tuples(st.sampled_from([None, "refused", CANNOT_ASK]), st.booleans()), max_size=20),
)
def test_restarts_at_any_time_change_nothing_about_since_when(steps: list[tuple[str | None, bool]]) -> None:
    check = replace(EVERY_SECOND, unhealthy_after=1)
    steady, restarted = Watch(check), Watch(check)
    for answer, restart in steps:
        if restart:
            restarted.restart()
        expected, actual = steady.after_a_second(answer), restarted.after_a_second(answer)
        assert actual.verdict is expected.verdict
        if expected.verdict is Verdict.HEALTHY:
            assert actual.since == expected.since
        assert restarted.memory.since == steady.memory.since


def test_what_processes_before_this_one_noted_of_machines_that_are_no_more_does_not_pile_up() -> None:
    watch = Watch(NONE)
    for number in range(5):
        watch.monitor.looks_at_all()
        watch.machines = [machine(f"i-{number}")]
        for _ in range(3):
            watch.look()
            watch.clock.sleep(1800.0)
        watch.restart()
    assert set(watch.memory.since) == {"i-4"}


def test_what_an_earlier_process_noted_is_kept_while_somebody_does_not_answer() -> None:
    watch = Watch(NONE)
    watch.look()
    watch.restart()
    watch.monitor.looks_at_all()
    machines, watch.machines = watch.machines, [machine("i-2")]
    for _ in range(10):
        watch.monitor.could_not_look()
        watch.look()
        watch.clock.sleep(1800.0)
    watch.machines = machines
    assert watch.health().since == START


def test_what_an_earlier_process_noted_is_kept_by_who_looks_at_some_groups_only() -> None:
    watch = Watch(NONE)
    watch.look()
    watch.restart()
    machines, watch.machines = watch.machines, [machine("i-2")]
    for _ in range(10):
        watch.look()
        watch.clock.sleep(1800.0)
    watch.machines = machines
    assert watch.health().since == START
