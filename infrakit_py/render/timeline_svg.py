"""The course of a rehearsal as a picture: for each group how many machines there were of which kind, over time.

Written by hand, for browsers of today, light or dark. The picture says nothing by colour alone.
"""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import Final, NamedTuple

import click

from infrakit_py.engine.engine import Phase
from infrakit_py.engine.events import EventKind
from infrakit_py.engine.rehearse import Counts, GroupCourse, Moment, Sample
from infrakit_py.model.quantities import format_duration
from infrakit_py.render.timeline import BAKING, FAULT, STEP, Timeline, beginning, ending, machines_line
from infrakit_py.render.timeline_entries import instant

WIDTH: Final = 960
_LEFT, _RIGHT = 56, 148
_TOP, _PLOT, _BOTTOM = 88, 168, 44
_HEADER: Final = 92
_PANEL: Final = _TOP + _PLOT + _BOTTOM
_TICKS: Final = 9
_APART: Final = 6
"""Names of marks are so far from each other; where there is no room for that, one is left out."""
_MARK_ROW, _FAULT_ROW, _ALARM_ROW = 20, 34, 48
_STEPS: Final = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400
)  # fmt: skip

LAYERS: Final = (
    ("ready_old", "ready, old version"),
    ("ready_new", "ready, new version"),
    ("starting", "starting"),
    ("unhealthy", "unhealthy"),
)
"""From the axis upwards: fields of `Counts`, and what people call them."""
_MARKS: Final = {
    STEP: "step",
    BAKING: "bake",
    "paused": "paused",
    "outside its windows": "window",
    FAULT: "fault",
    EventKind.ROLLBACK.value: "rollback",
    EventKind.STOPPED.value: "stopped",
    EventKind.BLOCKED.value: "blocked",
    EventKind.FAILED.value: "failed",
    EventKind.CONVERGED.value: "converged",
    Phase.ROLLED_BACK.value: "rolled back",
}
_BAD: Final = frozenset(["rollback", "stopped", "blocked", "failed", "rolled back"])

STYLE: Final = """
.tl text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; font-size: 12px }
.tl-paper { fill: #ffffff } .tl-ink { fill: #1f2328 } .tl-dim { fill: #59636e }
.tl text.tl-title { font-size: 17px; font-weight: 600 } .tl .tl-group { font-size: 14px; font-weight: 600 }
.tl-good { fill: #1a7f37 } .tl-bad { fill: #cf222e }
.tl-grid { stroke: #d1d9e0; stroke-width: 1 } .tl-axis { stroke: #59636e; stroke-width: 1 }
.tl-ready_old { fill: #6e8fb8 } .tl-ready_new { fill: #2da44e } .tl-starting { fill: #e3b341 }
.tl-unhealthy { fill: #d1495b } .tl-hatch { stroke: #ffffff; stroke-width: 2; stroke-opacity: .55 }
.tl-edge { stroke: #ffffff; stroke-width: .75 }
.tl-floor { stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 7 4; fill: none }
.tl-limit { stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 1.5 3.5; fill: none }
.tl-mark { stroke: #59636e; stroke-width: 1; stroke-dasharray: 3 3 } .tl-alarm { stroke: #cf222e; stroke-width: 1.5 }
.tl-fault { stroke: #8250df; stroke-width: 1.5 } .tl-fault-text { fill: #8250df }
@media (prefers-color-scheme: dark) {
.tl-paper { fill: #0d1117 } .tl-ink { fill: #e6edf3 } .tl-dim { fill: #9198a1 }
.tl-good { fill: #3fb950 } .tl-bad { fill: #ff7b72 }
.tl-grid { stroke: #2a313c } .tl-axis { stroke: #9198a1 }
.tl-ready_old { fill: #5b7ba5 } .tl-ready_new { fill: #2f9e4f } .tl-starting { fill: #bb8009 }
.tl-unhealthy { fill: #da3633 } .tl-hatch { stroke: #0d1117 } .tl-edge { stroke: #0d1117 }
.tl-floor, .tl-limit { stroke: #e6edf3 } .tl-mark { stroke: #9198a1 } .tl-alarm { stroke: #ff7b72 }
.tl-fault { stroke: #b083f0 } .tl-fault-text { fill: #b083f0 }
}
"""


class _Scale(NamedTuple):
    """Where a moment and a number of machines are drawn."""

    seconds: float
    machines: int
    top: float

    def x(self, at_seconds: float) -> float:
        share = min(1.0, at_seconds / self.seconds)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def y(self, machines: float) -> float:
        return self.top + _PLOT * (1 - machines / self.machines)


