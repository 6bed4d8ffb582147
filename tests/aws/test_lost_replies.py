"""A hundred machines over a bad line: never one too many, none leaked, and all there in the end.

Virtual time; the calls are real HTTP through a proxy that strikes some of the launches, which are drawn from a seed.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from botocore.loaders import JSONFileLoader

from infrakit_py.cli.options import configure_logging
from infrakit_py.clock import VirtualClock
from infrakit_py.engine.converge import End
from infrakit_py.stores.memory import MemoryStore
from tests.aws.driving import InlineApp, apply_inline, cluster, faults_of, members, read_models_once, web, write
from tests.aws.ground import credentials
from tests.fakes.ec2 import FakeEC2, FakeSettings
from tests.fakes.proxy import Call, CutReply, DropReply, DropRequest, Effect, FaultProxy, Say, Tap

RUN: Final = "Action=RunInstances"
SEED: Final = 20
ALONE: Final = {"user_data": "name={{ instance.name }}"}
"""User data that differs by machine: then each is a launch of its own."""
STRUCK: Final[Mapping[str, Effect]] = {
    "request lost": DropRequest(),
    "reply lost": DropReply(),
    "reply cut in half": CutReply(),
    "refused over the limit": Say(),
}
_LOAD: Final = read_models_once()


@pytest.fixture(autouse=True)
def _quick_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JSONFileLoader, "load_file", _LOAD)
    configure_logging(logging.CRITICAL)


@dataclass
class Line:
    """An account behind a line, with whoever counts its machines at each launch."""

    fake: FakeEC2
    proxy: FaultProxy
    clock: VirtualClock
    root: Path
    document: Mapping[str, Any]
    too_many: list[str] = field(default_factory=list)

    def strike(self, effect: Effect, of: int, count: int) -> None:
        """Let so many launches out of the first so many go wrong."""
        for number in sorted(Random(SEED).sample(range(1, of + 1), count)):
            self.proxy.add(RUN, effect, first=number)

    def apply(self) -> None:
        settled = apply_inline(InlineApp(clock=self.clock), write(self.root, self.document), MemoryStore())
        assert settled.end is End.CONVERGED, settled

    def check(self, struck: int) -> None:
        """All is as declared, nothing else was ever there, and the line was as bad as it was meant to be."""
        assert sum(one.status != 200 for one in self.proxy.calls(RUN)) == struck
        assert self.too_many == []
        assert faults_of(self.fake, self.document) == []
        wanted = sum(group["size"] for group in self.document["groups"].values())
        assert len(self.fake.cloud.everything()) == wanted, "a machine was made in vain"

    def count(self, call: Call) -> None:
        del call
        for name, group in self.document["groups"].items():
            if len(members(self.fake, name)) > group["size"]:
                self.too_many.append(f"{name}: {len(members(self.fake, name))}")


@pytest.fixture
def opens(tmp_path: Path) -> Iterator[Callable[..., Line]]:
    with ExitStack() as stack:

        def open_(lag: int, **groups: Mapping[str, Any]) -> Line:
            clock = VirtualClock()
            fake = FakeEC2(FakeSettings(boot_seconds=20, terminate_seconds=30, listing_lag=lag), clock)
            stack.enter_context(fake)
            proxy = stack.enter_context(FaultProxy(fake.url))
            stack.enter_context(credentials(proxy.url))
            line = Line(fake, proxy, clock, tmp_path, cluster(settings={"listing_lag": f"{lag}s"}, **groups))
            proxy.add(RUN, Tap(line.count, "after"), times=None)
            return line

        yield open_


@pytest.mark.parametrize(
    ("fault", "lag"),
    [
        pytest.param(
            fault,
            lag,
            id=f"{fault}-{'slow' if lag else 'prompt'} listings",
            marks=[] if lag and fault == "reply lost" else [pytest.mark.long],
        )
        for fault in STRUCK
        for lag in (0, 10)
    ],
)
def test_a_fifth_of_a_hundred_launches_goes_wrong_and_a_hundred_machines_come(
    fault: str, lag: int, opens: Callable[..., Line]
) -> None:
    line = opens(lag, web=web(100, flavor=ALONE))
    line.strike(STRUCK[fault], of=100, count=20)
    line.apply()
    line.check(struck=20)


@pytest.mark.parametrize(
    "lag", [pytest.param(0, marks=pytest.mark.long), 10], ids=["prompt listings", "slow listings"]
)
@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=[] if fault == "reply lost" else [pytest.mark.long]) for fault in STRUCK]
)
def test_a_launch_of_many_that_goes_wrong_is_the_same_launch_again(
    fault: str, lag: int, opens: Callable[..., Line]
) -> None:
    line = opens(lag, **{f"web-{number}": web(25) for number in range(4)})
    line.strike(STRUCK[fault], of=12, count=5)
    line.apply()
    line.check(struck=5)


def test_every_launch_loses_its_reply_once(opens: Callable[..., Line]) -> None:
    line = opens(10, **{f"web-{number}": web(10) for number in range(3)})
    line.proxy.add(RUN, DropReply(), times=9)
    line.apply()
    line.check(struck=9)


def test_slow_listings_alone_make_no_machine_twice(opens: Callable[..., Line]) -> None:
    line = opens(10, web=web(100))
    line.apply()
    line.check(struck=0)
