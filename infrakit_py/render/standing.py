"""Where a group's rollout stands: what it goes to, how far it is, what it waits for. Read off a plan, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from infrakit_py.engine.cluster import Group
from infrakit_py.engine.versions import Target
from infrakit_py.model.plan import GroupPlan, RolloutPhase
from infrakit_py.model.revision import GroupVersion, VersionRecord
from infrakit_py.model.spec import Json
from infrakit_py.render.words import ImageNames, counted

STOPPED_HINT = "change the file, or use infra rollout undo or infra rollout resume"
LEFT_HINT = "change the file, or use infra rollout resume to try the declared version again"
NOT_BEGUN = "not begun"
ROLLED_BACK = "rolled back"
BLOCKED = "blocked"
_COLOURS = {
    RolloutPhase.COMPLETE.value: "green",
    RolloutPhase.STOPPED.value: "red",
    ROLLED_BACK: "red",
    BLOCKED: "red",
}
_HELD = (RolloutPhase.BAKING, RolloutPhase.PAUSED, RolloutPhase.OUTSIDE_WINDOW, RolloutPhase.STOPPED)


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


def phase_line(standing: Standing) -> str:
    """Sum up a rollout: its phase, its step, its failures."""
    progress = standing.plan.progress
    phase = standing.phase
    parts = [click.style(phase, fg=_COLOURS.get(phase, "yellow"))]
    if len(progress.steps) > 1 and progress.phase is not RolloutPhase.COMPLETE:
        parts.append(step_of(progress.step, progress.steps))
    if progress.failed:
        parts.append(f"{progress.failed} failed (it stops at {progress.failure_limit})")
    return ", ".join(parts)


def step_of(step: int, steps: Sequence[int]) -> str:
    """Write `step 2 of 3 (up to 5 new machines; steps 1, 5, 20)`."""
    number = steps.index(step) + 1 if step in steps else len(steps)
    return f"step {number} of {len(steps)} (up to {counted(step, 'new machine')}; steps {', '.join(map(str, steps))})"


def standing_text(standing: Standing, names: ImageNames, now: float) -> str:
    """Write where one group's rollout stands, in a few lines."""
    plan, target = standing.plan, standing.target
    lines = [f"Group {click.style(plan.group, bold=True)}: {phase_line(standing)}"]
    if standing.wanted is not None:
        lines.append(f"  wanted   {version_words(standing.wanted)}")
    if target.back_from is not None:
        lines.append(f"  goes to  {version_words(target.group.version)}, because {names.in_text(_left(standing))}")
    tally = plan.tally
    lines.append(
        f"  machines {tally.current_ready} of {tally.current} current ready, {tally.outdated} outdated, "
        f"{tally.failed} failed; {tally.ready} of {plan.bounds.count} ready in all"
    )
    if plan.block is not None:
        lines.append(f"  blocked  {names.in_text(plan.block.reason)}")
        lines += [f"  hint     {plan.block.hint}"] if plan.block.hint else []
    elif plan.progress.phase in _HELD and plan.progress.reason:
        reason = names.in_text(plan.progress.reason)
        lines.append(f"  {_verb(plan.progress.phase)} {reason}{until(plan.progress.until, now)}")
    told = {plan.progress.reason} if plan.progress.phase in _HELD else set()
    lines += [
        f"  waits    {names.in_text(wait.reason)}{until(wait.until, now)}"
        for wait in plan.waits
        if not any(reason and wait.reason.endswith(reason) for reason in told)
    ]
    lines += [f"  note     {names.in_text(note)}" for note in plan.notes]
    if hint := _hint(standing):
        lines.append(f"  hint     {hint}")
    return "\n".join(lines)


def standing_json(standing: Standing, names: ImageNames) -> dict[str, Json]:
    """Return where one group's rollout stands, for programs."""
    return {
        "group": standing.name,
        **rollout_json(standing, names),
        "wanted": standing.plan.bounds.count,
        **tally_json(standing.plan),
        "waits": waits_json(standing.plan, names),
        "block": names.in_text(standing.plan.block.reason) if standing.plan.block is not None else None,
        "notes": [names.in_text(note) for note in standing.plan.notes],
    }


def rollout_json(standing: Standing, names: ImageNames) -> dict[str, Json]:
    back = standing.target.group.version if standing.target.back_from is not None else None
    return {
        "phase": standing.phase,
        "version": version_json(standing.wanted),
        "goes_to": version_json(back),
        "because": names.in_text(_left(standing)) if back is not None else None,
        "progress": progress_json(standing.plan, names),
    }


def progress_json(plan: GroupPlan, names: ImageNames) -> dict[str, Json]:
    progress = plan.progress
    return {
        "phase": progress.phase.value,
        "step": progress.step,
        "steps": list(progress.steps),
        "failed": progress.failed,
        "failure_limit": progress.failure_limit,
        "reason": names.in_text(progress.reason),
        "until": progress.until,
    }


def tally_json(plan: GroupPlan) -> dict[str, Json]:
    tally = plan.tally
    return {
        "ready": tally.ready,
        "new": tally.current,
        "new_ready": tally.current_ready,
        "outdated": tally.outdated,
        "failed": tally.failed,
    }


def waits_json(plan: GroupPlan, names: ImageNames) -> list[Json]:
    return [{"reason": names.in_text(wait.reason), "until": wait.until} for wait in plan.waits]


def version_json(version: GroupVersion | None) -> Mapping[str, Json] | None:
    if version is None:
        return None
    return {
        "revision": version.revision,
        "image": version.image.name,
        "identity": version.image.identity,
        "fingerprint": version.fingerprint,
    }


def version_words(version: GroupVersion | None) -> str:
    """Write `a2 (c10f2ef44fda), revision 7`."""
    if version is None:
        return "nothing"
    return f"{version.image.name} ({version.image.short}), revision {version.revision}"


def until(at: float | None, now: float) -> str:
    """Write until when something is waited for, by the clock on the wall here: ` until 22:00:00`."""
    if at is None or at <= now:
        return ""
    form = "%H:%M:%S" if at - now < 43_200 else "%Y-%m-%d %H:%M"
    return f", until {datetime.fromtimestamp(at).astimezone().strftime(form)}"


def at_json(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _left(standing: Standing) -> str:
    left = standing.target.back_from
    revision = left.version.revision if left is not None else 0
    return f"revision {revision} is {standing.why}"


def _verb(phase: RolloutPhase) -> str:
    return {RolloutPhase.PAUSED: "paused  ", RolloutPhase.STOPPED: "stopped "}.get(phase, "waits   ")


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
