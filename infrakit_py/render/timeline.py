"""The course of a rehearsal, to read and for programs: what happened when, and what it cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

import click

from infrakit_py.engine.converge import End
from infrakit_py.engine.engine import Phase
from infrakit_py.engine.events import EventKind
from infrakit_py.engine.rehearse import GroupCourse, Origin, Rehearsal, Script
from infrakit_py.model.plan import Condition
from infrakit_py.model.quantities import format_duration
from infrakit_py.model.spec import ClusterSpec, Image, Json
from infrakit_py.render.timeline_entries import entries_in_short, full_entries, instant, is_short
from infrakit_py.render.words import ImageNames
from infrakit_py.spi.provider import Pace

FAULT: Final = "fault"
STEP: Final = "step"
BAKING: Final = "baking"

_COLOURS: Final = {
    EventKind.CREATED.value: "green",
    EventKind.READY.value: "green",
    EventKind.CONVERGED.value: "green",
    EventKind.DESTROYED.value: "yellow",
    EventKind.RETRY.value: "yellow",
    EventKind.ROLLBACK.value: "yellow",
    Phase.ROLLED_BACK.value: "red",
    EventKind.BLOCKED.value: "red",
    EventKind.STOPPED.value: "red",
    EventKind.FAILED.value: "red",
    Condition.UNHEALTHY.value: "red",
    Condition.DEAD.value: "red",
    FAULT: "magenta",
}


@dataclass(frozen=True, slots=True)
class Timeline:
    """A rehearsal with all that it was made from. `paces` and `limited` are the providers', `images` may be named."""

    spec: ClusterSpec
    origin: str
    seed: int
    script: Script
    paces: Mapping[str, Pace]
    limited: frozenset[str]
    began: float
    notes: Sequence[str]
    images: Sequence[Image]
    rehearsal: Rehearsal

    @property
    def converged(self) -> bool:
        return self.rehearsal.end is End.CONVERGED

    @property
    def is_short(self) -> bool:
        """Tell whether tenths of a second matter."""
        return is_short(self.rehearsal)

    @property
    def names(self) -> ImageNames:
        return ImageNames(self.images)


def timeline_text(timeline: Timeline, *, full: bool = False) -> str:
    """Write a rehearsal: what was assumed, what happened when, and how it ended. `full` leaves nothing out."""
    lines = [*_header(timeline), ""]
    entries = (full_entries if full else entries_in_short)(timeline.rehearsal, timeline.names)
    width = max((len(entry.group) for entry in entries), default=0)
    kinds = max((len(entry.kind) for entry in entries), default=0)
    times = max((len(entry.label) for entry in entries), default=0)
    for label, together in groupby(entries, key=lambda entry: entry.label):
        told = label
        for entry in together:
            kind = click.style(f"{entry.kind:<{kinds}}", fg=_COLOURS.get(entry.kind))
            lines.append(f"  {told:>{times}}  {entry.group:<{width}}  {kind}  {entry.line}".rstrip())
            told = ""
    if not entries:
        lines.append("  nothing happens")
    for course in timeline.rehearsal.groups.values():
        lines += ["", *_group_lines(timeline, course)]
    return "\n".join([*lines, "", ending(timeline)])


def timeline_json(timeline: Timeline) -> dict[str, Json]:
    """Return a rehearsal for programs. Times are seconds from its beginning."""
    names, rehearsal = timeline.names, timeline.rehearsal
    return {
        "cluster": timeline.spec.name,
        "file": timeline.spec.source,
        "from": timeline.origin,
        "seed": timeline.seed,
        "assumptions": {name: _assumed_json(timeline, name, pace) for name, pace in timeline.paces.items()},
        "faults": [fault.written for fault in timeline.script.faults],
        "notes": list(timeline.notes),
        "events": [
            {"at": m.at_seconds, "event": m.kind, "group": m.group, "text": names.in_text(m.text)}
            for m in rehearsal.moments
        ],
        "samples": [
            {"at": sample.at_seconds, "group": course.group, **sample.counts._asdict()}
            for course in rehearsal.groups.values()
            for sample in course.samples
        ],
        "summary": {
            "end": rehearsal.end.value,
            "converged": timeline.converged,
            "seconds": rehearsal.seconds,
            "groups": {course.group: _summary_json(course, names) for course in rehearsal.groups.values()},
        },
    }


def ending(timeline: Timeline) -> str:
    """Say how it ended, and after how long."""
    rehearsal = timeline.rehearsal
    phases = {course.status.phase for course in rehearsal.groups.values()} - {Phase.CONVERGED}
    word = rehearsal.end.value
    if rehearsal.end is End.FAILED and len(phases) == 1:
        word = phases.pop().value
    colour = "green" if timeline.converged else "red"
    nothing = "" if rehearsal.seconds or rehearsal.moments else ", with nothing to do"
    return click.style(
        f"{timeline.spec.name}: {word} after {_lasting(timeline, rehearsal.seconds)}{nothing}", fg=colour
    )


def beginning(timeline: Timeline) -> str:
    """Say what it began with."""
    words: dict[str, str] = {
        Origin.OBSERVED: "what is there now",
        Origin.NOTHING: "no machines",
        Origin.CONVERGED: "all as declared",
    }
    return f"beginning with {words.get(timeline.origin) or f'all as {timeline.origin} declares'}"


def assumptions(timeline: Timeline) -> Iterator[tuple[str, str]]:
    """Yield what was assumed and made to happen, each after a word that says which."""
    for name, pace in timeline.paces.items():
        plugin = timeline.spec.providers[name].plugin
        limits = "calls limited as EC2's are" if name in timeline.limited else "no limits on calls"
        gone = f"gone after {format_duration(pace.gone_seconds)}" if pace.gone_seconds else "gone at once"
        boot = format_duration(pace.boot_seconds)
        yield "assumed", f"{name} ({plugin}): machines boot in about {boot} and are {gone}; {limits}"
    groups = timeline.spec.groups.values()
    if any(group.health.asks for group in groups):
        yield "assumed", "a machine that runs passes its health check, unless a fault says otherwise"
    if any(group.rollout.windows for group in groups):
        at = datetime.fromtimestamp(timeline.began, UTC).strftime("%A, %Y-%m-%d %H:%M")
        yield "assumed", f"it begins on {at} UTC"
    for fault in timeline.script.faults:
        yield "fault", fault.written + ("" if fault.after_seconds else " from the beginning")
    for note in timeline.notes:
        yield "note", note


def machines_line(course: GroupCourse, *, fine: bool) -> str:
    """Say how many machines were ready at least, and there at most, beside what the group allows.

    `fine`: times to a tenth of a second.
    """
    bounds, lowest = course.bounds, course.lowest_ready
    if course.floor_at is None:
        ready = click.style(f"never {bounds.floor} ready, which is its floor", fg="red")
    else:
        since = f" from {instant(course.floor_at, fine=fine)} on" if course.floor_at else ""
        ready = f"lowest ready {lowest}{since} (floor {bounds.floor})"
        if lowest < bounds.floor:
            ready = click.style(ready, fg="yellow")
    return f"{ready}, most machines {course.most_machines} (size {bounds.count}, surge {bounds.surge})"


def _header(timeline: Timeline) -> Iterator[str]:
    title = click.style(f"Rehearsal of cluster {timeline.spec.name}", bold=True)
    yield f"{title} ({timeline.spec.source}), {beginning(timeline)}, seed {timeline.seed}"
    for word, text in assumptions(timeline):
        yield f"  {word:<8} {text}"


def _group_lines(timeline: Timeline, course: GroupCourse) -> Iterator[str]:
    status = course.status
    colour = "green" if status.phase is Phase.CONVERGED else "red"
    after = f" after {_lasting(timeline, course.seconds)}" if course.seconds is not None else ""
    why = f": {timeline.names.in_text(status.reason)}" if status.reason else ""
    yield f"Group {click.style(course.group, bold=True)}: {click.style(status.phase.value, fg=colour)}{after}{why}"
    if status.hint and status.phase is not Phase.CONVERGED:
        yield f"  hint: {status.hint}"
    yield f"  {machines_line(course, fine=timeline.is_short)}"


def _assumed_json(timeline: Timeline, name: str, pace: Pace) -> dict[str, Json]:
    return {
        "plugin": timeline.spec.providers[name].plugin,
        "boot_seconds": pace.boot_seconds,
        "gone_seconds": pace.gone_seconds,
        "listed_seconds": pace.listed_seconds,
        "call_seconds": pace.call_seconds,
        "limited": name in timeline.limited,
    }


def _summary_json(course: GroupCourse, names: ImageNames) -> dict[str, Json]:
    return {
        "phase": course.status.phase.value,
        "reason": names.in_text(course.status.reason),
        "hint": course.status.hint,
        "seconds": course.seconds,
        "size": course.bounds.count,
        "surge": course.bounds.surge,
        "floor": course.bounds.floor,
        "floor_at": course.floor_at,
        "lowest_ready": course.lowest_ready,
        "most_machines": course.most_machines,
    }


def _lasting(timeline: Timeline, seconds: float) -> str:
    return instant(seconds, fine=timeline.is_short)[1:]
