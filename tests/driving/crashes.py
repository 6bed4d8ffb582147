"""`infra` is killed at each of its calls that change anything, and goes on: nothing leaks, nothing is there twice.

The process is real, and dies by SIGKILL at the very point: before the request arrives, while it is on its way (it
arrives when the next process has looked and decided), or after the work and before the answer. Calls that only look
are left out: to die there is to die after the change before. Between two writes to the store no call tells; there the
store itself kills.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path
from threading import Event as Flag
from typing import Any, Final, Generic

from infrakit_py.engine.converge import End
from infrakit_py.stores.sqlite import SqliteStore
from tests.driving.forks import POLL_SECONDS, Forks, Order
from tests.driving.inline import InlineApp, apply_inline, write
from tests.driving.vendor import Document, F, Vendor
from tests.fakes.proxy import Call, DropReply, DropRequest, FaultProxy, Tap

PATIENCE_SECONDS: Final = 20.0


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


STORE_WRITES: Final = [
    *((write_, when) for write_ in ("record", "forget") for when in ("before", "after")),
    *((write_, "before") for write_ in ("revision", "note_version", "note_healthy")),
]


@dataclass
class World(Generic[F]):
    """An account, the broken line to it, and processes that work on it one after the other."""

    vendor: Vendor[F]
    forks: Forks
    fake: F
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
        settings = {**self.vendor.settings, "listing_lag": f"{int(self.lag * 1000)}ms"}
        self.before = self.vendor.cluster(settings=settings, **self.scenario.before)
        self.after = self.vendor.cluster(settings=settings, **self.scenario.after)
        self.proxy = FaultProxy(self.fake.url)

    @property
    def wanted(self) -> Document | None:
        return None if self.scenario.destroys else self.after

    def set_up(self) -> None:
        """Make what is there before, and declare what shall be."""
        if self.scenario.before:
            store = SqliteStore(self.state)
            with self.vendor.credentials(self.fake, self.fake.url):
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
        self.proxy.add(self.vendor.changing, Tap(self._watch, "after"), times=None)

    def run(self, **unlike: Any) -> int:
        """Let a process do all it wants to, or die as it is told to."""
        return self.forks.run(self._order(**unlike))

    def die_at(self, number: int, moment: Moment) -> bool:
        """Let a process work until the so manieth call that changes something. Tell whether there was one."""
        changing = self.vendor.changing

        def kill(call: Call) -> None:
            del call
            self.forks.kill()
            if moment is Moment.IN_FLIGHT:
                assert self.arrive.wait(PATIENCE_SECONDS)

        match moment:
            case Moment.LOST:
                self.proxy.add(changing, Tap(kill), first=number)
                self.proxy.add(changing, DropRequest(), first=number)
            case Moment.IN_FLIGHT:
                self.proxy.add(changing, Tap(kill), first=number)
                self.proxy.add(changing, Tap(lambda _: self.arrived.set(), "after"), first=number)
            case Moment.DONE:
                self.proxy.add(changing, Tap(kill, "after"), first=number)
                self.proxy.add(changing, DropReply(), first=number)
        code = self.run()
        assert code in (0, -signal.SIGKILL), self.said()
        return code != 0

    def go_on(self, *, late_request: bool = False) -> None:
        """Let the next process do it."""
        if late_request:
            self.proxy.add(self.vendor.changing, Tap(self._let_arrive))
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

    def comes_to_rest(self, document: Document | None) -> None:
        deadline = time.monotonic() + 2.0
        while faults := self.vendor.faults_of(self.fake, document):
            assert time.monotonic() < deadline, "; ".join(faults)
            time.sleep(0.01)

    def struck(self, number: int) -> str:
        """Return which call was the so manieth that changes something."""
        return self.vendor.name_of(self.proxy.calls(self.vendor.changing)[number - 1].call)

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
        with self.vendor.credentials(self.fake, self.proxy.url):
            environment = {
                name: value for name, value in os.environ.items() if name.startswith(self.vendor.variables)
            }
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
            there = self.vendor.members(self.fake, name)
            ready = self.vendor.serving(self.fake, name, self.scenario.after[name])
            if len(ready) < floor or (len(there) > most and not self.surplus_may_pass):
                self.wrong.append(f"{name}: {len(ready)} of {len(there)} serve after {self.vendor.name_of(call)}")


Opens = Callable[..., AbstractContextManager[World[F]]]
"""Opens a world: `(scenario, lag=0.0, forgetful=False)`."""


def opener(vendor: Vendor[F], ancestor: Forks, fake: Callable[[float], F], root: Path) -> Opens[F]:
    """Return what opens worlds one after the other. `fake` makes one whose listings lag."""
    numbers = count(1)

    @contextmanager
    def open_(scenario: Scenario, *, lag: float = 0.0, forgetful: bool = False) -> Iterator[World[F]]:
        with ExitStack() as stack:
            standing = fake(lag)
            stack.enter_context(standing)
            world = World(vendor, ancestor, standing, scenario, root / str(next(numbers)), lag, forgetful)
            stack.enter_context(world.proxy)
            stack.callback(world.arrive.set)
            world.set_up()
            yield world

    return open_


def die_at_each_call(opens: Opens[F], scenario: Scenario, lag: float, moment: Moment, *, lose_state: bool) -> None:
    """Let a process die at each of its calls, each time in a new world, and check what the next one makes of it."""
    for number in count(1):
        with opens(scenario, lag=lag) as world:
            if not world.die_at(number, moment):
                world.check()
                break
            if lose_state:
                world.lose_state()
            with world.explained(f"death at call {number} ({world.struck(number)}, {moment})"):
                world.go_on(late_request=moment is Moment.IN_FLIGHT)
                world.check()
    assert number > 1, "no call was struck"


def die_at_each_write(opens: Opens[F], scenario: Scenario, lag: float, write_: str, when: str) -> None:
    """Let a process die at each of its writes of a kind, and check what the next one makes of it."""
    for nth in count(1):
        with opens(scenario, lag=lag) as world:
            code = world.run(dies_at=write_, nth=nth, when=when)
            if code == 0:
                world.check()
                break
            assert code == -signal.SIGKILL, world.said()
            with world.explained(f"death {when} {write_} {nth}"):
                world.go_on()
                world.check()


def die_after_each_change(opens: Opens[F], scenario: Scenario, lag: float) -> None:
    """Let each process make one change and die before it learns that it did, until nothing is left to do."""
    with opens(scenario, lag=lag) as world:
        while world.die_at(1, Moment.DONE):
            world.heal()
        world.check()
