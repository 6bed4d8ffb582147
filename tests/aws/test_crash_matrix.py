"""`infra` is killed at each of its calls that change anything, and goes on: nothing leaks, nothing is there twice.

The process is real, and dies by SIGKILL at the very point: before the request arrives, while it is on its way (it
arrives when the next process has looked and decided), or after the work and before the answer. Calls that only look
are left out: to die there is to die after the change before. Between two writes to the store no call tells; there the
store itself kills.
"""

import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from pathlib import Path
from threading import Event as Flag
from typing import Any, Final

import pytest
from botocore.loaders import JSONFileLoader

from infrakit_py.cli.options import configure_logging
from infrakit_py.engine.converge import End
from infrakit_py.stores.sqlite import SqliteStore
from tests.aws.driving import (
    POLL_SECONDS,
    Forks,
    InlineApp,
    Order,
    apply_inline,
    cluster,
    db,
    faults_of,
    forks,
    members,
    read_models_once,
    serving,
    web,
    write,
)
from tests.aws.ground import credentials
from tests.fakes.ec2 import FakeEC2, FakeSettings
from tests.fakes.proxy import Call, DropReply, DropRequest, FaultProxy, Tap

pytestmark = [pytest.mark.crash, pytest.mark.slow]

CHANGING: Final = r"\nAction=(?!Describe)"
LAG_SECONDS: Final = 0.3
PATIENCE_SECONDS: Final = 20.0
QUICK: Final = FakeSettings(boot_seconds=0.05, terminate_seconds=0.05, deregistration_seconds=0.05)
LISTINGS: Final = {"prompt": 0.0, "late": LAG_SECONDS}


class Moment(StrEnum):
    """When the process dies, seen from a call."""

    LOST = "request lost"
    IN_FLIGHT = "request in flight"
    DONE = "reply lost"


