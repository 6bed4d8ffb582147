"""Rollout windows: where clocks are put forward and back, and always the same as looking at the clock each minute."""

import contextlib
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infrakit_py.model.spec import Window
from infrakit_py.model.windows import open_until, opens_at, time_zone

HOUR = 3600
DAY = 24 * HOUR
MON, TUE, WED, THU, FRI, SAT, SUN = range(7)
NIGHTLY = Window(22 * 60, 4 * HOUR, (MON, TUE, WED, THU), "Europe/Berlin")


def utc(text: str) -> float:
    """Return the Unix time of `2026-03-29 01:00` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def daily(start: str, hours: float, zone: str) -> Window:
    hour, minute = start.split(":")
    return Window(int(hour) * 60 + int(minute), hours * HOUR, (), zone)


def test_without_windows_it_is_open_for_ever() -> None:
    assert (open_until([], 12.5), opens_at([], 12.5)) == (math.inf, 12.5)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-01-12 20:59:59", None),
        ("2026-01-12 21:00:00", "2026-01-13 01:00:00"),
        ("2026-01-13 00:59:59", "2026-01-13 01:00:00"),
        ("2026-01-13 01:00:00", None),
        ("2026-01-16 00:30:00", "2026-01-16 01:00:00"),
        ("2026-01-16 21:00:00", None),
    ],
    ids=["just before", "at its start", "just before its end", "at its end", "after midnight", "on another day"],
)
def test_a_window_is_open_from_its_start_to_just_before_its_end(now: str, until: str | None) -> None:
    assert open_until([NIGHTLY], utc(now)) == (None if until is None else utc(until))


def test_the_next_opening_is_on_the_next_of_its_days() -> None:
    assert opens_at([NIGHTLY], utc("2026-01-16 12:00")) == utc("2026-01-19 21:00")


def test_while_it_is_open_the_next_opening_is_now() -> None:
    assert opens_at([NIGHTLY], utc("2026-01-12 23:30")) == utc("2026-01-12 23:30")


@pytest.mark.parametrize(
    ("window", "opens", "closes"),
    [
        (daily("02:30", 2, "Europe/Berlin"), "2026-03-29 01:00", "2026-03-29 03:00"),
        (daily("02:00", 2, "Europe/Berlin"), "2026-03-29 01:00", "2026-03-29 03:00"),
        (daily("01:59", 2, "Europe/Berlin"), "2026-03-29 00:59", "2026-03-29 02:59"),
        (daily("03:00", 2, "Europe/Berlin"), "2026-03-29 01:00", "2026-03-29 03:00"),
        (daily("02:30", 2, "America/New_York"), "2026-03-08 07:00", "2026-03-08 09:00"),
        (daily("02:15", 2, "Australia/Lord_Howe"), "2026-10-03 15:30", "2026-10-03 17:30"),
        (daily("12:00", 2, "Pacific/Apia"), "2011-12-30 10:00", "2011-12-30 12:00"),
        (daily("02:30", 2, "Europe/Berlin"), "2060-03-28 01:00", "2060-03-28 03:00"),
    ],
    ids=[
        "in Berlin's gap", "at its first minute", "just before it", "just after it", "in New York's", "half an hour",
        "a whole day", "by rule alone",
    ],
)  # fmt: skip
def test_a_skipped_start_is_the_first_instant_after_the_gap(window: Window, opens: str, closes: str) -> None:
    assert opens_at([window], utc(opens) - 4 * HOUR) == utc(opens)
    assert open_until([window], utc(opens)) == utc(closes)


@pytest.mark.parametrize(
    ("window", "opens", "closes"),
    [
        (daily("02:30", 1, "Europe/Berlin"), "2026-10-25 00:30", "2026-10-25 01:30"),
        (daily("03:00", 1, "Europe/Berlin"), "2026-10-25 02:00", "2026-10-25 03:00"),
        (daily("01:30", 1, "America/New_York"), "2026-11-01 05:30", "2026-11-01 06:30"),
        (daily("01:45", 1, "Australia/Lord_Howe"), "2026-04-04 14:45", "2026-04-04 15:45"),
    ],
    ids=["in Berlin", "just after", "in New York", "half an hour"],
)
def test_a_repeated_start_is_its_first_occurrence_only(window: Window, opens: str, closes: str) -> None:
    assert opens_at([window], utc(opens) - 4 * HOUR) == utc(opens)
    assert open_until([window], utc(opens)) == utc(closes)
    assert open_until([window], utc(closes)) is None


@pytest.mark.parametrize(
    ("window", "opens"),
    [
        (daily("22:00", 8, "Europe/Berlin"), "2026-03-28 21:00"),
        (daily("22:00", 8, "Europe/Berlin"), "2026-10-24 20:00"),
        (daily("22:00", 8, "America/New_York"), "2026-03-08 03:00"),
        (daily("22:00", 8, "Australia/Lord_Howe"), "2026-10-03 11:30"),
    ],
    ids=["shorter night", "longer night", "New York", "Lord Howe"],
)
def test_a_duration_is_real_time_across_a_change_of_the_clocks(window: Window, opens: str) -> None:
    assert open_until([window], utc(opens)) == utc(opens) + 8 * HOUR


def test_windows_that_touch_or_overlap_are_one() -> None:
    evening, night, dawn = daily("20:00", 2, "UTC"), daily("22:00", 4, "UTC"), daily("01:00", 6, "UTC")
    assert open_until([dawn, evening, night], utc("2026-01-12 20:00")) == utc("2026-01-13 07:00")


def test_windows_that_do_not_touch_are_two() -> None:
    evening, night = daily("20:00", 1.99, "UTC"), daily("22:00", 4, "UTC")
    assert open_until([evening, night], utc("2026-01-12 20:00")) == utc("2026-01-12 20:00") + 1.99 * HOUR


@pytest.mark.parametrize(
    "windows",
    [
        [daily("00:00", 24, "UTC")],
        [daily("00:00", 7 * 24, "Europe/Berlin")] * 3,
        [daily("06:00", 12, "UTC"), daily("18:00", 12, "UTC")],
        [Window(0, 7 * DAY, (WED,), "UTC")],
    ],
    ids=["whole days", "many times over", "in halves", "whole weeks"],
)
def test_windows_without_a_gap_are_open_for_ever(windows: list[Window]) -> None:
    assert open_until(windows, utc("2026-06-01 00:00")) == math.inf


def test_whole_local_days_leave_an_hour_out_when_clocks_go_back() -> None:
    assert open_until([daily("00:00", 24, "Europe/Berlin")], utc("2026-10-20 12:00")) == utc("2026-10-25 22:00")


def test_utc_needs_no_time_zone_database() -> None:
    assert time_zone("UTC") is UTC


@pytest.mark.parametrize("name", ["", ".", "..", "/etc/localtime", "Europe", "Europe/", "zone.tab", "\0", "x" * 999])
def test_a_name_that_is_no_time_zone_is_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone"):
        time_zone(name)


@given(st.text())
def test_any_name_is_a_time_zone_or_a_value_error(name: str) -> None:
    with contextlib.suppress(ValueError):
        time_zone(name)


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]
CHANGES = [utc(f"{day} 00:00") for day in (
    "2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-10-04", "2026-04-05", "2011-12-30", "2060-03-28",
    "2026-07-01",
)]  # fmt: skip
"""Days on which clocks change somewhere, among them the one that Samoa never had, and one of no change."""
BACK, AHEAD = 5 * 1440, 9 * 1440
"""Minutes that are looked at before and after an instant: more than the longest window, and more than a week."""

windows = st.builds(
    Window,
    start_minutes=st.sampled_from([0, 60, 90, 119, 120, 135, 150, 179, 180, 1439]) | st.integers(0, 1439),
    duration_seconds=(st.integers(1, 300) | st.integers(1, 3 * 1440)).map(lambda minutes: minutes * 60.0),
    days=st.lists(st.integers(0, 6), unique=True, max_size=3).map(tuple),
    time_zone=st.sampled_from(ZONES),
)
instants = st.builds(
    lambda day, minutes: day + 60.0 * minutes, st.sampled_from(CHANGES), st.integers(-2 * 1440, 2 * 1440)
)


def open_minutes(declared: Sequence[Window], now: float) -> list[bool]:
    """Look at the clocks in each minute around `now`, and tell in which of them a window is open."""
    minutes = [now + 60.0 * offset for offset in range(-BACK, AHEAD)]
    is_open = [False] * len(minutes)
    for window in declared:
        zone = ZoneInfo(window.time_zone)
        shown = [datetime.fromtimestamp(minute, zone).replace(tzinfo=None) for minute in minutes]
        midnight = shown[0].replace(hour=0, minute=0)
        for days in range((shown[-1] - midnight).days + 1):
            start = midnight + timedelta(days=days, minutes=window.start_minutes)
            if start >= shown[0] and (not window.days or start.weekday() in window.days):
                first = next((at for at, clock in enumerate(shown) if clock >= start), len(minutes))
                for at in range(first, min(len(minutes), first + int(window.duration_seconds // 60))):
                    is_open[at] = True
    return is_open


@given(st.lists(windows, min_size=1, max_size=3), instants)
@settings(max_examples=60, deadline=None)
@example([daily("02:30", 24, "Europe/Berlin")], utc("2026-03-29 00:59"))
@example([Window(720, DAY, (FRI,), "Pacific/Apia")], utc("2011-12-30 09:59"))
@example([Window(720, DAY, (day,), "Pacific/Apia") for day in (THU, SAT)], utc("2011-12-30 09:59"))
def test_it_is_what_looking_at_the_clocks_each_minute_gives(declared: list[Window], now: float) -> None:
    ahead = open_minutes(declared, now)[BACK:]
    closed = next((at for at, is_open in enumerate(ahead) if not is_open), None)
    until = open_until(declared, now)
    if closed is None:
        assert until is not None
        assert until >= now + 60 * AHEAD
    else:
        assert until == (now + 60 * closed if closed else None)
    assert opens_at(declared, now) == now + 60 * ahead.index(True)


@given(st.lists(windows, min_size=1, max_size=3), instants.flatmap(lambda at: st.floats(at, at + 60)))
@settings(deadline=None)
def test_it_is_open_exactly_when_the_next_opening_is_now(declared: list[Window], now: float) -> None:
    opens = opens_at(declared, now)
    assert opens >= now
    assert (open_until(declared, now) is not None) == (opens == now)
    assert open_until(declared, opens) is not None


@given(st.lists(windows, min_size=1, max_size=3), windows, instants)
@settings(deadline=None)
def test_another_window_never_shortens_an_opening(declared: list[Window], another: Window, now: float) -> None:
    both = [another, *declared]
    assert (open_until(both, now) or now) >= (open_until(declared, now) or now)
    assert opens_at(both, now) <= opens_at(declared, now)
    assert open_until(both, now) == open_until(both[::-1], now)
