"""Where a group's rollout stands: what it goes to, how far it is, what it waits for. Read off a plan, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import click

from infrakit_py.engine.cluster import Group
from infrakit_py.engine.versions import Target
from infrakit_py.model.plan import GroupPlan, RolloutPhase
from infrakit_py.model.revision import GroupVersion, VersionRecord
from infrakit_py.model.spec import Json
from infrakit_py.render.documents import (
    BLOCKED,
    NOT_BEGUN,
    ROLLED_BACK,
    GroupDocument,
    MachineDocument,
    ProgressDocument,
    VersionDocument,
    WaitDocument,
)
from infrakit_py.render.words import ImageNames, counted
from infrakit_py.stores.codec import encoded

STOPPED_HINT = "change the file, or use infra rollout undo or infra rollout resume"
LEFT_HINT = "change the file, or use infra rollout resume to try the declared version again"
_COLOURS = {
    RolloutPhase.COMPLETE.value: "green",
    RolloutPhase.STOPPED.value: "red",
    ROLLED_BACK: "red",
    BLOCKED: "red",
}
_HELD = (RolloutPhase.BAKING, RolloutPhase.PAUSED, RolloutPhase.OUTSIDE_WINDOW, RolloutPhase.STOPPED)
_OF_ROLLOUTS: Final = (
    *("group", "phase", "version", "goes_to", "because", "progress", "wanted"),
    *("ready", "new", "new_ready", "outdated", "failed", "waits", "block", "hint", "notes"),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A group as declared, what it goes to, its plan, and what is remembered of the declared version, if anything."""

    declared: Group
    target: Target
    plan: GroupPlan
    record: VersionRecord | None = None

    @property
    def name(self) -> str:
        return self.plan.group

    @property
    def phase(self) -> str:
        """Say where the rollout is: a `RolloutPhase`, or `not begun`, `rolled back` or `blocked`."""
        phase = self.plan.progress.phase
        if self.plan.block is not None:
            return BLOCKED
        if self.target.back_from is not None and phase is RolloutPhase.COMPLETE:
            return ROLLED_BACK if self.plan.converged else RolloutPhase.ROLLING_BACK.value
        if phase is RolloutPhase.ROLLING and self.record is None and not self._new:
            return NOT_BEGUN
        return phase.value

    @property
    def wanted(self) -> GroupVersion | None:
        """The declared version, with the revision that first wanted it."""
        return self.record.version if self.record is not None else self.declared.version

    @property
    def why(self) -> str:
        """Say why the declared version was left, or why its rollout goes no further."""
        if (left := self.target.back_from) is not None:
            return left.why
        if self.plan.block is not None:
            return self.plan.block.reason
        return self.plan.progress.reason

    @property
    def _new(self) -> int:
        return self.plan.tally.current


def rollout_document(
    standing: Standing, names: ImageNames, machines: tuple[MachineDocument, ...] = ()
) -> GroupDocument:
    """Return where one group's rollout stands, with the machines that are given."""
    plan, back = standing.plan, standing.target.back_from is not None
    tally, declared = plan.tally, standing.declared.version
    return GroupDocument(
        group=standing.name,
        converged=plan.converged and not back,
        wanted=plan.bounds.count,
        ready=tally.ready,
        new=tally.current,
        new_ready=tally.current_ready,
        outdated=tally.outdated,
        failed=tally.failed,
        phase=standing.phase,
        version=version_document(standing.wanted),
        goes_to=version_document(standing.target.group.version) if back else None,
        because=names.in_text(_left(standing)) if back else None,
        progress=_progress(plan, names),
        waits=tuple(WaitDocument(names.in_text(wait.reason), wait.until) for wait in plan.waits),
        notes=tuple(names.in_text(note) for note in plan.notes),
        block=names.in_text(plan.block.reason) if plan.block is not None else None,
        hint=plan.block.hint if plan.block is not None else _hint(standing),
        due=len(plan.actions),
        declared_revision=declared.revision if declared is not None else 0,
        machines=machines,
    )


def phase_line(group: GroupDocument) -> str:
    """Sum up a rollout: its phase, its step, its failures."""
    progress = group.progress
    parts = [click.style(group.phase, fg=_COLOURS.get(group.phase, "yellow"))]
    if len(progress.steps) > 1 and progress.phase != RolloutPhase.COMPLETE:
        parts.append(step_of(progress.step, progress.steps))
    if progress.failed:
        parts.append(f"{progress.failed} failed (it stops at {progress.failure_limit})")
    return ", ".join(parts)


