"""Where EC2 has no more, or takes back what it gave: the real engine on the real provider, in virtual time."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.loaders import JSONFileLoader

from infrakit_py.cli.options import configure_logging
from infrakit_py.clock import VirtualClock
from infrakit_py.engine.converge import End, Settlement
from infrakit_py.engine.engine import Engine, Phase
from infrakit_py.stores.memory import MemoryStore
from tests.aws.driving import (
    InlineApp,
    apply_inline,
    cluster,
    engine_of,
    faults_of,
    members,
    read_models_once,
    serving,
    web,
    write,
)
from tests.aws.ground import credentials
from tests.fakes.ec2 import FakeEC2, FakeSettings
from tests.fakes.ec2.tables import Instance

BOOT_SECONDS: Final = 20.0
MEMORY: Final = {"capacity_memory": "3m"}
TYPES: Final = {"instance_types": ["t3.micro", "t3.small"]}
ONE_ZONE: Final = {"zones": ["eu-central-1a"]}
_LOAD: Final = read_models_once()


@pytest.fixture(autouse=True)
def _quick_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JSONFileLoader, "load_file", _LOAD)
    configure_logging(logging.CRITICAL)


@dataclass
class Region:
    """An account on a virtual clock, and whoever declares and applies there."""

    fake: FakeEC2
    clock: VirtualClock
    root: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    ready: list[int] = field(default_factory=list)

    @property
    def app(self) -> InlineApp:
        return InlineApp(clock=self.clock)

    def apply(self, _settings: Mapping[str, Any] | None = None, **groups: Mapping[str, Any]) -> Settlement:
        path = write(self.root, cluster(settings=_settings, **groups))
        return apply_inline(self.app, path, self.store)

    def converge(self, **groups: Mapping[str, Any]) -> None:
        settled = self.apply(MEMORY, **groups)
        assert settled.end is End.CONVERGED, settled
        assert faults_of(self.fake, cluster(**groups)) == []

    def keep(self, engine: Engine, seconds: float) -> None:
        """Let a controller work for a while, and note how many of `web` run after each of its steps."""
        until = self.clock.now() + seconds
        while (now := self.clock.now()) < until:
            due = engine.step()
            self.ready.append(len(serving(self.fake, "web", behind=False)))
            self.clock.sleep(max(0.0, min(due, until) - now))

    def zones(self, group: str = "web") -> dict[str, int]:
        return dict(sorted(Counter(one.subnet.zone[-1] for one in members(self.fake, group)).items()))

    def types(self) -> dict[str, int]:
        return dict(Counter(one.type.name for one in members(self.fake, "web")))


Opens = Callable[..., Region]


@pytest.fixture
def opens(tmp_path: Path) -> Iterator[Opens]:
    with ExitStack() as stack:

        def open_(**settings: Any) -> Region:
            clock = VirtualClock()
            fake = FakeEC2(FakeSettings(boot_seconds=BOOT_SECONDS, terminate_seconds=30, **settings), clock)
            stack.enter_context(fake)
            stack.enter_context(credentials(fake.url))
            stack.callback(lambda: _no_mistakes(fake))
            return Region(fake, clock, tmp_path)

        yield open_


def _no_mistakes(fake: FakeEC2) -> None:
    assert fake.mistakes == []


def test_a_type_that_a_zone_has_none_of_gives_way_to_the_next_type_at_once(opens: Opens) -> None:
    region = opens(capacity={"a": {"t3.micro": 0, "t3.small": 99}})
    began = region.clock.now()
    region.converge(web=web(6, machine=TYPES))
    assert region.zones() == {"a": 2, "b": 2, "c": 2}
    assert region.types() == {"t3.micro": 4, "t3.small": 2}
    assert region.clock.now() - began < BOOT_SECONDS + 5


def test_a_zone_that_has_nothing_gives_way_to_the_other_zones_at_once(opens: Opens) -> None:
    region = opens(capacity={"a": 0})
    began = region.clock.now()
    region.converge(web=web(6, machine=TYPES))
    assert region.zones() == {"b": 3, "c": 3}
    assert region.types() == {"t3.micro": 6}
    assert region.clock.now() - began < BOOT_SECONDS + 5


def test_what_a_zone_had_none_of_is_not_asked_for_again_until_its_memory_ends(opens: Opens) -> None:
    region = opens(capacity={"a": 0})
    path = write(region.root, cluster(settings=MEMORY, web=web(3)))
    with engine_of(region.app, path, region.store, endless=True) as engine:
        region.keep(engine, 60)
        assert region.zones() == {"b": 2, "c": 1}
        tried = region.fake.calls["RunInstances"]
        region.fake.set_capacity("a", None)
        region.fake.terminate(members(region.fake, "web")[0].id)
        region.keep(engine, 90)
        assert region.fake.calls["RunInstances"] == tried + 1, "it asked where there was none a minute ago"
        assert "a" not in region.zones()
        region.keep(engine, 120)
        region.fake.terminate(members(region.fake, "web")[0].id)
        region.keep(engine, 90)
        assert region.zones()["a"] == 1


def test_no_capacity_anywhere_is_waited_for(opens: Opens) -> None:
    region = opens(capacity={"a": 0, "b": 0, "c": 0})
    path = write(region.root, cluster(settings=MEMORY, web=web(30)))
    with engine_of(region.app, path, region.store, endless=True) as engine:
        region.keep(engine, 600)
        assert region.fake.calls["RunInstances"] < 150, "it asks for each machine by itself, again and again"
        for zone in "abc":
            region.fake.set_capacity(zone, None)
        region.keep(engine, 300)
        assert region.zones() == {"a": 10, "b": 10, "c": 10}


def test_a_pool_that_has_three_left_and_is_asked_for_ten_gives_its_three(opens: Opens) -> None:
    region = opens(capacity={"a": 3, "b": 0, "c": 0})
    path = write(region.root, cluster(settings=MEMORY, web=web(10)))
    with engine_of(region.app, path, region.store, endless=True) as engine:
        region.keep(engine, 300)
    assert region.zones() == {"a": 3}


def test_what_a_pool_cannot_give_comes_of_the_next_type_at_once(opens: Opens) -> None:
    """How many there are left is found by halves, so that one may stay behind."""
    region = opens(capacity={"a": {"t3.micro": 3, "t3.small": 99}})
    began = region.clock.now()
    region.converge(web=web(10, machine={**TYPES, **ONE_ZONE}))
    assert region.types()["t3.micro"] in (2, 3)
    assert region.clock.now() - began < BOOT_SECONDS + 5


def test_a_quota_stops_the_group_and_is_named_and_not_tried_again(opens: Opens) -> None:
    region = opens(vcpu_quota=4)
    settled = region.apply(MEMORY, web=web(6, machine=ONE_ZONE))
    assert settled.end is End.FAILED
    status = settled.groups["web"]
    assert status.phase is Phase.FAILED
    assert "VcpuLimitExceeded" in status.reason
    assert "Service Quotas" in status.hint
    assert region.fake.calls["RunInstances"] == 1
    assert members(region.fake, "web") == []


def test_a_quota_of_one_group_holds_up_no_other(opens: Opens) -> None:
    region = opens(vcpu_quota=8)
    settled = region.apply(MEMORY, small=web(2, machine=ONE_ZONE), large=web(9, machine=ONE_ZONE))
    assert settled.groups["small"].phase is Phase.CONVERGED
    assert settled.groups["large"].phase is Phase.FAILED
    assert len(members(region.fake, "small")) == 2


@pytest.mark.parametrize("sizes", [(7,), (2, 5, 10, 11), (9, 3, 8)], ids=str)
def test_trap_28_a_group_is_spread_evenly_over_zones_as_it_grows_and_shrinks(
    sizes: tuple[int, ...], opens: Opens
) -> None:
    region = opens()
    for size in sizes:
        region.converge(web=web(size))
        counts = [region.zones().get(zone, 0) for zone in "abc"]
        assert max(counts) - min(counts) <= 1, counts


@pytest.mark.long
def test_trap_28_two_batches_at_once_see_one_another(opens: Opens) -> None:
    """Replacements and growth are asked for by one tick in several calls; other groups by other ticks."""
    region = opens(listing_lag=10)
    lagging = {**MEMORY, "listing_lag": "10s"}
    region.apply(lagging, web=web(4), api=web(5))
    rollout = {"max_surge": 4}
    settled = region.apply(lagging, web=web(8, "v2", rollout=rollout), api=web(10, "v2", rollout=rollout))
    assert settled.end is End.CONVERGED
    for group in ("web", "api"):
        counts = region.zones(group).values()
        assert max(counts) - min(counts) <= 1, region.zones(group)


def test_trap_28_a_replacement_keeps_zones_even(opens: Opens) -> None:
    region = opens()
    region.converge(web=web(6))
    region.converge(web=web(6, "v2", rollout={"max_surge": 1}))
    assert region.zones() == {"a": 2, "b": 2, "c": 2}


MIXED: Final = {"capacity": {"on_demand_base": 2, "spot_percent": 50}}


def _markets(region: Region) -> Counter[bool]:
    return Counter(one.spot is not None for one in members(region.fake, "web"))


@pytest.mark.parametrize(("size", "spot"), [(2, 0), (3, 0), (4, 1), (6, 2), (10, 4)])
def test_the_mix_holds_base_and_percent(size: int, spot: int, opens: Opens) -> None:
    region = opens()
    region.converge(web=web(size, machine=MIXED))
    assert _markets(region)[True] == spot


@pytest.mark.parametrize("surge", [2, *(pytest.param(surge, marks=pytest.mark.long) for surge in (1, 3, 5))])
def test_the_mix_holds_through_a_replacement_of_all(surge: int, opens: Opens) -> None:
    region = opens()
    region.converge(web=web(10, machine=MIXED))
    region.converge(web=web(10, "v2", machine=MIXED, rollout={"max_surge": surge}))
    assert _markets(region) == {False: 6, True: 4}


def test_the_mix_is_restored_when_a_machine_dies(opens: Opens) -> None:
    region = opens()
    region.converge(web=web(6, machine=MIXED))
    region.fake.terminate(_of_market(region, spot=False).id)
    region.converge(web=web(6, machine=MIXED))
    assert _markets(region) == {False: 4, True: 2}
    region.fake.terminate(_of_market(region, spot=True).id)
    region.converge(web=web(6, machine=MIXED))
    assert _markets(region) == {False: 4, True: 2}


def _of_market(region: Region, *, spot: bool) -> Instance:
    return next(one for one in members(region.fake, "web") if (one.spot is not None) is spot)


def test_a_spot_interruption_is_replaced_before_the_machine_is_taken(opens: Opens) -> None:
    region = opens()
    group = web(4, machine={"capacity": {"spot_percent": 100}})
    region.converge(web=group)
    path = write(region.root, cluster(settings=MEMORY, web=group))
    with engine_of(region.app, path, region.store, endless=True) as engine:
        region.keep(engine, 60)
        taken = members(region.fake, "web")[0].id
        region.fake.interrupt_spot(taken)
        region.keep(engine, 90)
        assert region.fake.state_of(taken) == "running", "it is not taken before its two minutes are over"
        assert len(serving(region.fake, "web", behind=False)) == 5, "its successor runs beside it"
        region.keep(engine, 120)
    assert region.fake.state_of(taken) == "terminated"
    assert faults_of(region.fake, cluster(web=group)) == []
    assert min(region.ready) >= 4


def test_a_scheduled_event_leads_to_a_replacement_that_keeps_the_floor(opens: Opens) -> None:
    region = opens()
    group = web(3, rollout={"max_surge": 1, "max_unavailable": 0})
    region.converge(web=group)
    path = write(region.root, cluster(settings=MEMORY, web=group))
    with engine_of(region.app, path, region.store, endless=True) as engine:
        region.keep(engine, 60)
        doomed = members(region.fake, "web")[0].id
        region.fake.schedule_event(doomed)
        region.ready.clear()
        region.keep(engine, 300)
    assert region.fake.state_of(doomed) == "terminated"
    assert faults_of(region.fake, cluster(web=group)) == []
    assert min(region.ready) >= 3, "it went before its successor came"
    assert max(region.ready) <= 4, "more than the surge"


def test_trap_24_a_machine_that_a_person_protected_stays_and_keeps_no_other(opens: Opens) -> None:
    region = opens()
    region.converge(web=web(6, machine=ONE_ZONE))
    protected = members(region.fake, "web")[:2]  # of them at least one is among the five that shall go
    for one in protected:
        one.protected = True
    settled = region.apply(MEMORY, web=web(1, machine=ONE_ZONE))
    assert settled.end is End.FAILED
    assert "OperationNotPermitted" in settled.groups["web"].reason
    there = {one.id for one in members(region.fake, "web")}
    ids = {one.id for one in protected}
    assert ids <= there
    assert len(there - ids) <= 1, "it kept others of its batch from going"


def test_trap_24_a_rollout_goes_round_a_machine_that_a_person_protected(opens: Opens) -> None:
    region = opens()
    region.converge(web=web(4, machine=ONE_ZONE))
    protected = members(region.fake, "web")[0]
    protected.protected = True
    region.apply(MEMORY, web=web(4, "v2", machine=ONE_ZONE, rollout={"max_surge": 4, "progress_deadline": "5m"}))
    there = members(region.fake, "web")
    old = [one.id for one in there if one.image.id == protected.image.id]
    assert old == [protected.id]
    assert len(there) - len(old) >= 3


def test_what_the_spec_protects_goes_when_the_spec_says_so(opens: Opens) -> None:
    region = opens()
    machine = {**ONE_ZONE, "termination_protection": True}
    region.converge(web=web(4, machine=machine))
    assert all(one.protected for one in members(region.fake, "web"))
    region.converge(web=web(2, machine=machine))
