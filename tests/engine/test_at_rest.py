"""Groups that have nothing to do: what looking at them costs, and how soon it is seen that they have."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from infrakit_providers.simulated.buckets import Call as SimCall
from infrakit_providers.simulated.faults import Fault
from infrakit_providers.simulated.provider import SimulatedProvider
from infrakit_py.clock import VirtualClock
from infrakit_py.engine.engine import Engine, Phase
from infrakit_py.engine.events import Event, EventKind
from infrakit_py.engine.meter import Call
from infrakit_py.model.instance import Instance, InstanceId
from infrakit_py.model.revision import GroupVersion, VersionState
from infrakit_py.model.spec import GroupSpec, HealthCheck, Image
from infrakit_py.spi.store import Intent
from infrakit_py.stores.memory import MemoryStore
from tests.engine.harness import Lab, WallClock, group

HOUR = 3600.0
UNCHECKED = HealthCheck(interval_seconds=30.0)
EVERY_5 = HealthCheck(tcp=80, interval_seconds=5.0)
EVERY_7 = HealthCheck(tcp=80, interval_seconds=7.0)


class Counting(SimulatedProvider):
    """Counts its listings."""

    describes = 0
    asked_for_images = 0

    def published(self, images: Sequence[Image]) -> frozenset[str]:
        self.asked_for_images += 1
        return super().published(images)

    def describe(self, cluster: str) -> Sequence[Instance]:
        self.describes += 1
        return super().describe(cluster)


class CountingStore(MemoryStore):
    """Counts what is written to it, and which intents are read."""

    def __init__(self) -> None:
        super().__init__(VirtualClock())
        self.written: Counter[str] = Counter()
        self.intents_read = 0

    def record(self, intents: Sequence[Intent]) -> None:
        self.written["record"] += 1
        super().record(intents)

    def forget(self, intents: Sequence[Intent]) -> None:
        self.written["forget"] += 1
        super().forget(intents)

    def intents(self, cluster: str, group: str | None = None) -> Sequence[Intent]:
        self.intents_read += 1
        return super().intents(cluster, group)

    def note_version(self, cluster: str, version: GroupVersion, state: VersionState, now: float, reason: str) -> None:
        self.written["note_version"] += 1
        super().note_version(cluster, version, state, now, reason)

    def note_healthy(self, cluster: str, since: Mapping[InstanceId, float | None]) -> None:
        self.written["note_healthy"] += 1
        super().note_healthy(cluster, since)


class Tally:
    """Counts ticks and calls, and remembers how late the latest tick was."""

    def __init__(self) -> None:
        self.ticks: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.latest_seconds = 0.0

    def called(self, cluster: str, provider: str, call: Call, seconds: float, error: str) -> None:
        del cluster, seconds
        self.calls[f"{provider} {call} {error}".strip()] += 1

    def ticked(self, cluster: str, group: str, seconds: float, late_seconds: float) -> None:
        del cluster, seconds
        self.ticks[group] += 1
        self.latest_seconds = max(self.latest_seconds, late_seconds)


class Rest:
    """Groups in virtual time that have all that they want, and an engine without end that keeps them."""

    def __init__(self, *groups: GroupSpec, before: Sequence[GroupSpec] = ()) -> None:
        self.store = CountingStore()
        self.tally = Tally()
        self.lab = Lab({"boot_time": "0s"}, clock=WallClock(), store=self.store, meter=self.tally)
        self.provider = self.lab.provider = Counting(self.lab.cloud)
        for declared in (before, groups):
            self.lab.run(*declared)
        self.engine = self.lab.engine(*groups, endless=True)
        self.go_on(60.0)
        assert self.phases == {Phase.CONVERGED}
        self.lab.events.clear()

    def go_on(self, seconds: float) -> None:
        end = self.lab.clock.now() + seconds
        while (now := self.lab.clock.now()) < end:
            self.lab.clock.sleep(min(self.engine.step(), end) - now)

    @property
    def phases(self) -> set[Phase]:
        return {status.phase for status in self.engine.statuses().values()}


def test_all_groups_together_cost_one_listing_an_interval() -> None:
    checks = (UNCHECKED, EVERY_5, EVERY_7)
    rest = Rest(*(group(f"g{number}", health=checks[number % 3]) for number in range(12)))
    before = rest.provider.describes
    rest.go_on(HOUR)
    assert HOUR / 30 - 2 <= rest.provider.describes - before <= HOUR / 30 + 1


def test_a_shorter_interval_of_one_group_that_nobody_asks_counts_for_all() -> None:
    rest = Rest(group("web", health=HealthCheck(interval_seconds=10.0)), group("db", health=UNCHECKED))
    before = rest.provider.describes
    rest.go_on(HOUR)
    assert HOUR / 10 - 2 <= rest.provider.describes - before <= HOUR / 10 + 1


@pytest.mark.parametrize(
    ("check", "within"), [(UNCHECKED, 30.0), (EVERY_5, 5.0), (EVERY_7, 7.0)], ids=["unchecked", "every 5", "every 7"]
)
@pytest.mark.parametrize("after", [0.5, 11.0, 29.5])
def test_a_death_that_nobody_tells_of_is_noticed_within_one_interval(
    check: HealthCheck, within: float, after: float
) -> None:
    rest = Rest(group("web", health=check), group("db", health=UNCHECKED), group("jobs", health=EVERY_7))
    rest.go_on(after)
    rest.lab.cloud.stop(rest.lab.machines("web")[0].id, "killed")
    died_at = rest.lab.clock.now()
    rest.go_on(within + 0.1)
    assert [e.group for e in rest.lab.events if e.kind is EventKind.CREATING] == ["web"]
    assert all(died_at <= event.at <= died_at + within for event in rest.lab.events)


def test_what_a_listing_for_one_group_shows_of_another_is_seen_to_at_once() -> None:
    rest = Rest(group("web", health=HealthCheck(interval_seconds=4.0)), group("db", health=UNCHECKED))
    rest.go_on(1.0)
    rest.lab.cloud.stop(rest.lab.machines("db")[0].id, "killed")
    rest.go_on(4.0)
    assert [e.group for e in rest.lab.events if e.kind is EventKind.CREATING] == ["db"]


def test_looking_at_groups_at_rest_writes_nothing_and_reads_no_creations() -> None:
    rest = Rest(group("web", health=EVERY_5), group("db", health=UNCHECKED))
    rest.store.written.clear()
    read = rest.store.intents_read
    rest.go_on(HOUR)
    assert rest.store.written == {}
    assert rest.store.intents_read == read


def test_news_that_arrive_while_a_group_settles_are_not_lost() -> None:
    rest = Rest(group("web", health=UNCHECKED))
    engine: Engine = rest.engine
    rest.lab.cloud.stop(rest.lab.machines("web")[0].id, "killed")

    def strike_again(event: Event) -> None:
        rest.lab.events.append(event)
        if event.kind is EventKind.CONVERGED and len(rest.lab.told(EventKind.CONVERGED)) == 1:
            rest.lab.cloud.stop(rest.lab.machines("web")[0].id, "killed")
            engine.wake()

    rest.lab.on_event = strike_again
    engine.wake()
    rest.go_on(1.0)
    assert len(rest.lab.told(EventKind.CREATING)) == 2


def test_a_person_s_word_is_heard_at_once_by_a_group_that_is_woken() -> None:
    rest = Rest(group("web", health=UNCHECKED, image="a2"), before=[group("web", health=UNCHECKED)])
    version = rest.store.versions("shop", "web")[-1].version
    rest.go_on(rest.engine.step() - rest.lab.clock.now())
    rest.store.note_version("shop", version, VersionState.UNDONE, rest.lab.clock.now(), "by a person")
    rest.engine.wake()
    rest.go_on(1.0)
    assert rest.phases == {Phase.ROLLED_BACK}
    assert rest.lab.images() == ["a1", "a1", "a1"]


def test_an_event_costs_one_listing_and_a_look_at_what_has_changed() -> None:
    rest = Rest(*(group(f"g{number}", health=UNCHECKED) for number in range(20)))
    rest.go_on(rest.engine.step() - rest.lab.clock.now() + 1.0)
    rest.tally.ticks.clear()
    before = rest.provider.describes
    rest.lab.cloud.stop(rest.lab.machines("g7")[0].id, "killed")
    rest.engine.heard("sim")
    rest.lab.clock.sleep(0.0)
    rest.engine.step()
    assert rest.provider.describes == before + 1
    rest.engine.step()
    assert [e.group for e in rest.lab.events if e.kind is EventKind.CREATING] == ["g7"]
    assert set(rest.tally.ticks) == {"g0", "g7"}


def test_a_clock_that_is_set_back_delays_no_look() -> None:
    rest = Rest(group("web", health=UNCHECKED))
    rest.go_on(1.0)
    clock = rest.lab.clock
    assert isinstance(clock, WallClock)
    clock.set_back(45.0)
    rest.lab.cloud.stop(rest.lab.machines("web")[0].id, "killed")
    rest.go_on(1.0)
    assert len(rest.lab.told(EventKind.CREATING)) == 1


def test_calls_and_ticks_are_told_with_how_late_they_were() -> None:
    rest = Rest(group("web", health=UNCHECKED))
    rest.tally.calls.clear()
    rest.lab.cloud.fail(SimCall.DESCRIBE, Fault.THROTTLED, 1)
    rest.engine.heard("sim")
    rest.go_on(10.0)
    assert rest.tally.calls == {"sim describe Throttled": 1, "sim describe": 1}
    rest.lab.clock.sleep(100.0)
    rest.go_on(1.0)
    assert rest.tally.latest_seconds == pytest.approx(80.0, abs=1.0)


def test_images_are_not_asked_for_while_nothing_is_expected() -> None:
    rest = Rest(group("web", health=UNCHECKED))
    before = rest.provider.asked_for_images
    rest.go_on(HOUR / 2)
    assert rest.provider.asked_for_images == before
