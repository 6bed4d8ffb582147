"""What exists and how it is, as text and as JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime

import click

from infrakit_py.model import tags
from infrakit_py.model.plan import Assessed, Condition, GroupPlan, Version
from infrakit_py.model.spec import ClusterSpec, Json
from infrakit_py.render.tables import age, table


def status_text(spec: ClusterSpec, plans: Mapping[str, GroupPlan], now: float) -> str:
    """Write a cluster's groups and machines."""
    lines = [click.style(f"Cluster {spec.name}", bold=True) + f" ({spec.source})"]
    for name, plan in plans.items():
        lines += [
            "",
            f"Group {click.style(name, bold=True)}: {plan.ready} of {plan.bounds.count} ready, {_word(plan)}",
        ]
        lines += [f"  {wait.reason}" for wait in plan.waits]
        if plan.block is not None:
            lines += [f"  {plan.block.reason}", *([f"  hint: {plan.block.hint}"] if plan.block.hint else [])]
        if plan.members:
            header = ("MACHINE", "CONDITION", "VERSION", "IMAGE", "ADDRESS", "PROVIDER", "AGE", "ID", "")
            lines.append(table(header, [_row(a, now) for a in sorted(plan.members, key=_place)], indent="  "))
    return "\n".join(lines)


def status_json(spec: ClusterSpec, plans: Mapping[str, GroupPlan]) -> dict[str, Json]:
    """Return a cluster's groups and machines for programs."""
    return {
        "cluster": spec.name,
        "file": spec.source,
        "converged": all(plan.converged for plan in plans.values()),
        "groups": [
            {
                "group": name,
                "converged": plan.converged,
                "wanted": plan.bounds.count,
                "ready": plan.ready,
                "outdated": plan.outdated,
                "waits": [{"reason": wait.reason, "until": wait.until} for wait in plan.waits],
                "block": plan.block.reason if plan.block is not None else None,
                "machines": [_machine_json(a) for a in sorted(plan.members, key=_place)],
            }
            for name, plan in plans.items()
        ],
    }


def _word(plan: GroupPlan) -> str:
    if plan.block is not None:
        return click.style("blocked", fg="red")
    if plan.converged:
        return click.style("converged", fg="green")
    return click.style(f"{len(plan.actions)} actions due" if plan.actions else "waiting", fg="yellow")


def _place(assessed: Assessed) -> tuple[int, str]:
    slot = assessed.member.slot
    return (int(slot), "") if slot.isdecimal() else (0, slot)


def _row(assessed: Assessed, now: float) -> tuple[str, ...]:
    instance = assessed.member.instance
    colour = {Condition.READY: "green", Condition.UNHEALTHY: "red", Condition.DEAD: "red"}.get(assessed.condition)
    condition = assessed.condition.value
    return (
        assessed.member.name,
        click.style(condition, fg=colour) if colour else condition,
        assessed.version.value,
        instance.tags.get(tags.IMAGE, "")[:12],
        ",".join(instance.addresses) or "-",
        assessed.member.provider,
        age(now - instance.launched_at),
        instance.id,
        assessed.reason if assessed.version is Version.OUTDATED or assessed.condition is not Condition.READY else "",
    )


def _machine_json(assessed: Assessed) -> dict[str, Json]:
    instance = assessed.member.instance
    return {
        "machine": assessed.member.name,
        "instance": instance.id,
        "provider": assessed.member.provider,
        "condition": assessed.condition.value,
        "version": assessed.version.value,
        "reason": assessed.reason,
        "state": instance.state.value,
        "addresses": list(instance.addresses),
        "zone": instance.zone,
        "launched_at": datetime.fromtimestamp(instance.launched_at, UTC).isoformat(timespec="seconds"),
        "tags": dict(instance.tags),
        "facts": dict(instance.facts),
        "detail": instance.detail,
    }