def step_of(step: int, steps: Sequence[int]) -> str:
    """Write `step 2 of 3 (up to 5 new machines; steps 1, 5, 20)`."""
    number = steps.index(step) + 1 if step in steps else len(steps)
    return f"step {number} of {len(steps)} (up to {counted(step, 'new machine')}; steps {', '.join(map(str, steps))})"


def standing_text(group: GroupDocument, now: float) -> str:
    """Write where one group's rollout stands, in a few lines."""
    progress = group.progress
    lines = [f"Group {click.style(group.group, bold=True)}: {phase_line(group)}"]
    if group.version is not None:
        lines.append(f"  wanted   {group.version}")
    if group.goes_to is not None:
        lines.append(f"  goes to  {group.goes_to}, because {group.because}")
    lines.append(
        f"  machines {group.new_ready} of {group.new} current ready, {group.outdated} outdated, "
        f"{group.failed} failed; {group.ready} of {group.wanted} ready in all"
    )
    is_held = progress.phase in _HELD
    if group.block is not None:
        lines.append(f"  blocked  {group.block}")
    elif is_held and progress.reason:
        lines.append(f"  {_verb(progress.phase)} {progress.reason}{until(progress.until, now)}")
    lines += [
        f"  waits    {wait.reason}{until(wait.until, now)}"
        for wait in group.waits
        if not (is_held and progress.reason and wait.reason.endswith(progress.reason))
    ]
    lines += [f"  note     {note}" for note in group.notes]
    lines += [f"  hint     {group.hint}"] if group.hint else []
    return "\n".join(lines)


def standing_json(group: GroupDocument) -> dict[str, Json]:
    """Return where one group's rollout stands, for programs."""
    return {name: encoded(getattr(group, name)) for name in _OF_ROLLOUTS}


def progress_json(plan: GroupPlan, names: ImageNames) -> Json:
    return encoded(_progress(plan, names))


def waits_json(plan: GroupPlan, names: ImageNames) -> list[Json]:
    return [{"reason": names.in_text(wait.reason), "until": wait.until} for wait in plan.waits]


def version_document(version: GroupVersion | None) -> VersionDocument | None:
    if version is None:
        return None
    image = version.image
    return VersionDocument(version.revision, image.name, image.identity, version.fingerprint)


def version_words(version: GroupVersion | None) -> str:
    """Write `a2 (c10f2ef44fda), revision 7`."""
    return str(version_document(version) or "nothing")


def until(at: float | None, now: float) -> str:
    """Write until when something is waited for, by the clock on the wall here: ` until 22:00:00`."""
    if at is None or at <= now:
        return ""
    form = "%H:%M:%S" if at - now < 43_200 else "%Y-%m-%d %H:%M"
    return f", until {datetime.fromtimestamp(at).astimezone().strftime(form)}"


def at_json(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _progress(plan: GroupPlan, names: ImageNames) -> ProgressDocument:
    progress = plan.progress
    return ProgressDocument(
        phase=progress.phase.value,
        step=progress.step,
        steps=progress.steps,
        failed=progress.failed,
        failure_limit=progress.failure_limit,
        reason=names.in_text(progress.reason),
        until=progress.until,
    )


def _left(standing: Standing) -> str:
    left = standing.target.back_from
    revision = left.version.revision if left is not None else 0
    return f"revision {revision} is {standing.why}"


def _verb(phase: str) -> str:
    return {RolloutPhase.PAUSED.value: "paused  ", RolloutPhase.STOPPED.value: "stopped "}.get(phase, "waits   ")


def _hint(standing: Standing) -> str:
    match standing.phase:
        case RolloutPhase.STOPPED.value:
            return STOPPED_HINT
        case "rolled back" | RolloutPhase.ROLLING_BACK.value:
            return LEFT_HINT
        case RolloutPhase.PAUSED.value:
            if standing.declared.spec is not None and standing.declared.spec.rollout.paused:
                return "remove rollout.paused from the file to go on"
            return "infra rollout resume lets it go on"
        case _:
            return ""