def picture(timelines: Sequence[Timeline]) -> str:
    """Return one SVG document with all clusters below each other."""
    height = sum(_height(timeline) for timeline in timelines)
    title = "Rehearsal of " + ", ".join(f"cluster {timeline.spec.name}" for timeline in timelines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tl" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-labelledby="tl-title tl-desc">',
        f'<title id="tl-title">{safe(title)}</title>',
        f'<desc id="tl-desc">{safe(" ".join(_description(timeline) for timeline in timelines))}</desc>',
        f"<style>{STYLE}</style>",
        '<defs><pattern id="tl-hatching" width="7" height="7" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><line class="tl-hatch" x1="0" y1="0" x2="0" y2="7"/></pattern></defs>',
        f'<rect class="tl-paper" width="{WIDTH}" height="{height}"/>',
    ]
    top = 0.0
    for timeline in timelines:
        parts += _cluster(timeline, top)
        top += _height(timeline)
    return "\n".join([*parts, "</svg>", ""])


def _height(timeline: Timeline) -> int:
    return _HEADER + _PANEL * len(timeline.rehearsal.groups)


def _description(timeline: Timeline) -> str:
    groups = [
        f"Group {name}: {course.status.phase.value}, {click.unstyle(machines_line(course, fine=timeline.is_short))}."
        for name, course in timeline.rehearsal.groups.items()
    ]
    return f"{beginning(timeline).capitalize()}. {' '.join(groups)} {click.unstyle(ending(timeline))}."


def _cluster(timeline: Timeline, top: float) -> Iterator[str]:
    good = "tl-good" if timeline.converged else "tl-bad"
    yield _text(_LEFT, top + 28, f"Rehearsal of cluster {timeline.spec.name}", "tl-ink tl-title")
    yield _text(_LEFT, top + 48, click.unstyle(ending(timeline)), good)
    yield _text(WIDTH - 16, top + 28, f"{beginning(timeline)}; seed {timeline.seed}", "tl-dim", anchor="end")
    yield from _legend(top + 72)
    for number, course in enumerate(timeline.rehearsal.groups.values()):
        yield from _panel(timeline, course, top + _HEADER + _PANEL * number)


def _legend(y: float) -> Iterator[str]:
    x = float(_LEFT)
    for name, label in LAYERS:
        yield _rectangle(x, y - 10, 14, 11, f"tl-{name}")
        if name == "unhealthy":
            yield _rectangle(x, y - 10, 14, 11, "", fill="url(#tl-hatching)")
        yield _text(x + 20, y, label, "tl-ink")
        x += 34 + 6.4 * len(label)
    for name, label in (("tl-floor", "floor of ready ones"), ("tl-limit", "most there may be (size and surge)")):
        yield _line(x, y - 4, x + 26, y - 4, name)
        yield _text(x + 32, y, label, "tl-ink")
        x += 48 + 6.2 * len(label)


def _panel(timeline: Timeline, course: GroupCourse, top: float) -> Iterator[str]:
    bounds, seconds = course.bounds, max(timeline.rehearsal.seconds, 0.1)
    highest = max([1, bounds.count + bounds.surge, *(_shown(s.counts) for s in course.samples)])
    scale = _Scale(seconds, highest, top + _TOP)
    yield f"<g><title>{safe(f'Group {course.group}: {course.status.phase.value}')}</title>"
    good = "tl-good" if course.status.phase is Phase.CONVERGED else "tl-bad"
    word = f'<tspan class="{good}" dx="10">{safe(course.status.phase.value)}</tspan>'
    name = f'<tspan class="tl-ink tl-group">Group {safe(course.group)}</tspan>'
    yield f'<text x="{_LEFT}" y="{_number(top + 20)}">{name}{word}</text>'
    yield _text(
        WIDTH - 16, top + 20, click.unstyle(machines_line(course, fine=timeline.is_short)), "tl-dim", anchor="end"
    )
    yield from _axes(scale)
    yield from _areas(course.samples, scale)
    yield from _limits(course, scale)
    yield from _marks(timeline, course, scale)
    yield "</g>"


def _axes(scale: _Scale) -> Iterator[str]:
    for machines in _whole_ticks(scale.machines):
        yield _line(_LEFT, scale.y(machines), WIDTH - _RIGHT, scale.y(machines), "tl-grid")
        yield _text(_LEFT - 8, scale.y(machines) + 4, str(machines), "tl-dim", anchor="end")
    bottom = scale.y(0)
    for at in _time_ticks(scale.seconds):
        yield _line(scale.x(at), bottom, scale.x(at), bottom + 5, "tl-axis")
        yield _text(scale.x(at), bottom + 19, format_duration(at), "tl-dim", anchor="middle")
    yield _line(_LEFT, bottom, WIDTH - _RIGHT, bottom, "tl-axis")
    middle = scale.y(scale.machines / 2)
    yield _text(16, middle, "machines", "tl-dim", anchor="middle", turned=True)
    yield _text(WIDTH - _RIGHT + 12, bottom + 19, "after the beginning", "tl-dim")


def _areas(samples: Sequence[Sample], scale: _Scale) -> Iterator[str]:
    below = [0] * len(samples)
    for name, label in LAYERS:
        above = [low + int(getattr(s.counts, name)) for low, s in zip(below, samples, strict=True)]
        if above != below:
            path = _area(samples, below, above, scale)
            yield f'<path class="tl-{name} tl-edge" d="{path}"><title>{label}</title></path>'
            if name == "unhealthy":
                yield f'<path fill="url(#tl-hatching)" d="{path}"/>'
        below = above


