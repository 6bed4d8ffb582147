"""What exists and how it is, as text and as JSON."""

from collections.abc import Sequence

import click

from infrakit_py.model import tags
from infrakit_py.model.plan import Assessed, Condition, RolloutPhase, Version
from infrakit_py.model.spec import ClusterSpec, Json
from infrakit_py.render.costs import Cost, cost_lines, costs_json
from infrakit_py.render.standing import (
    ROLLED_BACK,
    Standing,
    at_json,
    phase_line,
    rollout_json,
    tally_json,
    until,
    version_words,
    waits_json,
)
from infrakit_py.render.tables import age, table
from infrakit_py.render.words import ImageNames, counted


def status_text(
    spec: ClusterSpec, standings: Sequence[Standing], names: ImageNames, now: float, costs: Sequence[Cost] = ()
) -> str:
    """Write a cluster's groups and machines, and what they cost where that is known."""
    lines = [click.style(f"Cluster {spec.name}", bold=True) + f" ({spec.source})", *cost_lines(costs)]
    for standing in standings:
        plan = standing.plan
        name = click.style(standing.name, bold=True)
        lines += ["", f"Group {name}: {plan.ready} of {plan.bounds.count} ready, {_word(standing)}"]
        lines += [f"  {line}" for line in _rollout(standing, names)]
        lines += [f"  {names.in_text(wait.reason)}{until(wait.until, now)}" for wait in plan.waits]
        lines += [f"  {names.in_text(note)}" for note in plan.notes]
        if plan.block is not None:
            lines.append(f"  {names.in_text(plan.block.reason)}")
            lines += [f"  hint: {plan.block.hint}"] if plan.block.hint else []
        if plan.members:
            header = ("MACHINE", "CONDITION", "VERSION", "IMAGE", "ADDRESS", "PROVIDER", "AGE", "HEALTHY", "ID", "")
            rows = [_row(a, names, now) for a in sorted(plan.members, key=place)]
            lines.append(table(header, rows, indent="  "))
    return "\n".join(lines)


def status_json(
    spec: ClusterSpec, standings: Sequence[Standing], names: ImageNames, costs: Sequence[Cost] = ()
) -> dict[str, Json]:
    """Return a cluster's groups and machines for programs."""
    return {
        "cluster": spec.name,
        "file": spec.source,
        "converged": all(standing.plan.converged and not standing.target.back_from for standing in standings),
        "cost": costs_json(costs),
        "groups": [_group_json(standing, names) for standing in standings],
    }


def _group_json(standing: Standing, names: ImageNames) -> dict[str, Json]:
    plan = standing.plan
    return {
        "group": standing.name,
        "converged": plan.converged and not standing.target.back_from,
        "wanted": plan.bounds.count,
        **tally_json(plan),
        **rollout_json(standing, names),
        "waits": waits_json(plan, names),
        "notes": [names.in_text(note) for note in plan.notes],
        "block": names.in_text(plan.block.reason) if plan.block is not None else None,
        "machines": [_machine_json(a, names) for a in sorted(plan.members, key=place)],
    }


def _word(standing: Standing) -> str:
    plan = standing.plan
    if plan.block is not None:
        return click.style("blocked", fg="red")
    if standing.phase == ROLLED_BACK:
        return click.style(ROLLED_BACK, fg="red")
    if plan.stopped:
        return click.style("stopped", fg="red")
    if plan.converged:
        return click.style("converged", fg="green")
    due = f"{counted(len(plan.actions), 'action')} due" if plan.actions else "waiting"
    return click.style(due, fg="yellow")


def _rollout(standing: Standing, names: ImageNames) -> list[str]:
    """Say where the rollout stands, where there is anything to say."""
    plan, target = standing.plan, standing.target
    lines = []
    if target.back_from is not None:
        left = f"revision {target.back_from.version.revision} is {names.in_text(standing.why)}"
        lines.append(f"{standing.phase} to {version_words(target.group.version)}, because {left}")
    elif plan.block is None and standing.phase != RolloutPhase.COMPLETE:
        reason = f": {names.in_text(plan.progress.reason)}" if plan.stopped else ""
        lines.append(f"rollout {phase_line(standing)}{reason}")
    return lines


def place(assessed: Assessed) -> tuple[int, str]:
    """Order machines as people count them."""
    slot = assessed.member.slot
    return (int(slot), "") if slot.isdecimal() else (0, slot)


def _row(assessed: Assessed, names: ImageNames, now: float) -> tuple[str, ...]:
    member, instance = assessed.member, assessed.member.instance
    colour = {Condition.READY: "green", Condition.UNHEALTHY: "red", Condition.DEAD: "red"}.get(assessed.condition)
    condition = assessed.condition.value
    since = member.health.since
    return (
        member.name,
        click.style(condition, fg=colour) if colour else condition,
        assessed.version.value,
        names.of(instance.tags.get(tags.IMAGE, "")) or "-",
        ",".join(instance.addresses) or "-",
        member.provider,
        age(now - instance.launched_at),
        age(now - since) if since is not None else "-",
        instance.id,
        "; ".join(_remarks(assessed, names)),
    )


def _remarks(assessed: Assessed, names: ImageNames) -> list[str]:
    member = assessed.member
    remarks = ["protected"] if member.protected else []
    if member.failures:
        remarks.append(f"{member.failures} before it failed")
    tells = assessed.version is not Version.CURRENT or assessed.condition is not Condition.READY
    if tells and assessed.reason:
        remarks.append(names.in_text(assessed.reason))
    return remarks


def _machine_json(assessed: Assessed, names: ImageNames) -> dict[str, Json]:
    member, instance = assessed.member, assessed.member.instance
    since = member.health.since
    return {
        "machine": member.name,
        "instance": instance.id,
        "provider": member.provider,
        "condition": assessed.condition.value,
        "version": assessed.version.value,
        "reason": names.in_text(assessed.reason),
        "state": instance.state.value,
        "image": names.of(instance.tags.get(tags.IMAGE, "")) or None,
        "addresses": list(instance.addresses),
        "zone": instance.zone,
        "launched_at": at_json(instance.launched_at),
        "healthy_since": at_json(since) if since is not None else None,
        "protected": member.protected,
        "failures": member.failures,
        "tags": dict(instance.tags),
        "facts": dict(instance.facts),
        "detail": instance.detail,
    }
