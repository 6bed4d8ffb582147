"""A plan to read before it is approved, and the same plan as JSON."""

from collections.abc import Mapping, Sequence
from typing import Final

import click

from infrakit_py.engine.forecast import Forecast
from infrakit_py.model.plan import GroupPlan, RolloutPhase, Wait
from infrakit_py.model.spec import ClusterSpec, Json, Strategy
from infrakit_py.render.actions import action_json, action_line
from infrakit_py.render.costs import Cost, cost_lines, costs_json
from infrakit_py.render.image_changes import ImageChange, change_lines, changes_json
from infrakit_py.render.pointers import pointed, pointed_json, pointed_lines
from infrakit_py.render.standing import LEFT_HINT, STOPPED_HINT, progress_json, waits_json
from infrakit_py.render.words import NO_NAMES, ImageNames, counted, moment, roughly

NO_REMARKS: Final[Mapping[str, Sequence[str]]] = {}

_LINES_A_WAVE: Final = 12
_WAVES: Final = 8
"""So many waves of a group are shown unless all are asked for: the first ones and the last."""


def has_changes(forecasts: Sequence[Forecast]) -> bool:
    return any(forecast.actions for forecast in forecasts)


def needs_a_person(forecasts: Sequence[Forecast]) -> bool:
    """Tell whether some group does not get to what is declared unless somebody decides something."""
    return any(f.block is not None or f.goes_to or _is_stopped(f) for f in forecasts)


def summary(forecasts: Sequence[Forecast]) -> str:
    """Sum up what will be done: `+3 create  -3 replace`."""
    total: dict[str, int] = {}
    for forecast in forecasts:
        for key, count in forecast.counts.items():
            total[key] = total.get(key, 0) + count
    signs = {"create": "+", "finish": "~", "replace": "-", "destroy": "-", "tag": "~", "publish": "^"}
    parts = [f"{sign}{total[key]} {key}" for key, sign in signs.items() if total.get(key)]
    held = {
        "blocked": [f.group for f in forecasts if f.block is not None],
        "stopped": [f.group for f in forecasts if f.block is None and _is_stopped(f)],
        "paused": [f.group for f in forecasts if f.first.progress.phase is RolloutPhase.PAUSED],
    }
    said = "".join(f"; {word}: {', '.join(groups)}" for word, groups in held.items() if groups)
    return ("  ".join(parts) or "no changes") + said


def plan_text(
    spec: ClusterSpec,
    forecasts: Sequence[Forecast],
    *,
    names: ImageNames = NO_NAMES,
    costs: Sequence[Cost] = (),
    images: Sequence[ImageChange] = (),
    remarks: Mapping[str, Sequence[str]] = NO_REMARKS,
    explain: bool = False,
) -> str:
    """Write a cluster's plan: for each group its resolved integers, then its waves, then the sums.

    Groups come in the order in which they are changed. `explain` leaves nothing out.
    """
    lines = [click.style(f"Cluster {spec.name}", bold=True) + f" ({spec.source})"]
    lines += [f"  {line}" for line in pointed_lines(pointed(spec, {forecast.group for forecast in forecasts}))]
    lines += [f"  {line}" for line in change_lines(images)]
    for forecast in in_order(spec, forecasts):
        lines += ["", _group_line(spec, forecast), *_rules(spec, forecast)]
        lines += [f"  {line}" for line in _state(forecast, names)]
        lines += _waves(forecast, names, explain=explain)
        if not forecast.waves and forecast.block is None and not _is_stopped(forecast):
            lines.append("  no changes")
        lines += [f"  {line}" for line in _sum(forecast)]
        lines += [f"  waiting: {names.in_text(wait.reason)}" for wait in forecast.first.waits if not _is_told(wait)]
        notes = (*forecast.first.notes, *remarks.get(forecast.group, ()))
        lines += [f"  note: {names.in_text(note)}" for note in notes]
        if forecast.block is not None:
            lines.append(click.style(f"  blocked: {names.in_text(forecast.block.reason)}", fg="red"))
            lines += [f"  hint: {forecast.block.hint}"] if forecast.block.hint else []
    seconds = seconds_in_all(spec, forecasts)
    if seconds and sum(bool(forecast.waves) for forecast in forecasts) > 1:
        lines += ["", f"All of it takes about {roughly(seconds)}"]
    lines += ["", *cost_lines(costs), f"Plan: {summary(forecasts)}"]
    return "\n".join(lines)