@dataclass(frozen=True)
class Scenario:
    """What is declared before and after; at most so many machines meanwhile, and at least so many that serve."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    bounds: Mapping[str, tuple[int, int]]
    destroys: bool = False


TWO_ZONES: Final = {"zones": ["eu-central-1a", "eu-central-1b"]}
ONE_ZONE: Final = {"zones": ["eu-central-1a"]}
SERVED: Final[Mapping[str, Any]] = {
    "machine": {"target_groups": ["web"]},
    "rollout": {"max_surge": 1, "max_unavailable": 0},
}
TWO_AT_ONCE: Final[Mapping[str, Any]] = {"machine": ONE_ZONE, "rollout": {"max_surge": 2, "max_unavailable": 0}}
BOTH: Final = {"web": web(2, machine={**ONE_ZONE, "target_groups": ["web"]}), "db": db("db-1")}
SCENARIOS: Final = {
    "creation": Scenario({}, {"web": web(4, machine=TWO_ZONES), "db": db("db-1")}, {"web": (0, 4), "db": (0, 1)}),
    "rollout": Scenario({"web": web(4, machine=ONE_ZONE)}, {"web": web(4, "v2", **TWO_AT_ONCE)}, {"web": (4, 6)}),
    "shrinking": Scenario({"web": web(4, machine=TWO_ZONES)}, {"web": web(2, machine=TWO_ZONES)}, {"web": (2, 4)}),
    "destruction": Scenario(BOTH, BOTH, {"web": (0, 2), "db": (0, 1)}, destroys=True),
    "named": Scenario({"db": db("db-1")}, {"db": db("db-1", image="v2")}, {"db": (0, 1)}),
    "balanced": Scenario({"web": web(1, **SERVED)}, {"web": web(1, "v2", **SERVED)}, {"web": (1, 2)}),
}
_BRIEF: Final = ("shrinking", "destruction")


ALWAYS_RUN: Final = (
    ("creation", "late", Moment.DONE, False),
    ("rollout", "late", Moment.IN_FLIGHT, False),
    ("shrinking", "prompt", Moment.LOST, False),
    ("named", "prompt", Moment.DONE, True),
)
"""One of each kind, for each change; the others are for the long run."""
CASES: Final = [
    pytest.param(
        name,
        listings,
        moment,
        lose_state,
        id=f"{name}-{listings}-{moment}-state {'lost' if lose_state else 'kept'}",
        marks=[] if (name, listings, moment, lose_state) in ALWAYS_RUN else [pytest.mark.long],
    )
    for name in SCENARIOS
    for listings in LISTINGS
    for moment in Moment
    for lose_state in (False, True)
    # What was never launched is not listed late.
    if listings == "prompt" or (name not in _BRIEF and moment is not Moment.LOST)
]
STORE_WRITES: Final = [
    *((write_, "before") for write_ in ("record", "forget", "note_healthy")),
    *(pytest.param(write_, "after", marks=pytest.mark.long) for write_ in ("record", "forget")),
    *(pytest.param(write_, "before", marks=pytest.mark.long) for write_ in ("revision", "note_version")),
]


@dataclass
class World:
    """An account, the broken line to it, and processes that work on it one after the other."""

    forks: Forks
    scenario: Scenario
    root: Path
    lag: float = 0.0
    forgetful: bool = False
    surplus_may_pass: bool = False
    wrong: list[str] = field(default_factory=list)
    arrive: Flag = field(default_factory=Flag)
    arrived: Flag = field(default_factory=Flag)

    def __post_init__(self) -> None:
        self.state = self.root / "state"
        self.output = self.root / "output"
        settings = {"listing_lag": f"{int(self.lag * 1000)}ms", "limits": _GENEROUS}
        self.before = cluster(settings=settings, **self.scenario.before)
        self.after = cluster(settings=settings, **self.scenario.after)
        self.fake = FakeEC2(replace(QUICK, listing_lag=self.lag))
        self.proxy = FaultProxy(self.fake.url)

    @property
    def wanted(self) -> Mapping[str, Any] | None:
        return None if self.scenario.destroys else self.after

    def set_up(self) -> None:
        """Make what is there before, and declare what shall be."""
        if self.scenario.before:
            store = SqliteStore(self.state)
            with credentials(self.fake.url):
                path = write(self.root, self.before)
                done = apply_inline(InlineApp(), path, store, poll_seconds=POLL_SECONDS, timeout_seconds=20.0)
                assert done.end is End.CONVERGED, done
            store.close()
            self.comes_to_rest(self.before)
        write(self.root, self.after)
        self.heal()

    def heal(self) -> None:
        """Let the line break nothing any more."""
        self.proxy.clear()
        self.proxy.add(CHANGING, Tap(self._watch, "after"), times=None)

    def run(self, **unlike: Any) -> int:
        """Let a process do all it wants to, or die as it is told to."""
        return self.forks.run(self._order(**unlike))

    def die_at(self, number: int, moment: Moment) -> bool:
        """Let a process work until the so manieth call that changes something. Tell whether there was one."""

        def kill(call: Call) -> None:
            del call
            self.forks.kill()
            if moment is Moment.IN_FLIGHT:
                assert self.arrive.wait(PATIENCE_SECONDS)

        match moment:
            case Moment.LOST:
                self.proxy.add(CHANGING, Tap(kill), first=number)
                self.proxy.add(CHANGING, DropRequest(), first=number)
            case Moment.IN_FLIGHT:
                self.proxy.add(CHANGING, Tap(kill), first=number)
                self.proxy.add(CHANGING, Tap(lambda _: self.arrived.set(), "after"), first=number)
            case Moment.DONE:
                self.proxy.add(CHANGING, Tap(kill, "after"), first=number)
                self.proxy.add(CHANGING, DropReply(), first=number)
        code = self.run()
        assert code in (0, -signal.SIGKILL), self.said()
        return code != 0

    def go_on(self, *, late_request: bool = False) -> None:
        """Let the next process do it."""
        if late_request:
            self.proxy.add(CHANGING, Tap(self._let_arrive))
        try:
            assert self.run() == 0, self.said()
        finally:
            self.arrive.set()
        if late_request:
            assert self.arrived.wait(PATIENCE_SECONDS)
        if self.surplus_may_pass:
            # Nobody remembers what was asked for and was not listed yet: the cost is a surplus that passes.
            time.sleep(self.lag)
            assert self.run() == 0, self.said()

    def lose_state(self) -> None:
        shutil.rmtree(self.state, ignore_errors=True)
        self.surplus_may_pass = True

    def check(self) -> None:
        assert not self.wrong, "; ".join(self.wrong)
        self.comes_to_rest(self.wanted)
        assert not self.fake.mistakes, self.fake.mistakes

    def comes_to_rest(self, document: Mapping[str, Any] | None) -> None:
        deadline = time.monotonic() + 2.0
        while faults := faults_of(self.fake, document):
            assert time.monotonic() < deadline, "; ".join(faults)
            time.sleep(0.01)

    def struck(self, number: int) -> str:
        """Return which call was the so manieth that changes something."""
        return _action(self.proxy.calls(CHANGING)[number - 1].call)

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Let failures say when the process had died, and what the next one said."""
        try:
            yield
        except AssertionError as exc:
            raise AssertionError(f"{what}: {exc}\n{self.said()}") from exc

    def said(self) -> str:
        return self.output.read_text()[-4000:] if self.output.exists() else ""

    def _order(self, **unlike: Any) -> Order:
        command = "destroy" if self.scenario.destroys else "apply"
        more = () if self.scenario.destroys else ("--allow-mass-destroy",)
        with credentials(self.proxy.url):
            environment = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
        environment |= {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "INFRAKIT_STATE_DIR": str(self.state),
            "TERM": "dumb",
        }
        arguments = (command, "--auto-approve", "--timeout", "20s", *more)
        return Order(arguments, str(self.root), environment, str(self.output), forgetful=self.forgetful, **unlike)

    def _let_arrive(self, call: Call) -> None:
        del call
        self.arrive.set()
        assert self.arrived.wait(PATIENCE_SECONDS)

    def _watch(self, call: Call) -> None:
        """Look at the bounds just after something was changed."""
        for name, (floor, most) in self.scenario.bounds.items():
            there = members(self.fake, name)
            behind = bool(self.scenario.after[name]["machine"].get("target_groups"))
            ready = serving(self.fake, name, behind=behind)
            if len(ready) < floor or (len(there) > most and not self.surplus_may_pass):
                self.wrong.append(f"{name}: {len(ready)} of {len(there)} serve after {_action(call)}")


