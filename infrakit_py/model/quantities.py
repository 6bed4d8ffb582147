"""Durations, sizes and counts as people write them: `90s`, `256MiB`, `2` or `25%`."""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Final

_DURATION_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZE_UNITS: Final = {
    "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
}  # fmt: skip
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)")


def parse_duration(text: str) -> float:
    """Return seconds for `500ms`, `90s`, `5m`, `1h30m`, `2d`. ValueError for anything else."""
    total, at = 0.0, 0
    for match in _DURATION.finditer(text):
        if match.start() != at:
            break
        total += float(match[1]) * _DURATION_UNITS[match[2]]
        at = match.end()
    if not text or at != len(text):
        raise ValueError(f"not a duration: {text!r} (write 500ms, 90s, 5m, 1h30m or 2d)")
    return total


def format_duration(seconds: float) -> str:
    """Write seconds as `parse_duration` reads them, to the millisecond."""
    milliseconds = round(seconds * 1000)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_size(text: str) -> int:
    """Return bytes for `192MiB`, `2GiB`, `10GB`. ValueError for anything else or a broken byte."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a size: {text!r} (write 192MiB, 2GiB or 10GB)")
    size = Fraction(match[1]) * _SIZE_UNITS[match[2]]
    if size.denominator != 1:
        raise ValueError(f"not a whole number of bytes: {text!r}")
    return int(size)


def format_size(size: int) -> str:
    """Write bytes in the largest binary unit that loses nothing, else rounded to a tenth for people."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= _SIZE_UNITS[unit]:
            return f"{size / _SIZE_UNITS[unit]:.1f}{unit}"
    return f"{size}B"


@dataclass(frozen=True, slots=True)
class Amount:
    """A count of machines, or a percentage of the group's size."""

    value: int
    percent: bool = False

    @classmethod
    def parse(cls, written: int | str) -> "Amount":
        """Read `2`, `"2"` or `"25%"`. ValueError for anything negative, fractional or over 100 %."""
        if isinstance(written, int):
            value, percent = written, False
        elif match := re.fullmatch(r"(\d+)(%?)", written.strip()):
            value, percent = int(match[1]), bool(match[2])
        else:
            raise ValueError(f"not a count or percentage: {written!r} (write 2 or 25%)")
        if value < 0:
            raise ValueError(f"must not be negative: {written!r}")
        if percent and value > 100:
            raise ValueError(f"more than 100%: {written!r}")
        return cls(value, percent)

    def rounded_up(self, size: int) -> int:
        """Resolve against a group of `size`; fractions go up."""
        return ceil(Fraction(self.value * size, 100)) if self.percent else self.value

    def rounded_down(self, size: int) -> int:
        """Resolve against a group of `size`; fractions go down."""
        return floor(Fraction(self.value * size, 100)) if self.percent else self.value

    def __str__(self) -> str:
        return f"{self.value}%" if self.percent else str(self.value)
