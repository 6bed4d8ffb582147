"""`infra` dies at each of its calls that change anything at Compute Engine, and whoever comes next makes it good.

See tests/driving/crashes.py for how it dies.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from infrakit_py.cli.options import configure_logging
from tests.driving.crashes import (
    STORE_WRITES,
    Moment,
    Opens,
    Scenario,
    die_after_each_change,
    die_at_each_call,
    die_at_each_write,
    opener,
)
from tests.driving.forks import Forks, forks
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.gcp.driving import GCP, db, web

pytestmark = [pytest.mark.crash, pytest.mark.slow]

LAG_SECONDS: Final = 0.3
LISTINGS: Final = {"prompt": 0.0, "late": LAG_SECONDS}
TWO_ZONES: Final = {"zones": ["europe-west1-b", "europe-west1-c"]}
ONE_ZONE: Final = {"zones": ["europe-west1-b"]}
SERVED: Final[Mapping[str, Any]] = {
    "machine": {**ONE_ZONE, "backend_services": ["web"]},
    "rollout": {"max_surge": 1, "max_unavailable": 0},
}
TWO_AT_ONCE: Final[Mapping[str, Any]] = {"machine": ONE_ZONE, "rollout": {"max_surge": 2, "max_unavailable": 0}}
BOTH: Final = {"web": web(2, machine={**ONE_ZONE, "backend_services": ["web"]}), "db": db("db-1")}
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
    ("creation", "late", Moment.DONE),
    ("named", "prompt", Moment.IN_FLIGHT),
    ("shrinking", "prompt", Moment.LOST),
)
"""One of each kind, for each change; the others are for the long run."""
CASES: Final = [
    pytest.param(
        name,
        listings,
        moment,
        lose_state,
        id=f"{name}-{listings}-{moment}-state {'lost' if lose_state else 'kept'}",
        marks=[] if (name, listings, moment) in ALWAYS_RUN and not lose_state else [pytest.mark.long],
    )
    for name in SCENARIOS
    for listings in LISTINGS
    for moment in Moment
    for lose_state in (False, True)
    # What was never launched is not listed late.
    if listings == "prompt" or (name not in _BRIEF and moment is not Moment.LOST)
]


def _quick(lag: float) -> FakeGCE:
    fake = FakeGCE(FakeSettings(boot_seconds=0.05, delete_seconds=0.05, operation_seconds=0.02, listing_lag=lag))
    for service in fake.world.services.values():
        service.draining_seconds = 0
    return fake


@pytest.fixture(scope="module")
def ancestor() -> Iterator[Forks]:
    with forks("tests.gcp.driving") as ancestor:
        yield ancestor


@pytest.fixture(autouse=True)
def _quiet() -> None:
    configure_logging(logging.CRITICAL)


@pytest.fixture
def opens(ancestor: Forks, tmp_path: Path) -> Opens[FakeGCE]:
    return opener(GCP, ancestor, _quick, tmp_path)


@pytest.mark.parametrize(("name", "listings", "moment", "lose_state"), CASES)
def test_trap_25_a_death_at_any_call_leaks_nothing_and_doubles_nothing(
    name: str, listings: str, moment: Moment, lose_state: bool, opens: Opens[FakeGCE]
) -> None:
    die_at_each_call(opens, SCENARIOS[name], LISTINGS[listings], moment, lose_state=lose_state)


@pytest.mark.parametrize(
    ("name", "write_", "when"),
    [
        pytest.param(
            name,
            write_,
            when,
            id=f"{name}-{when} {write_}",
            marks=[] if (name, write_, when) == ("creation", "forget", "before") else [pytest.mark.long],
        )
        for name in ("creation", "rollout", "named")
        for write_, when in STORE_WRITES
    ],
)
def test_a_death_between_two_writes_to_the_store_costs_nothing(
    name: str, write_: str, when: str, opens: Opens[FakeGCE]
) -> None:
    die_at_each_write(opens, SCENARIOS[name], LAG_SECONDS, write_, when)


def test_death_after_death_comes_to_an_end(opens: Opens[FakeGCE]) -> None:
    """Each process makes one change, and never learns that it did."""
    die_after_each_change(opens, SCENARIOS["creation"], LAG_SECONDS)


def test_a_provider_that_forgets_its_names_is_caught(opens: Opens[FakeGCE]) -> None:
    with opens(SCENARIOS["rollout"], forgetful=True) as world:
        assert world.die_at(1, Moment.IN_FLIGHT)
        world.go_on(late_request=True)
        with pytest.raises(AssertionError, match="serve after bulkInsert"):
            world.check()