def plan_json(
    spec: ClusterSpec,
    forecasts: Sequence[Forecast],
    *,
    names: ImageNames = NO_NAMES,
    costs: Sequence[Cost] = (),
    images: Sequence[ImageChange] = (),
    remarks: Mapping[str, Sequence[str]] = NO_REMARKS,
) -> dict[str, Json]:
    """Return a cluster's plan for programs."""
    return {
        "cluster": spec.name,
        "file": spec.source,
        "changes": has_changes(forecasts),
        "summary": summary(forecasts),
        "seconds": seconds_in_all(spec, forecasts),
        "cost": costs_json(costs),
        "images": pointed_json(pointed(spec, {forecast.group for forecast in forecasts})),
        "image_changes": changes_json(images),
        "groups": [
            {**_forecast_json(spec, forecast, names), "remarks": list(remarks.get(forecast.group, ()))}
            for forecast in in_order(spec, forecasts)
        ],
    }


def in_order(spec: ClusterSpec, forecasts: Sequence[Forecast]) -> list[Forecast]:
    """Return groups after those that they depend on, otherwise in the order of the file."""
    rest = {forecast.group: forecast for forecast in forecasts}
    ordered: list[Forecast] = []
    while rest:
        free = next((name for name in rest if not set(_after(spec, name)) & rest.keys()), next(iter(rest)))
        ordered.append(rest.pop(free))
    return ordered


def seconds_in_all(spec: ClusterSpec, forecasts: Sequence[Forecast]) -> float | None:
    """Return how long all takes, where groups wait for those they depend on; None if one does not get there."""
    ends: dict[str, float] = {}
    for forecast in in_order(spec, forecasts):
        if forecast.seconds is None:
            return None
        ends[forecast.group] = forecast.seconds + max(
            (ends.get(n, 0.0) for n in _after(spec, forecast.group)), default=0.0
        )
    return max(ends.values(), default=0.0)


def left_to_do(plan: GroupPlan) -> str:
    """Say what a group still lacks."""
    tally, count = plan.tally, plan.bounds.count
    parts = [f"{tally.current_ready} of {count} current and ready"]
    if tally.outdated:
        parts.append(f"{tally.outdated} outdated")
    if tally.members > count:
        parts.append(f"{tally.members - count} more than wanted")
    return ", ".join(parts)


def _after(spec: ClusterSpec, group: str) -> tuple[str, ...]:
    declared = spec.groups.get(group)
    return declared.depends_on if declared is not None else ()


def _is_stopped(forecast: Forecast) -> bool:
    return forecast.first.stopped


def _is_told(wait: Wait) -> bool:
    return wait.reason.startswith("the rollout is paused")


def _group_line(spec: ClusterSpec, forecast: Forecast) -> str:
    name = click.style(forecast.group, bold=True)
    group = spec.groups.get(forecast.group)
    bounds = forecast.bounds
    if group is None or not bounds.count:
        return f"Group {name}: {counted(len(forecast.first.members), 'machine')}, 0 wanted"
    image = spec.images[group.image]
    after = f", after {', '.join(group.depends_on)}" if group.depends_on else ""
    return (
        f"Group {name} on {group.provider}{after}: {bounds.count} × {image.name} ({image.short}), "
        f"{forecast.first.ready} ready now"
    )


