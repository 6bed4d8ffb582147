"""A hundred machines over a bad line: never one too many, none leaked, and all there in the end.

Virtual time; the calls are real HTTP through a proxy that strikes some of the launches, which are drawn from a seed.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from infrakit_py.cli.options import configure_logging
from infrakit_py.clock import VirtualClock
from tests.driving.lines import STRUCK, Line
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.fakes.proxy import DropReply, Effect, FaultProxy, Say
from tests.gcp.driving import GCP, cluster, web
from tests.gcp.ground import credentials

ALONE: Final = {"user_data": "name={{ instance.name }}"}
"""User data that differs by machine: then each is a launch of its own."""
OVER_THE_LIMIT: Final = {
    "code": 403,
    "message": "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service "
    "'compute.googleapis.com'",
    "errors": [{"message": "Quota exceeded", "domain": "usageLimits", "reason": "rateLimitExceeded"}],
}
FAULTS: Final[Mapping[str, Effect]] = {
    **STRUCK,
    "refused over the limit": Say(403, json.dumps({"error": OVER_THE_LIMIT}), "application/json"),
}
Opens = Callable[..., Line[FakeGCE]]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    configure_logging(logging.CRITICAL)


@pytest.fixture
def opens(tmp_path: Path) -> Iterator[Opens]:
    with ExitStack() as stack:

        def open_(lag: int, **groups: Mapping[str, Any]) -> Line[FakeGCE]:
            clock = VirtualClock()
            fake = FakeGCE(FakeSettings(boot_seconds=20, delete_seconds=30, listing_lag=lag), clock)
            stack.enter_context(fake)
            proxy = stack.enter_context(FaultProxy(fake.url))
            stack.enter_context(credentials(proxy.url, fake.credentials))
            return Line(GCP, fake, proxy, clock, tmp_path, cluster(settings={"listing_lag": f"{lag}s"}, **groups))

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
        for fault in FAULTS
        for lag in (0, 10)
    ],
)
def test_a_fifth_of_a_hundred_launches_goes_wrong_and_a_hundred_machines_come(
    fault: str, lag: int, opens: Opens
) -> None:
    line = opens(lag, web=web(100, flavor=ALONE))
    line.strike(FAULTS[fault], of=100, count=20)
    line.apply()
    line.check(struck=20)


@pytest.mark.long
@pytest.mark.parametrize("lag", [0, 10], ids=["prompt listings", "slow listings"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_launch_of_many_that_goes_wrong_is_the_same_launch_again(fault: str, lag: int, opens: Opens) -> None:
    line = opens(lag, **{f"web-{number}": web(30) for number in range(4)})
    line.strike(FAULTS[fault], of=12, count=5)
    line.apply()
    line.check(struck=5)


def test_every_launch_loses_its_reply_once(opens: Opens) -> None:
    line = opens(10, **{f"web-{number}": web(10) for number in range(3)})
    line.proxy.add(GCP.launching, DropReply(), times=9)
    line.apply()
    line.check(struck=9)


def test_slow_listings_alone_make_no_machine_twice(opens: Opens) -> None:
    line = opens(10, web=web(100))
    line.apply()
    line.check(struck=0)
