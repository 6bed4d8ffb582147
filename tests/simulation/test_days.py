"""A controller for some hours in the usual test run, and for whole days in the long one."""

from random import Random

import pytest

from infrakit_py.engine.agenda import Agenda
from tests.simulation.day import Day, simulate_day
from tests.simulation.weight import weigh

HOURS = 5.0
DAYS = 6


def test_some_hours_go_by_and_nothing_is_missed_or_piles_up() -> None:
    day = Day(3, HOURS)
    report = day.run()
    assert report.violation == ""
    assert report.virtual_seconds >= HOURS * 3600
    assert day.changes
    assert day.deaths
    assert len(day.loads) >= 3


@pytest.mark.long
@pytest.mark.parametrize("seed", range(DAYS))
def test_a_day_goes_by_and_nothing_is_missed_or_piles_up(seed: int) -> None:
    assert simulate_day(seed, 24.0).violation == ""


def test_the_same_day_goes_by_in_the_same_way() -> None:
    assert simulate_day(5, 2.0).digest == simulate_day(5, 2.0).digest


def test_what_is_kept_is_weighed_wherever_it_is_kept() -> None:
    kept: dict[str, list[object]] = {"some": []}
    before = sum(weigh([kept]).values())
    kept["some"] += [float(number) for number in range(100)]
    assert sum(weigh([kept]).values()) == before + 100


def test_an_agenda_that_is_changed_all_the_time_does_not_grow() -> None:
    agenda, chance = Agenda([f"g{number}" for number in range(50)]), Random(1)
    for _ in range(20_000):
        agenda.put(f"g{chance.randrange(50)}", chance.uniform(0.0, 1e6))
    assert sum(weigh([agenda]).values()) < 2_000
