"""Plain columns that survive pipes, grep and narrow terminals."""

from collections.abc import Sequence

import click


def table(header: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Lay out rows under a header; the last column is as wide as it likes."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        (indent + "  ".join(cell + " " * (w - _width(cell)) for cell, w in zip(line, widths, strict=True))).rstrip()
        for line in lines
    )


def age(seconds: float) -> str:
    """Write an age as people do: 12s, 5m, 3h, 2d."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def _width(cell: str) -> int:
    """Count what is seen: colours take no room."""
    return len(click.unstyle(cell))
