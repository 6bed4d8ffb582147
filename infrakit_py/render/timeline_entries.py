"""What happened in a rehearsal in as many lines as a person reads: alike moments told as one, long runs cut short."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from infrakit_py.engine.engine import Phase
from infrakit_py.engine.events import EventKind
from infrakit_py.engine.rehearse import Moment, Rehearsal
from infrakit_py.model.plan import Condition
from infrakit_py.model.quantities import format_duration
from infrakit_py.render.words import ImageNames, counted

_BEGUN: Final = {
    EventKind.CREATING.value: EventKind.CREATED.value,
    EventKind.DESTROYING.value: EventKind.DESTROYED.value,
    EventKind.PUBLISHING.value: EventKind.PUBLISHED.value,
}
"""What is begun, and what tells that it was done."""
_OF_MACHINES: Final = frozenset(
    [
        *(kind.value for kind in (EventKind.CREATED, EventKind.READY, EventKind.DRAINING, EventKind.DESTROYED)),
        *(kind.value for kind in (EventKind.TAGGED, EventKind.RETRY, Condition.UNHEALTHY, Condition.DEAD)),
    ]
)
"""Kinds of which each tells of one machine: `NAME` or `NAME: WHY`."""
_ROUTINE: Final = _OF_MACHINES | {EventKind.WAITING.value}
_NAMES: Final = 3
_LINES: Final = 40
_FIRST, _LAST = 6, 3
_FIRST_OF_ALL, _LAST_OF_ALL = 80, 20
_SHORT_SECONDS: Final = 20.0
_ENDS: Final = (
    EventKind.STOPPED.value,
    EventKind.FAILED.value,
    EventKind.BLOCKED.value,
    Phase.ROLLED_BACK.value,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """Moments of one kind and group that are told as one."""

    label: str
    group: str
    kind: str
    text: str
    count: int = 1
    times: int = 1
    until: str = ""

    @property
    def line(self) -> str:
        """Return the text, and how often and until when it comes again."""
        again = f", and {counted(self.times - 1, 'time')} more until {self.until}" if self.times > 1 else ""
        return self.text + again


def is_short(rehearsal: Rehearsal) -> bool:
    """Tell whether tenths of a second matter."""
    return rehearsal.seconds <= _SHORT_SECONDS


def instant(seconds: float, *, exact: bool = False, fine: bool = False) -> str:
    """Write when something happens: `+1m30s`; `exact` to the millisecond, `fine` to a tenth of a second."""
    if exact:
        return f"+{format_duration(seconds)}"
    if fine and round(seconds, 1) % 1:
        return f"+{round(seconds, 1):g}s"
    return f"+{format_duration(round(seconds))}"


def full_entries(rehearsal: Rehearsal, names: ImageNames) -> list[Entry]:
    """Return an entry for each moment."""
    return [
        Entry(instant(m.at_seconds, exact=True), m.group, m.kind, names.in_text(m.text)) for m in rehearsal.moments
    ]


def entries_in_short(rehearsal: Rehearsal, names: ImageNames) -> list[Entry]:
    """Return what happened in so many lines as a person reads: alike moments as one, the middle of long runs cut."""
    entries = _told_once(_merged(rehearsal, names))
    if len(entries) <= _LINES:
        return entries
    short: list[Entry] = []
    for routine, run in groupby(entries, key=lambda entry: entry.kind in _ROUTINE):
        alike = list(run)
        short += _cut(alike) if routine else alike
    if len(short) > _FIRST_OF_ALL + _LAST_OF_ALL:
        left_out = len(short) - _FIRST_OF_ALL - _LAST_OF_ALL
        rest = Entry("…", "", "", f"{counted(left_out, 'line')} more (--full shows all)")
        short = [*short[:_FIRST_OF_ALL], rest, *short[-_LAST_OF_ALL:]]
    return short


def _merged(rehearsal: Rehearsal, names: ImageNames) -> Iterator[Entry]:
    """Yield what happened at each instant, one entry a group and kind."""
    fine = is_short(rehearsal)
    moments = [(instant(m.at_seconds, fine=fine), m) for m in _done(_of_interest(rehearsal))]
    for label, at_once in groupby(moments, key=lambda pair: pair[0]):
        together: dict[tuple[str, str], list[str]] = {}
        for _, moment in at_once:
            texts = together.setdefault((moment.group, moment.kind), [])
            if moment.kind in _OF_MACHINES or not any(told in moment.text for told in texts):
                texts.append(names.in_text(moment.text))
        busy = {group for group, kind in together if kind != EventKind.WAITING}
        for (group, kind), texts in together.items():
            if kind in _OF_MACHINES:
                yield Entry(label, group, kind, _joined(texts), len(texts))
            elif kind != EventKind.WAITING or group not in busy:
                yield Entry(label, group, kind, "; ".join(texts))


def _of_interest(rehearsal: Rehearsal) -> Iterator[Moment]:
    """Leave out hints, that a group was converged to begin with, and an end that was told with fewer words before."""
    seen: set[str] = set()
    ended: dict[tuple[str, str], str] = {}
    for moment in rehearsal.moments:
        if moment.kind == EventKind.CONVERGED and moment.group not in seen:
            continue
        seen.add(moment.group)
        if moment.kind in _ENDS and moment.group in rehearsal.groups:
            hint = rehearsal.groups[moment.group].status.hint
            text = moment.text.removesuffix(f" ({hint})").removeprefix(f"{moment.kind} ")
            before = ended.setdefault((moment.group, moment.kind), text)
            if before is not text and before in text:
                continue
            yield replace(moment, text=text)
        else:
            yield moment


def _told_once(entries: Iterable[Entry]) -> list[Entry]:
    """Tell what comes again and again in a group as one entry."""
    told: list[Entry] = []
    latest: dict[str, int] = {}
    for entry in entries:
        at = latest.get(entry.group)
        before = told[at] if at is not None else None
        if at is not None and before is not None and (before.kind, before.text) == (entry.kind, entry.text):
            told[at] = replace(before, times=before.times + 1, until=entry.label)
        else:
            latest[entry.group] = len(told)
            told.append(entry)
    return told


def _done(moments: Iterable[Moment]) -> Iterator[Moment]:
    """Yield what was done, with the reason that was told when it was begun."""
    reasons: dict[tuple[str, str, str], str] = {}
    for moment in moments:
        if (done := _BEGUN.get(moment.kind)) is not None:
            name, _, reason = moment.text.partition(": ")
            reasons[moment.group, done, name] = reason
        elif reason := reasons.pop((moment.group, moment.kind, moment.text), ""):
            yield replace(moment, text=f"{moment.text}: {reason}")
        else:
            yield moment


def _joined(texts: Sequence[str]) -> str:
    """Write `web-1, web-2 and 5 more: WHY`, with the reason of the first."""
    named = [text.partition(": ") for text in texts]
    machines = list(dict.fromkeys(name for name, _, _ in named))
    shown = ", ".join(machines[:_NAMES]) + (f" and {len(machines) - _NAMES} more" if len(machines) > _NAMES else "")
    why = named[0][2]
    return f"{shown}: {why}" if why else shown


def _cut(run: Sequence[Entry]) -> Iterator[Entry]:
    """Yield the beginning and the end of a run, and between them how often what happened."""
    if len(run) <= _FIRST + _LAST + 1:
        yield from run
        return
    middle = run[_FIRST:-_LAST]
    yield from run[:_FIRST]
    for group in dict.fromkeys(entry.group for entry in middle):
        counts: Counter[str] = Counter()
        for entry in middle:
            if entry.group == group and entry.kind != EventKind.WAITING:
                counts[entry.kind] += entry.count
        text = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        if text:
            yield Entry(f"… {middle[-1].label}", group, "", text)
    yield from run[-_LAST:]