def _area(samples: Sequence[Sample], below: Sequence[int], above: Sequence[int], scale: _Scale) -> str:
    """Return the path around a layer: along its upper edge and back along its lower one, in steps."""
    ends = [*(later.at_seconds for _, later in pairwise(samples)), scale.seconds]
    upper, lower = [], []
    for sample, end, low, high in zip(samples, ends, below, above, strict=True):
        left, right = scale.x(sample.at_seconds), scale.x(end)
        upper += [(left, scale.y(high)), (right, scale.y(high))]
        lower += [(left, scale.y(low)), (right, scale.y(low))]
    points = [*upper, *reversed(lower)]
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points) + "Z"


def _limits(course: GroupCourse, scale: _Scale) -> Iterator[str]:
    bounds, right = course.bounds, WIDTH - _RIGHT
    most = bounds.count + bounds.surge
    floor_y, most_y = scale.y(bounds.floor), scale.y(most)
    yield _line(_LEFT, floor_y, right, floor_y, "tl-floor")
    yield _line(_LEFT, most_y, right, most_y, "tl-limit")
    apart = max(0.0, 14 - (floor_y - most_y))
    yield _text(right + 12, floor_y + 4 + apart / 2, f"floor {bounds.floor}", "tl-ink")
    yield _text(right + 12, most_y + 4 - apart / 2, f"at most {bounds.count} + {bounds.surge}", "tl-ink")


def _marks(timeline: Timeline, course: GroupCourse, scale: _Scale) -> Iterator[str]:
    """Yield a line for each step, bake, fault and end, with its name where there is room for that."""
    free = {_MARK_ROW: 0.0, _FAULT_ROW: 0.0, _ALARM_ROW: 0.0}
    for moment in _marking(timeline.rehearsal.moments, course.group):
        word = _MARKS[moment.kind]
        look = _looks(moment)
        x = scale.x(moment.at_seconds)
        told = f"{instant(moment.at_seconds, exact=True)} {word}: {timeline.names.in_text(moment.text)}"
        yield f"<g><title>{safe(told)}</title>"
        yield _line(x, scale.top - 8, x, scale.y(0), look.line)
        if look.row != _MARK_ROW:
            yield f'<path class="{look.text}" d="M{_number(x - 5)} {_number(scale.top - 16)}h10l-5 8z"/>'
        label = f"step {moment.text.partition(':')[0]}" if moment.kind == STEP else word
        room = 7 * len(label)
        end = x > WIDTH - _RIGHT - room
        left = x - room if end else max(x - 4, _LEFT)
        if left >= free[look.row]:
            anchor = "end" if end else "start"
            yield _text(x if end else left, scale.top - look.row, label, look.text, anchor=anchor)
            free[look.row] = left + room + _APART
        yield "</g>"


class _Look(NamedTuple):
    """How a mark is drawn: the style of its line, that of its name, and how high above the picture that stands."""

    line: str
    text: str
    row: int


def _looks(moment: Moment) -> _Look:
    if moment.kind == FAULT:
        return _Look("tl-fault", "tl-fault-text", _FAULT_ROW)
    if _MARKS[moment.kind] in _BAD:
        return _Look("tl-alarm", "tl-bad", _ALARM_ROW)
    return _Look("tl-mark", "tl-dim", _MARK_ROW)


def _marking(moments: Sequence[Moment], group: str) -> list[Moment]:
    """Return the moments that a group's picture marks; a fault that strikes everywhere is in all of them."""
    groups = (group, "-")
    return [m for m in moments if m.kind in _MARKS and m.group in groups and (m.kind != "converged" or m.at_seconds)]


def _shown(counts: Counts) -> int:
    return sum(int(getattr(counts, name)) for name, _ in LAYERS)


def _whole_ticks(highest: int) -> list[int]:
    step = next(s * 10**power for power in range(9) for s in (1, 2, 5) if highest <= 5 * s * 10**power)
    return list(range(0, highest + 1, step))


def _time_ticks(seconds: float) -> list[float]:
    step = next((s for s in _STEPS if seconds <= s * _TICKS), seconds / _TICKS)
    return [round(number * step, 3) for number in range(int(seconds / step + 1e-9) + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    at = " ".join(f'{key}="{_number(v)}"' for key, v in (("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)))
    return f'<line class="{style}" {at}/>'


def _rectangle(x: float, y: float, width: float, height: float, style: str, fill: str = "") -> str:
    look = f'fill="{fill}"' if fill else f'class="{style}"'
    return f'<rect {look} x="{_number(x)}" y="{_number(y)}" width="{width}" height="{height}"/>'


def _text(x: float, y: float, text: str, style: str, *, anchor: str = "start", turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {_number(x)} {_number(y)})"' if turned else ""
    return f'<text class="{style}" x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}"{turn}>{safe(text)}</text>'


def safe(text: str) -> str:
    """Escape a text, and leave out what no XML document may hold."""
    return escape("".join(c for c in text if c.isprintable() or c in "\t\n"))


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
