"""What was measured, beside what it is measured against."""

from dataclasses import dataclass

from infrakit_py.model.quantities import format_duration


@dataclass(frozen=True)
class Row:
    what: str
    measured: str
    limit: str
    ratio: str
    note: str = ""


def virtual(what: str, took: float, limit: float, real: float) -> Row:
    """Return a row on virtual time; its ratio is one where nothing but the limit took time."""
    measured, best = format_duration(round(took, 1)), format_duration(round(limit, 1))
    return Row(what, measured, best, f"{limit / took:.2f}", f"{real:.1f} s of real time")


def table(rows: list[Row]) -> str:
    lines = [
        ("what", "measured", "limit", "ratio", "note"),
        *((r.what, r.measured, r.limit, r.ratio, r.note) for r in rows),
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )
