"""What is called growth, and, in the long run, a controller for two minutes."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.soak.__main__ import main
from tests.soak.running import Sample
from tests.soak.verdict import fitted, judge

FLAT = Sample(at=0.0, life=2, rss_mib=80.0, descriptors=24, threads=100, files=8, state_mib=5.0)


def samples(each_second: float = 0.0, **last: float) -> Sequence[Sample]:
    """Return ten minutes of a second life after one of a minute; it grows by so many MiB a second."""
    before = [replace(FLAT, at=float(at), life=1, rss_mib=500.0) for at in range(60)]
    after = [replace(FLAT, at=float(at), rss_mib=80.0 + (at - 60) * each_second) for at in range(60, 660)]
    after[-1] = replace(after[-1], **last)  # type: ignore[arg-type]
    return [*before, *after]


def failures(taken: Sequence[Sample], code: int = 0) -> str:
    return " ".join(judge(taken, [*taken[::30], taken[-1]], code, []).failures)


def test_what_stays_as_it_is_is_no_growth_whatever_a_life_before_it_took() -> None:
    assert failures(samples()) == ""


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        (samples(each_second=0.1), "memory grew"),
        (samples(files=9), "8 files became 9"),
        (samples(descriptors=50), "24 descriptors became 50"),
        (samples(threads=200), "100 threads became 200"),
        (samples(state_mib=100.0), "the state takes 100.0 MiB"),
    ],
    ids=["memory", "files", "descriptors", "threads", "state"],
)
def test_what_grows_is_said(taken: Sequence[Sample], said: str) -> None:
    assert said in failures(taken)


def test_of_memory_nothing_is_said_before_it_has_warmed_up() -> None:
    warming = samples(each_second=0.5)[: 60 + 120]
    verdict = judge(warming, warming[::30], 0, [])
    assert verdict.failures == []
    assert "too short to tell" in verdict.table


def test_one_look_at_the_last_life_tells_nothing() -> None:
    begun = samples()[:70]
    assert "tell nothing" in " ".join(judge(begun, begun[::65], 0, []).failures)


def test_an_exit_code_is_a_failure() -> None:
    assert "exit code 1" in failures(samples(), code=1)


def test_a_line_is_fitted_through_all_samples() -> None:
    line = fitted(samples(each_second=0.5)[60:], lambda sample: sample.rss_mib)
    assert line.slope == pytest.approx(0.5)
    assert line.first == pytest.approx(80.0)
    assert line.last == pytest.approx(379.5)


@pytest.mark.long
def test_a_controller_misses_and_gathers_nothing_in_two_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--minutes", "2"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"\d+ changes and \d+ deaths, each time as declared .* 2 lives", told)
