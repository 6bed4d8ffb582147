"""What exists and how it is, as text and as JSON."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import click

from infrakit_py.model import tags
from infrakit_py.model.plan import Assessed, Condition, RolloutPhase, Version
from infrakit_py.model.spec import ClusterSpec, Json
from infrakit_py.render.costs import Cost, cost_lines, costs_json
from infrakit_py.render.documents import ROLLED_BACK, GroupDocument, MachineDocument
from infrakit_py.render.standing import Standing, at_json, phase_line, rollout_document, until
from infrakit_py.render.tables import age, table
from infrakit_py.render.words import ImageNames, counted
from infrakit_py.stores.codec import encoded

_COLOURS: Final = {
    Condition.READY.value: "green",
    Condition.UNHEALTHY.value: "red",
    Condition.DEAD.value: "red",
}
_HEADER: Final = ("MACHINE", "CONDITION", "VERSION", "IMAGE", "ADDRESS", "PROVIDER", "AGE", "HEALTHY", "ID", "")


def status_text(
    spec: ClusterSpec, standings: Sequence[Standing], names: ImageNames, now: float, costs: Sequence[Cost] = ()
) -> str:
    """Write a cluster's groups and machines, and what they cost where that is known."""
    lines = [click.style(f"Cluster {spec.name}", bold=True) + f" ({spec.source})", *cost_lines(costs)]
    for standing in standings:
        lines += ["", *group_lines(group_document(standing, names), now)]
    return "\n".join(lines)


def status_json(
    spec: ClusterSpec, standings: Sequence[Standing], names: ImageNames, costs: Sequence[Cost] = ()
) -> dict[str, Json]:
    """Return a cluster's groups and machines for programs."""
    groups = [group_document(standing, names) for standing in standings]
    return {
        "cluster": spec.name,
        "file": spec.source,
        "converged": all(group.converged for group in groups),
        "cost": costs_json(costs),
        "groups": [encoded(group) for group in groups],
    }


def group_document(standing: Standing, names: ImageNames) -> GroupDocument:
    """Return where a group and its machines stand."""
    members = sorted(standing.plan.members, key=place)
    machines = tuple(_machine_document(assessed, names) for assessed in members)
    return rollout_document(standing, names, machines)


def group_json(standing: Standing, names: ImageNames) -> Json:
    """Return where a group and its machines stand, for programs: an entry of `infra status --json`."""
    return encoded(group_document(standing, names))


def group_lines(group: GroupDocument, now: float) -> list[str]:
    """Write where a group and its machines stand."""
    name = click.style(group.group, bold=True)
    lines = [f"Group {name}: {group.ready} of {group.wanted} ready, {_word(group)}"]
    lines += [f"  {line}" for line in _rollout(group)]
    lines += [f"  {wait.reason}{until(wait.until, now)}" for wait in group.waits]
    lines += [f"  {note}" for note in group.notes]
    if group.block is not None:
        lines.append(f"  {group.block}")
        lines += [f"  hint: {group.hint}"] if group.hint else []
    if group.machines:
        lines.append(table(_HEADER, [_row(machine, now) for machine in group.machines], indent="  "))
    return lines


def _word(group: GroupDocument) -> str:
    if group.block is not None:
        return click.style("blocked", fg="red")
    if group.phase == ROLLED_BACK:
        return click.style(ROLLED_BACK, fg="red")
    if group.is_stopped:
        return click.style("stopped", fg="red")
    if group.converged:
        return click.style("converged", fg="green")
    return click.style(f"{counted(group.due, 'action')} due" if group.due else "waiting", fg="yellow")


def _rollout(group: GroupDocument) -> list[str]:
    """Say where the rollout stands, where there is anything to say."""
    if group.goes_to is not None:
        return [f"{group.phase} to {group.goes_to}, because {group.because}"]
    if group.block is None and group.phase != RolloutPhase.COMPLETE:
        reason = f": {group.progress.reason}" if group.is_stopped else ""
        return [f"rollout {phase_line(group)}{reason}"]
    return []


def place(assessed: Assessed) -> tuple[int, str]:
    """Order machines as people count them."""
    slot = assessed.member.slot
    return (int(slot), "") if slot.isdecimal() else (0, slot)


def _row(machine: MachineDocument, now: float) -> tuple[str, ...]:
    colour = _COLOURS.get(machine.condition)
    return (
        machine.machine,
        click.style(machine.condition, fg=colour) if colour else machine.condition,
        machine.version,
        machine.image or "-",
        ",".join(machine.addresses) or "-",
        machine.provider,
        age_since(machine.launched_at, now),
        age_since(machine.healthy_since, now),
        machine.instance,
        "; ".join(_remarks(machine)),
    )


def age_since(at: str | None, now: float) -> str:
    """Write how long ago something was, by its time in a document; `-` where that tells none."""
    try:
        return age(now - datetime.fromisoformat(at).timestamp()) if at else "-"
    except ValueError:
        return "-"


def _remarks(machine: MachineDocument) -> list[str]:
    remarks = ["protected"] if machine.protected else []
    if machine.failures:
        remarks.append(f"{machine.failures} before it failed")
    tells = machine.version != Version.CURRENT or machine.condition != Condition.READY
    return [*remarks, machine.reason] if tells and machine.reason else remarks


def _machine_document(assessed: Assessed, names: ImageNames) -> MachineDocument:
    member, instance = assessed.member, assessed.member.instance
    since = member.health.since
    return MachineDocument(
        machine=member.name,
        instance=instance.id,
        provider=member.provider,
        condition=assessed.condition.value,
        version=assessed.version.value,
        reason=names.in_text(assessed.reason),
        state=instance.state.value,
        image=names.of(instance.tags.get(tags.IMAGE, "")) or None,
        addresses=instance.addresses,
        zone=instance.zone,
        launched_at=at_json(instance.launched_at),
        healthy_since=at_json(since) if since is not None else None,
        protected=member.protected,
        failures=member.failures,
        tags=instance.tags,
        facts=instance.facts,
        detail=instance.detail,
    )
