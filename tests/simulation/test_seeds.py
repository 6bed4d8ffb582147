"""Seeds of the simulation in the usual test run: some that are new to every bug, and those that once found one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.simulation import simulate

SEEDS = 300
USUAL = 90  # those below run always, the others in the long run
CHUNK = 30
SAMPLE = range(1000, 1006)
FOUND_A_BUG = {
    155: "machines of unknown health were destroyed below the floor after a restart",
    999: "a dead named machine and a missing name waited for each other",
    1492: "an expired machine held its own step for ever",
    1575: "what was never answered was asked for again beyond surge",
    2862: "a failed machine below the limit held its step for ever",
    4222: "a failed machine below the limit kept blue_green from switching",
    5422: "what was never answered was asked for again beyond the room of a smaller group",
    7280: "a machine that a waiting group healed was not counted in the cluster's budget",
    7469: "a waiting group could not fill a place that it had emptied itself",
    7941: "a waiting group could not replace broken machines of an old version",
}


@pytest.mark.parametrize(
    "first",
    [pytest.param(first, marks=[pytest.mark.long] if first >= USUAL else []) for first in range(0, SEEDS, CHUNK)],
)
def test_no_invariant_breaks(first: int) -> None:
    reports = [simulate(seed) for seed in range(first, first + CHUNK)]
    assert [f"seed {report.seed}: {report.violation}" for report in reports if report.violation] == []


@pytest.mark.parametrize("seed", FOUND_A_BUG, ids=FOUND_A_BUG.values())
def test_a_seed_that_found_a_bug_finds_it_no_more(seed: int) -> None:
    assert simulate(seed).violation == ""


@pytest.mark.parametrize("seed", SAMPLE)
def test_the_same_seed_gives_the_same_run(seed: int) -> None:
    first, second = simulate(seed), simulate(seed)
    assert first.lines == second.lines
    assert first.digest == second.digest


def test_another_process_gives_the_same_run() -> None:
    """Sets and dicts of another process are hashed otherwise."""
    for seed in SAMPLE[:2]:
        command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed)]
        environment = {**os.environ, "PYTHONHASHSEED": "1234"}
        root = Path(__file__).parents[2]
        told = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True).stdout
        assert f"digest {simulate(seed).digest[:12]}" in told


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[one.name for one in MUTATIONS])
def test_each_deliberate_bug_still_has_its_place(mutation: Mutation) -> None:
    assert (Path(__file__).parents[2] / mutation.file).read_text().count(mutation.old) == 1