def _rules(spec: ClusterSpec, forecast: Forecast) -> list[str]:
    """Say which integers the plan keeps to."""
    group, bounds, progress = spec.groups.get(forecast.group), forecast.bounds, forecast.first.progress
    if group is None or not bounds.count:
        return []
    parts = []
    if group.logical_ids is not None:
        parts.append("one at a time")
    else:
        strategy = group.rollout.strategy
        parts += [strategy.value.replace("_", "/")] if strategy is not Strategy.ROLLING else []
        parts.append(f"surge {bounds.surge}, unavailable {bounds.unavailable}")
    parts[-1] += f", at least {bounds.floor} ready"
    if len(progress.steps) > 1:
        parts.append(f"steps {', '.join(map(str, progress.steps))}")
    if progress.failure_limit:
        parts.append(f"stops at {progress.failure_limit} failed")
    return [f"  {'; '.join(parts)}"]


def _state(forecast: Forecast, names: ImageNames) -> list[str]:
    """Say what keeps the group from where its file says it shall be."""
    progress = forecast.first.progress
    lines = []
    if forecast.goes_to:
        where = "goes back to" if forecast.waves or not forecast.first.converged else "stays at"
        lines.append(click.style(f"{where} {names.in_text(forecast.goes_to)}", fg="yellow"))
        lines.append(f"hint: {LEFT_HINT}")
    match progress.phase:
        case RolloutPhase.STOPPED:
            lines.append(click.style(f"stopped: {names.in_text(progress.reason)}", fg="red"))
            lines.append(f"hint: {STOPPED_HINT}")
        case RolloutPhase.PAUSED:
            lines.append(click.style(f"paused: {names.in_text(progress.reason)}", fg="yellow"))
        case _:
            pass
    return lines


def _waves(forecast: Forecast, names: ImageNames, *, explain: bool) -> list[str]:
    """Write the waves; of many the first ones and the last, and of each as many actions as fit."""
    lines: list[str] = []
    count = len(forecast.waves)
    skipped = range(_WAVES - 1, count - 1) if count > _WAVES and not explain else range(0)
    for number, wave in enumerate(forecast.waves):
        if number in skipped:
            if number == skipped.start:
                lines.append(f"  … {counted(len(skipped), 'more wave')} (--explain shows all)")
            continue
        after = f", after {moment(wave.at_seconds)}" if wave.at_seconds else ""
        lines.append(f"  wave {number + 1}{after}, {wave.ready} ready")
        cut = len(wave.actions) > _LINES_A_WAVE and not explain
        shown = wave.actions[: _LINES_A_WAVE - 1] if cut else wave.actions
        lines += [f"    {action_line(action, names)}" for action in shown]
        if cut:
            lines.append(f"    … and {len(wave.actions) - len(shown)} more (--explain shows all)")
    return lines


def _sum(forecast: Forecast) -> list[str]:
    """Say how few are ready meanwhile, and how long it takes."""
    if not forecast.waves:
        return []
    parts = [f"never fewer than {forecast.lowest_ready} ready"] if forecast.lowest_ready else []
    if forecast.seconds is not None:
        parts.append(f"takes about {roughly(forecast.seconds)}")
    return ["; ".join(parts)] if parts else []


def _forecast_json(spec: ClusterSpec, forecast: Forecast, names: ImageNames) -> dict[str, Json]:
    first = forecast.first
    return {
        "group": forecast.group,
        "after": list(_after(spec, forecast.group)),
        "bounds": _bounds(forecast),
        "counts": dict(forecast.counts),
        "ready": first.ready,
        "lowest_ready": forecast.lowest_ready,
        "seconds": forecast.seconds,
        "waves": [
            {
                "at_seconds": wave.at_seconds,
                "ready": wave.ready,
                "actions": [action_json(action, names) for action in wave.actions],
            }
            for wave in forecast.waves
        ],
        "progress": progress_json(first, names),
        "goes_to": names.in_text(forecast.goes_to) or None,
        "waits": waits_json(first, names),
        "notes": [names.in_text(note) for note in first.notes],
        "block": names.in_text(forecast.block.reason) if forecast.block is not None else None,
        "hint": forecast.block.hint or None if forecast.block is not None else None,
    }


def _bounds(forecast: Forecast) -> Mapping[str, Json]:
    bounds = forecast.bounds
    return {
        "count": bounds.count,
        "max_surge": bounds.surge,
        "max_unavailable": bounds.unavailable,
        "floor": bounds.floor,
    }
