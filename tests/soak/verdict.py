"""Whether what a controller took grew, by a line through the samples of its last life once that had warmed up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.soak.running import Sample

MOST_RSS_GROWTH: Final = 0.05
"""The share by which memory may grow by the fitted line, from the end of the warm-up to the end of the run."""
MOST_STATE_MIB: Final = 24.0
"""10,000 occurrences, 1,000 lines of history and 20 specs a cluster, 10 versions a group; and as much in the log."""
MOST_MORE_DESCRIPTORS: Final = 8
MOST_MORE_THREADS: Final = 80
"""Pools begin threads as they need them, up to what they may have."""
_WARM_UP: Final = 0.4
_WARM_UP_SECONDS: Final = 150.0
_LEAST_SAMPLES: Final = 60


@dataclass(frozen=True, slots=True)
class Line:
    """A line fitted by least squares. `slope` is for each second."""

    first: float
    last: float
    slope: float

    @property
    def growth(self) -> float:
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class Verdict:
    """A table for people, and what is wrong."""

    table: str
    failures: Sequence[str]


def judge(samples: Sequence[Sample], resting: Sequence[Sample], code: int, complaints: Sequence[str]) -> Verdict:
    """Compare the samples of the last life with the bounds. `resting`: those taken when nothing was left to do.

    Of memory nothing is said before it has warmed up: an allocator takes its time to find its size.
    """
    mine, resting = _of_the_last_life(samples), _of_the_last_life(resting)
    failures = [f"the controller said: {complaint}" for complaint in complaints[:5]]
    if code:
        failures.append(f"exit code {code}")
    if len(resting) < 2:
        return Verdict("", [*failures, f"{len(mine)} samples tell nothing: let it run for longer"])
    warm = _warm(mine)
    memory, bound = fitted(warm or mine, lambda sample: sample.rss_mib), f"line grows {MOST_RSS_GROWTH:.0%} at most"
    state = fitted(mine, lambda sample: sample.state_mib)
    first, last = resting[0], resting[-1]
    rows = [
        ("", "first", "last", "most", "by the line, an hour", "bound"),
        _row("memory, MiB", [s.rss_mib for s in warm or mine], memory, bound if warm else "too short to tell"),
        _row("state, MiB", [s.state_mib for s in mine], state, f"{MOST_STATE_MIB:g}"),
        _counted("state, files", [s.files for s in resting], "as many as in the beginning"),
        _counted("descriptors", [s.descriptors for s in resting], f"{MOST_MORE_DESCRIPTORS} more at most"),
        _counted("threads", [s.threads for s in resting], f"{MOST_MORE_THREADS} more at most"),
    ]
    if warm and memory.growth > MOST_RSS_GROWTH * memory.first:
        failures.append(f"memory grew from {memory.first:.1f} to {memory.last:.1f} MiB by the line")
    if max(s.state_mib for s in mine) > MOST_STATE_MIB:
        failures.append(f"the state takes {max(s.state_mib for s in mine):.1f} MiB")
    if last.files > first.files:
        failures.append(f"{first.files} files became {last.files}")
    if last.descriptors > first.descriptors + MOST_MORE_DESCRIPTORS:
        failures.append(f"{first.descriptors} descriptors became {last.descriptors}")
    if last.threads > first.threads + MOST_MORE_THREADS:
        failures.append(f"{first.threads} threads became {last.threads}")
    return Verdict(_table(rows), failures)


def fitted(samples: Sequence[Sample], value: Callable[[Sample], float]) -> Line:
    """Fit a line to a value over time."""
    times, values = [s.at for s in samples], [value(s) for s in samples]
    mean_time, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((t - mean_time) ** 2 for t in times)
    slope = sum((t - mean_time) * (v - mean) for t, v in zip(times, values, strict=True)) / spread if spread else 0.0
    return Line(mean + slope * (times[0] - mean_time), mean + slope * (times[-1] - mean_time), slope)


def _of_the_last_life(samples: Sequence[Sample]) -> Sequence[Sample]:
    return [sample for sample in samples if sample.life == samples[-1].life]


def _warm(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return the later ones, or none where there are too few of them to tell anything."""
    began, ended = samples[0].at, samples[-1].at
    warm = [s for s in samples if s.at >= began + max(_WARM_UP_SECONDS, _WARM_UP * (ended - began))]
    return warm if len(warm) >= _LEAST_SAMPLES else ()


def _row(what: str, values: Sequence[float], line: Line, bound: str) -> tuple[str, ...]:
    return (what, f"{values[0]:.1f}", f"{values[-1]:.1f}", f"{max(values):.1f}", f"{line.slope * 3600:+.1f}", bound)


def _counted(what: str, values: Sequence[int], bound: str) -> tuple[str, ...]:
    return (what, str(values[0]), str(values[-1]), str(max(values)), "", bound)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
