"""What was examined and how it stands, as a list for people and as JSON."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import click

from infrakit_py.model.spec import ClusterSpec, Json
from infrakit_py.render.words import counted
from infrakit_py.spi.provider import Finding, Grade

_MARKS: Final = {Grade.OK: ("✓", "green"), Grade.WARNING: ("!", "yellow"), Grade.PROBLEM: ("✗", "red")}
_WIDEST: Final = 32
"""So wide is the first column at most: what is wider moves its own detail only."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What one provider of a cluster found."""

    provider: str
    plugin: str
    findings: tuple[Finding, ...]


def examinations_text(spec: ClusterSpec, found: Sequence[Examination], *, words: bool) -> str:
    """Write a cluster's findings, by provider. `words`: say each grade in a word, too."""
    lines = [click.style(f"Cluster {spec.name}", bold=True) + f" ({spec.source})"]
    for examination in found:
        lines += ["", f"Provider {click.style(examination.provider, bold=True)} ({examination.plugin})"]
        width = min(_WIDEST, max((len(finding.about) for finding in examination.findings), default=0))
        for finding in examination.findings:
            lines += _lines(finding, width, words=words)
        if not examination.findings:
            lines.append("  nothing to examine")
    return "\n".join(lines)


def examinations_json(spec: ClusterSpec, found: Sequence[Examination]) -> dict[str, Json]:
    """Return a cluster's findings for programs."""
    return {
        "cluster": spec.name,
        "file": spec.source,
        "providers": [
            {
                "provider": examination.provider,
                "plugin": examination.plugin,
                "findings": [_finding_json(finding) for finding in examination.findings],
            }
            for examination in found
        ],
    }


def grades(found: Iterable[Examination]) -> Counter[Grade]:
    """Count how many findings there are of each grade."""
    return Counter(finding.grade for examination in found for finding in examination.findings)


def grades_line(counts: Counter[Grade]) -> str:
    """Sum up: `1 problem, 2 warnings, 5 ok`."""
    good = f"{counts[Grade.OK]} ok"
    parts = [counted(counts[grade], grade.value) for grade in (Grade.PROBLEM, Grade.WARNING) if counts[grade]]
    worst = next((grade for grade in (Grade.PROBLEM, Grade.WARNING) if counts[grade]), Grade.OK)
    return click.style(", ".join([*parts, good]), fg=_MARKS[worst][1])


def _lines(finding: Finding, width: int, *, words: bool) -> list[str]:
    mark, colour = _MARKS[finding.grade]
    sign = f"{mark} {finding.grade.value:<7}" if words else mark
    indent = " " * (len(sign) + 4)
    detail, *more = finding.detail.splitlines() or [""]
    first = f"  {click.style(sign, fg=colour)}  {finding.about:<{width}}" + (f"  {detail}" if detail else "")
    rest = [*more, *(f"hint: {finding.hint}".splitlines() if finding.hint else [])]
    return [first.rstrip(), *(f"{indent}{line}" for line in rest)]


def _finding_json(finding: Finding) -> dict[str, Json]:
    return {
        "about": finding.about,
        "grade": finding.grade.value,
        "detail": finding.detail,
        "hint": finding.hint or None,
    }
