"""Plans as Markdown, for pull requests: a short table that is read, and the plan itself folded below it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import click

from infrakit_py.engine.forecast import Forecast
from infrakit_py.errors import InfrakitError, Problem
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.render.plan import has_changes, in_order, needs_a_person, summary
from infrakit_py.render.words import counted, roughly

MARKER: Final = "<!-- infra plan -->"
"""By this a pipeline finds the comment that it wrote before, to write it anew."""
LARGEST: Final = 60_000
"""Characters of all; GitHub takes comments of 65,536. Source: docs.github.com, limits of issue comments."""
_HEADER: Final = "| cluster | group | now | change | never fewer than | takes |\n|---|---|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Planned:
    """A cluster's plan: the forecasts for the table, and its text for whoever unfolds it."""

    spec: ClusterSpec
    forecasts: Sequence[Forecast]
    text: str


def plans_markdown(plans: Sequence[Planned], unchanged: Sequence[str] = (), left: Sequence[str] = ()) -> str:
    """Write plans, with the clusters that are declared as before, and those that are not declared any more."""
    rows = [_row(plan, forecast) for plan in plans for forecast in in_order(plan.spec, plan.forecasts)]
    parts = [MARKER, f"### {_headline(plans)}"]
    parts += ["\n".join([_HEADER, *rows])] if rows else []
    parts += [f"Declared as before: {_listed(unchanged)}."] if unchanged else []
    parts += [f"Not declared any more, so their machines stay as they are: {_listed(left)}."] if left else []
    room = LARGEST - sum(len(part) + 2 for part in parts)
    for plan in plans:
        folded = _folded(f"{plan.spec.name}: {summary(plan.forecasts)}", click.unstyle(plan.text), room)
        room -= len(folded) + 2
        parts.append(folded)
    return "\n\n".join(parts) + "\n"


def mistakes_markdown(problems: Sequence[Problem]) -> str:
    """Write the mistakes in files that cannot be planned."""
    rows = [f"| {_place(problem)} | {_cell(problem.message)} |" for problem in problems]
    headline = f"### infra plan: {counted(len(problems), 'mistake')}; nothing can be planned"
    text = "\n\n".join([MARKER, headline, "\n".join(["| where | what |\n|---|---|", *rows])])
    return text[:LARGEST] + "\n"


def failure_markdown(error: InfrakitError) -> str:
    """Write why there is no plan."""
    hint = f"\n\n{_cell(error.hint)}" if error.hint else ""
    return f"{MARKER}\n\n### infra plan: failed\n\n{_cell(str(error))}{hint}"[:LARGEST] + "\n"


def _headline(plans: Sequence[Planned]) -> str:
    if not plans:
        return "infra plan: no cluster changes"
    total = summary([forecast for plan in plans for forecast in plan.forecasts])
    held = " — **needs a person**" if any(needs_a_person(plan.forecasts) for plan in plans) else ""
    return f"infra plan: {counted(len(plans), 'cluster')}, {_cell(total)}{held}"


def _row(plan: Planned, forecast: Forecast) -> str:
    return "| " + " | ".join(map(_cell, _cells(plan, forecast))) + " |"


def _cells(plan: Planned, forecast: Forecast) -> Sequence[str]:
    now = f"{forecast.first.ready} of {len(forecast.first.members)} ready"
    takes = roughly(forecast.seconds) if forecast.seconds else "-"
    lowest = f"{forecast.lowest_ready} of {forecast.bounds.count}" if forecast.waves else "-"
    return plan.spec.name, forecast.group, now, _change(forecast), lowest, takes


def _change(forecast: Forecast) -> str:
    if forecast.block is not None:
        return f"blocked: {forecast.block.reason}"
    if forecast.goes_to:
        return f"goes back to {forecast.goes_to}"
    if forecast.first.stopped:
        return f"stopped: {forecast.first.progress.reason}"
    return summary([forecast]) if has_changes([forecast]) else "none"


def _folded(title: str, text: str, room: int) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    space = room - len(title) - 2 * len(fence) - 200
    if len(text) > space:
        text = text[: max(0, space)].rsplit("\n", 1)[0] + "\n… cut short: `infra plan` shows all"
    return f"<details><summary>{_html(title)}</summary>\n\n{fence}text\n{text}\n{fence}\n\n</details>"


def _place(problem: Problem) -> str:
    where = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    return f"`{where.replace('`', '')}`"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(_cell(name) for name in names)


def _cell(text: str) -> str:
    """Write a text so that it stays in its cell, and is only text."""
    plain = " ".join(click.unstyle(text).split())
    return re.sub(r"([\\`*_{}\[\]|#~])", r"\\\1", _html(plain))


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
