"""When a rollout may change something: days, local times and durations in a time zone. Pure but for the zone's rules.

A window opens at the first instant at which its zone's clocks show its day and time, or later: so after the gap, if
the clocks skip that time, and at the first of two, if they show it twice. From there on real seconds count.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from heapq import merge
from typing import Final
from zoneinfo import ZoneInfo

from infrakit_py.model.spec import Window

_DAY_SECONDS: Final = 86400
_FOR_EVER_SECONDS: Final = 60 * _DAY_SECONDS


def time_zone(name: str) -> tzinfo:
    """Return an IANA zone's rules. ValueError for one that is not known here; UTC always is."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, ValueError, OSError) as exc:  # a directory is an OSError in some releases of Python
        raise ValueError(f"there is no time zone {name!r}") from exc


def open_until(windows: Sequence[Window], now: float) -> float | None:
    """Return until when (Unix time in seconds) a window is open at `now`; None if none is. No window: for ever.

    Windows that overlap or touch are one. What stays open for 60 days is open for ever.
    """
    if not windows:
        return math.inf
    until = now
    for start, end in _openings(windows, now):
        if start > until:
            break
        until = max(until, end)
        if until - now > _FOR_EVER_SECONDS:
            return math.inf
    return until if until > now else None


def opens_at(windows: Sequence[Window], now: float) -> float:
    """Return the next instant (Unix time in seconds), not before `now`, at which a window is open."""
    if not windows:
        return now
    return next(max(start, now) for start, end in _openings(windows, now) if end > now)


def _openings(windows: Sequence[Window], now: float) -> Iterator[tuple[float, float]]:
    """Yield start and end of each opening that may reach `now` and of all later ones, by their start."""
    return merge(*(_openings_of(window, now) for window in windows))


def _openings_of(window: Window, now: float) -> Iterator[tuple[float, float]]:
    zone = time_zone(window.time_zone)
    at = time(*divmod(window.start_minutes, 60))
    for day in _days_from(_earliest_day(window, now, zone)):
        if not window.days or day.weekday() in window.days:
            start = _first_instant(datetime.combine(day, at), zone)
            yield start, start + window.duration_seconds


def _earliest_day(window: Window, now: float, zone: tzinfo) -> date:
    """Return a day before which no opening reaches `now`, even where the clocks once skipped a whole day."""
    days = math.ceil(window.duration_seconds / _DAY_SECONDS) + 1
    return datetime.fromtimestamp(now, zone).date() - timedelta(days=days)


def _days_from(day: date) -> Iterator[date]:
    while True:
        yield day
        day += timedelta(days=1)


def _first_instant(local: datetime, zone: tzinfo) -> float:
    """Return the first instant at which the zone's clocks show `local` or later."""
    first = local.replace(tzinfo=zone).timestamp()
    second = local.replace(tzinfo=zone, fold=1).timestamp()
    if first <= second:
        return first
    gap = range(int(second), int(first) + 1)  # PEP 495: a skipped time is read by the offsets of both sides
    return float(gap[bisect_left(gap, True, key=lambda instant: _shown(instant, zone) >= local)])


def _shown(instant: float, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(instant, zone).replace(tzinfo=None)
