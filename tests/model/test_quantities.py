"""Durations, sizes and amounts as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_py.model.quantities import Amount, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("90s", 90.0), ("5m", 300.0), ("1h30m", 5400.0), ("2d", 172800.0), ("0s", 0.0), ("1.5s", 1.5)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 s", "5x", "1h 30m", "٥s5", "1e3s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@given(st.integers(0, 10**10))
def test_durations_are_written_as_they_are_read(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    ("text", "size"), [("192MiB", 192 * 2**20), ("2GiB", 2**31), ("10GB", 10**10), ("1.5KiB", 1536), ("7B", 7)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "5", "5M", "5mib", "-1B", "0.3B", "MiB"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_size(text)


@pytest.mark.parametrize(("size", "text"), [(0, "0B"), (512, "512B"), (2**20, "1MiB"), (15_833_600, "15.1MiB")])
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("written", "size", "up", "down"),
    [(2, 10, 2, 2), ("25%", 10, 3, 2), ("25%", 4, 1, 1), ("10%", 3, 1, 0), ("0%", 9, 0, 0), ("100%", 7, 7, 7)],
)
def test_trap_22_surge_rounds_up_and_unavailable_down(written: int | str, size: int, up: int, down: int) -> None:
    amount = Amount.parse(written)
    assert (amount.rounded_up(size), amount.rounded_down(size)) == (up, down)


@pytest.mark.parametrize("written", [-1, "-1", "101%", "1.5", "half", "5 %"])
def test_other_amounts_are_refused(written: int | str) -> None:
    with pytest.raises(ValueError, match=r"negative|more than|not a count"):
        Amount.parse(written)
