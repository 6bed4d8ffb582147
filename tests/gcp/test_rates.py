"""Google counts calls in minutes of the clock, per project: whoever calls."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from infrakit_py.cli.options import configure_logging
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import Throttled
from tests.driving.regions import Region
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.gcp.driving import GCP, web
from tests.gcp.ground import SETTINGS, credentials, opened

FEW: Final = {**SETTINGS, "limits": {"lists_per_minute": 2}}
ALONE: Final = {"user_data": "name={{ instance.name }}"}
"""User data that differs by machine: then each is a call of its own."""
_SKEW_SECONDS: Final = 1.0
Opens = Callable[..., Region[FakeGCE]]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    configure_logging(logging.CRITICAL)


@pytest.fixture
def opens(tmp_path: Path) -> Iterator[Opens]:
    with ExitStack() as stack:

        def open_(mutations: int = 1500, **settings: Any) -> Region[FakeGCE]:
            clock = VirtualClock()
            fake = FakeGCE(FakeSettings(boot_seconds=20, delete_seconds=30, limits="gce", **settings), clock)
            stack.enter_context(fake)
            stack.enter_context(credentials(fake.url, fake.credentials))
            one_by_one = {"parallel_calls": 1, "limits": {"mutations_per_minute": mutations}}
            return Region(GCP, fake, clock, tmp_path, one_by_one)  # of several at once each would let time pass

        yield open_


def seconds_into_a_minute(clock: VirtualClock, seconds: float) -> None:
    clock.sleep(60 - clock.now() % 60 + seconds)


def test_two_providers_of_a_project_wait_for_the_same_minute(fake: FakeGCE, clock: VirtualClock) -> None:
    one, other = opened(clock, FEW), opened(clock, FEW)
    seconds_into_a_minute(clock, 50)
    began = clock.now()
    for provider in (one, other, one):
        provider.describe("shop")
    assert clock.now() - began == 10 + _SKEW_SECONDS
    one.close()
    other.close()


def test_a_new_minute_has_all_its_calls_at_once(fake: FakeGCE, clock: VirtualClock) -> None:
    provider = opened(clock, FEW)
    seconds_into_a_minute(clock, 59)
    for _ in range(4):
        provider.describe("shop")
    assert clock.now() % 60 <= _SKEW_SECONDS
    provider.close()


def test_who_would_have_to_wait_for_long_is_told_so(fake: FakeGCE, clock: VirtualClock) -> None:
    provider = opened(clock, FEW)
    seconds_into_a_minute(clock, 5)
    for _ in range(2):
        provider.describe("shop")
    with pytest.raises(Throttled, match="this minute's lists"):
        provider.describe("shop")
    assert clock.now() % 60 < 60 - 5
    provider.close()


def test_another_region_has_calls_of_its_own(fake: FakeGCE, clock: VirtualClock) -> None:
    here, elsewhere = opened(clock, FEW), opened(clock, {**FEW, "region": "europe-north1"})
    seconds_into_a_minute(clock, 50)
    began = clock.now()
    for _ in range(2):
        here.describe("shop")
        elsewhere.describe("shop")
    assert clock.now() == began
    here.close()
    elsewhere.close()


def test_a_project_that_allows_few_changes_a_minute_gets_no_more_of_them(opens: Opens) -> None:
    region = opens(mutations=20, per_minute={"mutate": 20})
    seconds_into_a_minute(region.clock, 0)
    began = region.clock.now()
    region.converge(web=web(50, flavor=ALONE))
    assert region.fake.calls["instances.insert"] == 50, "some were asked for in vain"
    assert 120 <= region.clock.now() - began < 240


def test_a_project_that_somebody_else_uses_too_is_waited_for(opens: Opens) -> None:
    """What is configured is more than is left: every refusal says so, and the machines come all the same."""
    region = opens(per_minute={"mutate": 20})
    seconds_into_a_minute(region.clock, 0)
    region.converge(web=web(50, flavor=ALONE))
    assert region.fake.calls["instances.insert"] < 120, "it hammers at a closed door"


def test_whoever_waits_for_many_machines_that_were_made_one_by_one_asks_little(opens: Opens) -> None:
    """Each has an operation, and may yet fail; a project has 1,500 looks at operations a minute."""
    region = opens()
    region.converge(web=web(90, flavor=ALONE))
    asked = region.fake.calls["zoneOperations.get"] + region.fake.calls["zoneOperations.list"]
    assert asked < 90


def test_more_bulk_inserts_than_may_go_on_at_once_are_made_one_after_another(opens: Opens) -> None:
    """Ten at once, as documented."""
    region = opens()
    began = region.clock.now()
    region.converge(**{f"web-{number}": web(6) for number in range(6)})
    assert region.clock.now() - began < 180