_GENEROUS: Final = {"run_instances": {"burst": 1000, "per_second": 1000}}


def _action(call: Call) -> str:
    return call.text.partition("Action=")[2].partition("&")[0]


Opens = Callable[..., AbstractContextManager[World]]


@pytest.fixture(scope="module")
def ancestor() -> Iterator[Forks]:
    with forks() as ancestor:
        yield ancestor


@pytest.fixture(autouse=True)
def _quick_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JSONFileLoader, "load_file", _LOAD)
    configure_logging(logging.CRITICAL)


_LOAD: Final = read_models_once()


@pytest.fixture
def opens(ancestor: Forks, tmp_path: Path) -> Opens:
    """Open worlds one after the other."""
    number = 0

    @contextmanager
    def open_(name: str, **unlike: Any) -> Iterator[World]:
        nonlocal number
        number += 1
        world = World(ancestor, SCENARIOS[name], tmp_path / str(number), **unlike)
        with ExitStack() as stack:
            stack.enter_context(world.fake)
            stack.enter_context(world.proxy)
            stack.callback(world.arrive.set)
            world.set_up()
            yield world

    return open_


@pytest.mark.parametrize(("name", "listings", "moment", "lose_state"), CASES)
def test_trap_25_a_death_at_any_call_leaks_nothing_and_doubles_nothing(
    name: str, listings: str, moment: Moment, lose_state: bool, opens: Opens
) -> None:
    for number in count(1):
        with opens(name, lag=LISTINGS[listings]) as world:
            if not world.die_at(number, moment):
                world.check()
                break
            if lose_state:
                world.lose_state()
            with world.explained(f"death at call {number} ({world.struck(number)}, {moment})"):
                world.go_on(late_request=moment is Moment.IN_FLIGHT)
                world.check()
    assert number > 1, "no call was struck"


@pytest.mark.parametrize(("write_", "when"), STORE_WRITES)
@pytest.mark.parametrize(
    "name",
    [pytest.param("creation", marks=pytest.mark.long), "rollout", pytest.param("named", marks=pytest.mark.long)],
)
def test_a_death_between_two_writes_to_the_store_costs_nothing(
    name: str, write_: str, when: str, opens: Opens
) -> None:
    for nth in count(1):
        with opens(name, lag=LAG_SECONDS) as world:
            code = world.run(dies_at=write_, nth=nth, when=when)
            if code == 0:
                world.check()
                break
            assert code == -signal.SIGKILL, world.said()
            with world.explained(f"death {when} {write_} {nth}"):
                world.go_on()
                world.check()


def test_death_after_death_comes_to_an_end(opens: Opens) -> None:
    """Each process makes one change, and never learns that it did."""
    with opens("creation", lag=LAG_SECONDS) as world:
        while world.die_at(1, Moment.DONE):
            world.heal()
        world.check()


def test_a_provider_that_forgets_its_tokens_is_caught(opens: Opens) -> None:
    with opens("rollout", forgetful=True) as world:
        assert world.die_at(1, Moment.IN_FLIGHT)
        world.go_on(late_request=True)
        with pytest.raises(AssertionError, match="serve after RunInstances"):
            world.check()
