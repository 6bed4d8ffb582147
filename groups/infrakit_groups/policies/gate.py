"""How far a rollout may go right now: steps, bakes, windows, pauses, and the brake on a version that fails."""

from dataclasses import dataclass
from math import inf

from infrakit_groups.policies.classify import RUNS, names
from infrakit_groups.policies.healing import is_new
from infrakit_groups.policies.order import oldest_first
from infrakit_groups.policies.roster import CURRENT, OPEN, STALE, Roster
from infrakit_py.model.plan import COMPLETE, Assessed, Bounds, Condition, Progress, RolloutPhase, Version, Wait
from infrakit_py.model.quantities import format_duration
from infrakit_py.model.spec import Strategy
from infrakit_py.model.windows import open_until, opens_at


@dataclass(frozen=True, slots=True)
class Gate:
    """`cap`: how many machines of the new version there may be. `held`: not even the next one, for now.

    `evidence` are new machines that failed: the rollout keeps them, so that people can look and nothing is forgotten.
    `worn_held`: machines of the current version that are merely too old are not replaced now.
    """

    rolling: bool
    held: bool
    worn_held: bool
    cap: float
    evidence: tuple[Assessed, ...]
    progress: Progress
    failure: str = ""
    waits: tuple[Wait, ...] = ()

    @property
    def restrained(self) -> bool:
        return self.rolling and (self.held or self.cap < inf)


def steps_of(roster: Roster) -> tuple[int, ...]:
    """Resolve the steps, the last of which is the whole group. Only a rolling replacement has others."""
    desired = roster.desired
    if desired.rollout.strategy is not Strategy.ROLLING:
        return (desired.count,)
    steps = sorted({step.rounded_up(desired.count) for step in desired.rollout.steps})
    return (*(step for step in steps if 0 < step < desired.count), desired.count)


def gate(roster: Roster, bounds: Bounds, now: float) -> Gate:
    """Say how far the rollout may go."""
    desired = roster.desired
    pause = desired.paused or ("rollout.paused is set" if desired.rollout.paused else "")
    closed_until = _closed_until(roster, now)
    worn_held = bool(pause or desired.stopped) or closed_until > now
    if not _is_rolling(roster):
        return _at_rest(roster, worn_held=worn_held, pause=pause, closed_until=closed_until, now=now)

    failed = roster.of(CURRENT, (Condition.UNHEALTHY, Condition.DEAD), OPEN)
    evidence = tuple(sorted((a for a in failed if is_new(desired, a.member, now)), key=oldest_first))
    steps = steps_of(roster)
    step = desired.count
    if not desired.rolling_back:
        step = next((s for s in steps if roster.baked < s), desired.count)
    wanted_limit = max(1, desired.rollout.failure_limit.rounded_up(desired.count))
    limit = min(wanted_limit, max(1, bounds.surge + bounds.unavailable), max(1, step))

    def at(phase: RolloutPhase, reason: str = "", until: float | None = None) -> Progress:
        return Progress(phase, step, steps, len(evidence), limit, reason, until)

    if _is_complete(roster):
        return Gate(True, False, worn_held, inf, (), COMPLETE)
    if desired.stopped:
        return Gate(True, True, worn_held, 0, evidence, at(RolloutPhase.STOPPED, desired.stopped))
    if len(evidence) >= limit:
        failure = _failure(evidence, limit)
        return Gate(True, True, worn_held, 0, evidence, at(RolloutPhase.STOPPED, failure), failure)
    if pause:
        wait = Wait(f"the rollout is paused: {pause}")
        return Gate(True, True, worn_held, 0, evidence, at(RolloutPhase.PAUSED, pause), waits=(wait,))
    if closed_until > now and not desired.rolling_back:
        reason = "the rollout waits for its next window"
        progress = at(RolloutPhase.OUTSIDE_WINDOW, reason, closed_until)
        return Gate(True, True, worn_held, 0, evidence, progress, waits=(Wait(reason, closed_until),))
    cap = inf if step >= desired.count else step
    phase = RolloutPhase.ROLLING_BACK if desired.rolling_back else RolloutPhase.ROLLING
    progress = at(phase)
    waits: tuple[Wait, ...] = ()
    ready = roster.count((Version.CURRENT, Version.EXPIRED), (Condition.READY,))
    if ready >= step > roster.baked and not desired.rolling_back:
        due = [a.until for a in roster.of((Version.CURRENT, Version.EXPIRED), (Condition.READY,)) if not a.baked]
        until = min(due, default=now)
        reason = f"{step} of {desired.count} bake for {format_duration(desired.rollout.bake_seconds)}"
        progress = at(RolloutPhase.BAKING, reason, until)
        waits = (Wait(f"the rollout is baking: {reason}", until),)
    return Gate(True, False, worn_held, cap, evidence, progress, waits=waits)


def _is_rolling(roster: Roster) -> bool:
    """It goes on while machines of another version are there or to come, or the new one has yet to prove itself."""
    desired = roster.desired
    if roster.count((Version.OUTDATED,), (*RUNS, Condition.DEAD, Condition.DRAINING), OPEN):
        return True
    if desired.unproven or desired.stopped:
        return True
    previous = desired.previous
    return previous is not None and any(c.fingerprint == previous.fingerprint for c in roster.in_flight)


def _at_rest(roster: Roster, *, worn_held: bool, pause: str, closed_until: float, now: float) -> Gate:
    waits: tuple[Wait, ...] = ()
    if worn_held and (worn := list(roster.of((Version.EXPIRED,), RUNS, OPEN))):
        why = f"paused: {pause}" if pause else "outside the rollout's windows"
        until = closed_until if now < closed_until < inf else None
        waits = (Wait(f"{names(worn)} to be replaced ({worn[0].reason}): {why}", until),)
    return Gate(False, False, worn_held, inf, (), COMPLETE, waits=waits)


def _closed_until(roster: Roster, now: float) -> float:
    """Return when the next window opens, and `now` if one is open."""
    windows = roster.desired.rollout.windows
    if not windows or open_until(windows, now) is not None:
        return now
    return opens_at(windows, now)


def _failure(evidence: tuple[Assessed, ...], limit: int) -> str:
    first = evidence[0]
    why = f": {first.member.name} {first.reason}" if first.reason else ""
    what = "machine" if len(evidence) == 1 else "machines"
    return f"{len(evidence)} new {what} failed (limit {limit}){why}"


def _is_complete(roster: Roster) -> bool:
    return roster.baked >= roster.desired.count and not roster.count(STALE, RUNS)
