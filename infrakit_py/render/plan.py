"""A plan to read before it is approved, and the same plan as JSON."""

from collections.abc import Mapping, Sequence
from typing import assert_never

import click

from infrakit_py.engine.forecast import Forecast
from infrakit_py.model.plan import Action, Cause, Create, Destroy, Drain, GroupPlan, Publish, Retag
from infrakit_py.model.quantities import format_size
from infrakit_py.model.spec import ClusterSpec, Json

_LINES_A_WAVE = 12


def has_changes(forecasts: Sequence[Forecast]) -> bool:
    return any(forecast.actions for forecast in forecasts)


def summary(forecasts: Sequence[Forecast]) -> str:
    """Sum up what will be done: `+3 create  -3 replace`."""
    total: dict[str, int] = {}
    for forecast in forecasts:
        for key, count in forecast.counts.items():
            total[key] = total.get(key, 0) + count
    signs = {"create": "+", "replace": "-", "destroy": "-", "tag": "~", "publish": "^"}
    parts = [f"{sign}{total[key]} {key}" for key, sign in signs.items() if total.get(key)]
    blocked = [forecast.group for forecast in forecasts if forecast.block is not None]
    return ("  ".join(parts) or "no changes") + (f"; blocked: {', '.join(blocked)}" if blocked else "")


def plan_text(spec: ClusterSpec, forecasts: Sequence[Forecast], *, full: bool = False) -> str:
    """Write a cluster's plan: for each group its resolved integers, then its waves, then the sum."""
    lines = [click.style(f"Cluster {spec.name}", bold=True) + f" ({spec.source})"]
    for forecast in forecasts:
        lines += ["", _group_line(spec, forecast)]
        for number, wave in enumerate(forecast.waves, 1):
            lines.append(f"  wave {number}, {wave.ready} ready")
            shown = wave.actions if full or len(wave.actions) <= _LINES_A_WAVE else wave.actions[: _LINES_A_WAVE - 1]
            lines += [f"    {_action_line(action)}" for action in shown]
            if len(shown) < len(wave.actions):
                lines.append(f"    … and {len(wave.actions) - len(shown)} more (--full shows all)")
        if not forecast.waves and forecast.block is None:
            lines.append("  no changes")
        if forecast.waves and forecast.lowest_ready:
            lines.append(f"  never fewer than {forecast.lowest_ready} ready")
        lines += [f"  waiting: {wait.reason}" for wait in forecast.first.waits]
        if forecast.block is not None:
            lines.append(click.style(f"  blocked: {forecast.block.reason}", fg="red"))
            lines += [f"  hint: {forecast.block.hint}"] if forecast.block.hint else []
    lines += ["", f"Plan: {summary(forecasts)}"]
    return "\n".join(lines)


def plan_json(spec: ClusterSpec, forecasts: Sequence[Forecast]) -> dict[str, Json]:
    """Return a cluster's plan for programs."""
    return {
        "cluster": spec.name,
        "file": spec.source,
        "changes": has_changes(forecasts),
        "summary": summary(forecasts),
        "groups": [
            {
                "group": forecast.group,
                "bounds": _bounds(forecast),
                "counts": dict(forecast.counts),
                "ready": forecast.first.ready,
                "lowest_ready": forecast.lowest_ready,
                "waves": [
                    {"ready": wave.ready, "actions": [_action_json(action) for action in wave.actions]}
                    for wave in forecast.waves
                ],
                "waits": [{"reason": wait.reason, "until": wait.until} for wait in forecast.first.waits],
                "block": forecast.block.reason if forecast.block is not None else None,
            }
            for forecast in forecasts
        ],
    }


def left_to_do(plan: GroupPlan) -> str:
    """Say what a group still lacks."""
    current_ready = plan.ready - sum(a.version == "outdated" and a.condition == "ready" for a in plan.members)
    parts = [f"{current_ready} of {plan.bounds.count} current and ready"]
    if plan.outdated:
        parts.append(f"{plan.outdated} outdated")
    if len(plan.members) > plan.bounds.count:
        parts.append(f"{len(plan.members) - plan.bounds.count} more than wanted")
    return ", ".join(parts)


def _group_line(spec: ClusterSpec, forecast: Forecast) -> str:
    name = click.style(forecast.group, bold=True)
    group = spec.groups.get(forecast.group)
    bounds = forecast.bounds
    if group is None or not bounds.count:
        return f"Group {name}: {len(forecast.first.members)} machines, 0 wanted"
    image = spec.images[group.image]
    rules = (
        f"one at a time, at least {bounds.floor} ready"
        if group.logical_ids is not None
        else f"surge {bounds.surge}, unavailable {bounds.unavailable}, at least {bounds.floor} ready"
    )
    return (
        f"Group {name} on {group.provider}: {bounds.count} × {image.name} ({image.short}); {rules}; "
        f"{forecast.first.ready} ready now"
    )


def _bounds(forecast: Forecast) -> Mapping[str, Json]:
    bounds = forecast.bounds
    return {
        "count": bounds.count,
        "max_surge": bounds.surge,
        "max_unavailable": bounds.unavailable,
        "floor": bounds.floor,
    }


def _action_line(action: Action) -> str:
    match action:
        case Create():
            return click.style(f"+ create   {action.name}", fg="green") + f"  {action.reason}"
        case Destroy(cause=Cause.REPLACE):
            return click.style(f"- replace  {action.name}", fg="yellow") + f"  {action.reason}"
        case Destroy():
            return click.style(f"- destroy  {action.name}", fg="red") + f"  {action.reason}"
        case Drain():
            return click.style(f"· drain    {action.name}", fg="yellow") + f"  {action.reason}"
        case Retag():
            return click.style(f"~ tag      {action.name}", fg="cyan") + f"  {action.reason}"
        case Publish():
            size = f" ({format_size(action.image.size)})" if action.image.size else ""
            return click.style(f"^ publish  {action.image.name}{size}", fg="cyan") + f"  {action.reason}"
        case _:
            assert_never(action)


def _action_json(action: Action) -> dict[str, Json]:
    common: dict[str, Json] = {"provider": action.provider, "reason": action.reason}
    match action:
        case Create():
            return {"action": "create", "machine": action.name, "slot": action.slot, **common}
        case Destroy():
            gone: dict[str, Json] = {"machine": action.name, "instance": action.instance_id}
            return {"action": "destroy", **gone, "cause": action.cause.value, **common}
        case Drain():
            return {"action": "drain", "machine": action.name, "instance": action.instance_id, **common}
        case Retag():
            changed: dict[str, Json] = {"set": dict(action.set_tags), "remove": list(action.remove_tags)}
            return {"action": "tag", "machine": action.name, "instance": action.instance_id, **changed, **common}
        case Publish():
            image: dict[str, Json] = {"image": action.image.name, "identity": action.image.identity}
            return {"action": "publish", **image, "bytes": action.image.size, **common}
        case _:
            assert_never(action)
