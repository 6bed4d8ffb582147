"""What a tick leaves its group with: a phase, the time of the next look, what is told, what becomes of its version.

It writes to the store and tells listeners, so nobody calls it while holding a lock: each group's ticks follow each
other, and nothing but the group's own tick changes its course.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from random import Random
from typing import Final

from infrakit_py.clock import Clock
from infrakit_py.engine.cluster import Group
from infrakit_py.engine.events import Event, EventKind, Listener
from infrakit_py.engine.execute import attempt
from infrakit_py.engine.observe import Observation
from infrakit_py.engine.patience import Patience
from infrakit_py.engine.phases import AT_REST, GroupStatus, Phase, is_bad
from infrakit_py.engine.reconcile import Tick
from infrakit_py.engine.retry import back_off_seconds, is_retryable
from infrakit_py.engine.versions import Versions
from infrakit_py.errors import ImageMissing, InfrakitError, NoCapacity, ProviderError, TokenSpent
from infrakit_py.model.plan import Assessed, GroupPlan, Publish, RolloutPhase
from infrakit_py.model.plan import Condition as MemberCondition
from infrakit_py.model.quantities import format_duration
from infrakit_py.model.spec import OnFailure

IDLE_SECONDS: Final = 30.0
"""How often a controller looks at a group that has nothing to do, if nobody checks its health more often."""


@dataclass(slots=True)
class Course:
    """How a group has fared. `due`: when it is to be looked at again, unless something is heard before.

    `best` and `best_at`: the most that was reached so far, and when; `blind`: nothing could be seen at the last look.
    """

    group: Group
    patience: Patience
    due: float = -inf
    attempt: int = 0
    blind: bool = False
    at_deadline: bool = False
    status: GroupStatus = field(default_factory=lambda: GroupStatus(Phase.WORKING))
    best: tuple[int, ...] | None = None
    best_at: float = 0.0

    @property
    def interval_seconds(self) -> float:
        """How often its machines are asked for their health."""
        return self.group.spec.health.interval_seconds if self.group.spec is not None else inf

    @property
    def idle_seconds(self) -> float:
        """How often it is looked at while there is nothing to do."""
        return min(IDLE_SECONDS, self.interval_seconds)

    @property
    def listed_seconds(self) -> float:
        """How often it wants a new listing while there is nothing to do: who is asked himself need not be listed."""
        asks = self.group.spec is not None and self.group.spec.health.asks
        return IDLE_SECONDS if asks else self.idle_seconds


@dataclass(slots=True)
class Aftermath:
    """Says what ticks of one cluster's groups come to. `endless`: groups that have settled are looked at again."""

    versions: Versions
    clock: Clock
    listener: Listener
    chance: Random
    endless: bool
    doubt_published: Callable[[], None]

    def begins(self, course: Course) -> None:
        """Note that a tick begins: what comes now is measured anew, if the group was at rest."""
        if course.status.phase in AT_REST:
            course.best, course.best_at = None, self.clock.now()

    def news(self, course: Course, plan: GroupPlan, observation: Observation) -> None:
        """Tell what a tick has seen, before anything is done."""
        before = course.status.plan
        was_ready = {a.member.id for a in before.members if _ready(a)} if before is not None else None
        for assessed in plan.members:
            if _ready(assessed) and was_ready is not None and assessed.member.id not in was_ready:
                self._tell(course, EventKind.READY, assessed.member.name)
        for complaint in observation.complaints:
            self._tell(course, EventKind.RETRY, complaint)
        old_waits = {wait.reason for wait in before.waits} if before is not None else set()
        for wait in plan.waits:
            if wait.reason not in old_waits:
                self._tell(course, EventKind.WAITING, wait.reason)

    def of_error(self, course: Course, error: InfrakitError, now: float) -> None:
        """Note a tick that could not even decide."""
        course.blind = True
        if is_retryable(error) and now - course.best_at < course.group.desired.rollout.progress_deadline_seconds:
            course.attempt += 1
            cause = error if isinstance(error, ProviderError) else None
            course.due = now + back_off_seconds(self.chance, course.attempt, cause)
            course.status = GroupStatus(Phase.WORKING, str(error), error.hint or "", course.status.plan)
            self._tell(course, EventKind.RETRY, f"{error}; trying again")
        else:
            self.fails(course, error)

    def fails(self, course: Course, error: InfrakitError) -> None:
        """Note a tick that has failed for good."""
        self._finish(course, Phase.FAILED, str(error), error.hint or "", course.status.plan)

    def of_tick(
        self,
        course: Course,
        tick: Tick,
        now: float,
        *,
        waits_for: tuple[str, ...],
        hopeless: tuple[str, ...],
        woken: bool,
    ) -> None:
        """Note what a tick saw and did. `hopeless`: those of `waits_for` that will not settle without a person.

        `woken`: something has changed since the listing that it saw.
        """
        plan = tick.plan
        course.at_deadline = False
        if course.blind:  # time in which nothing could be seen is no lack of progress
            course.blind, course.best_at = False, now
        if plan.actions:
            course.patience.reset()
        self._note_progress(course, tick, now, held_back=bool(waits_for))
        if plan.block is not None:
            self._finish(course, Phase.BLOCKED, plan.block.reason, plan.block.hint, plan)
        elif plan.failure and tick.target.back_from is None and not tick.target.group.desired.stopped:
            self._fail_version(course, tick, plan.failure, now)
        elif woken and not plan.actions:
            if not (self.endless and plan.converged and course.status.phase in AT_REST):
                course.status = GroupStatus(Phase.WORKING, plan=plan)
            course.due = now
        elif plan.converged:
            self._settle(course, tick, plan)
        elif plan.stopped and not plan.actions and not plan.waits:
            hint = "change the file, or use infra rollout undo or infra rollout resume"
            self._finish(course, Phase.STOPPED, f"the rollout is stopped: {plan.progress.reason}", hint, plan)
        elif _only_paused(plan):
            hint = "infra rollout resume, or rollout.paused in the file"
            self._finish(course, Phase.STOPPED, plan.waits[0].reason, hint, plan)
        elif hopeless:
            self._finish(course, Phase.BLOCKED, f"waits for {', '.join(hopeless)}, which did not converge", "", plan)
        else:
            self._go_on(course, tick, now)

    def _settle(self, course: Course, tick: Tick, plan: GroupPlan) -> None:
        course.attempt = 0
        back_from = tick.target.back_from
        if back_from is None:
            self.versions.completed(course.group)
            self._finish(course, Phase.CONVERGED, "", "", plan)
        else:
            text = f"rolled back from revision {back_from.version.revision} ({back_from.why})"
            hint = "change the file, or use infra rollout resume to try the declared version again"
            self._finish(course, Phase.ROLLED_BACK, text, hint, plan)

    def _fail_version(self, course: Course, tick: Tick, reason: str, now: float) -> None:
        """Note that the declared version failed. The next tick goes back, or shows that it is stopped."""
        versions = self.versions
        versions.began(course.group)
        goes_back = versions.has_way_back(course.group) and _rolls_back(course.group)
        versions.failed(course.group, reason)
        if goes_back:
            self._tell(course, EventKind.ROLLBACK, f"{reason}; going back to the last good version")
        course.status = GroupStatus(Phase.WORKING, reason, plan=tick.plan)
        course.best, course.best_at = None, now
        course.due = now

    def _go_on(self, course: Course, tick: Tick, now: float) -> None:
        plan, failures = tick.plan, tick.execution.failures
        final = [error for _, error in failures if not error.retryable]
        doing = [action.reason for action in plan.actions[:1]]
        waits = [wait.reason for wait in plan.waits]
        reason = "; ".join([*(str(error) for _, error in failures[:1]), *waits] or doing)
        course.status = GroupStatus(Phase.WORKING, reason, plan=plan)
        deadline = course.group.desired.rollout.progress_deadline_seconds
        if any(isinstance(error, ImageMissing) for _, error in failures):
            self.doubt_published()
        if final and not tick.execution.done:
            self._finish(course, Phase.FAILED, str(final[0]), final[0].hint or "", plan)
        elif now - course.best_at >= deadline:
            text = f"no progress for {format_duration(deadline)}: {reason or 'nothing changes'}"
            rolling = plan.progress.phase is RolloutPhase.ROLLING and tick.target.back_from is None
            if rolling and (tick.target.group.desired.unproven or plan.outdated):
                self._fail_version(course, tick, text, now)
            else:
                self._finish(course, Phase.FAILED, text, "rollout.progress_deadline says how long to wait", plan)
        elif failures and not all(_goes_on_at_once(error) for _, error in failures):
            course.attempt += 1
            course.due = now + back_off_seconds(self.chance, course.attempt, failures[0][1])
        elif (tick.execution.done or failures) and tick.execution.more_at <= now:
            course.attempt = 0
            course.due = now
        elif tick.execution.more_at > now:
            course.attempt = 0
            course.due = min(tick.execution.more_at, now + course.patience.limited())
        else:
            course.attempt = 0
            until = [wait.until for wait in plan.waits if wait.until is not None and wait.until > now]
            soon = min(now + course.patience.next(), now + course.interval_seconds)
            course.due = min([soon, *until])
            course.at_deadline = course.due < soon  # nobody is condemned by what was seen before their time was up

    def _note_progress(self, course: Course, tick: Tick, now: float, *, held_back: bool) -> None:
        """Fewer outdated, more ready, fewer in all, an image published: any of these is progress.

        Time spent waiting for other groups, a window, a bake, a pause or a provider's limits does not count, nor does
        draining, which has its own deadline.
        """
        plan = tick.plan
        tally = plan.tally
        score = (-tally.outdated, tally.current_ready, -tally.members)
        best = course.best or score
        course.best = tuple(map(max, best, score))
        published = tick.execution.done > 0 and any(isinstance(action, Publish) for action in plan.actions)
        draining = any(a.condition is MemberCondition.DRAINING for a in plan.members)
        meant = plan.progress.phase in _NOT_STUCK or tick.execution.more_at > now
        if held_back or published or draining or meant or course.best != best:
            course.best_at = now

    def _finish(self, course: Course, phase: Phase, reason: str, hint: str, plan: GroupPlan | None) -> None:
        before = course.status
        course.status = GroupStatus(phase, reason, hint, plan)
        course.due = inf
        if self.endless:
            seconds = self._retry_seconds(course) if is_bad(phase) else course.idle_seconds
            course.due = self.clock.now() + seconds
        if (before.phase, before.reason) != (phase, reason):
            text = f"{reason} ({hint})" if hint else reason or _summary(plan)
            self._tell(course, _EVENTS[phase], text)

    def _retry_seconds(self, course: Course) -> float:
        course.attempt += 1
        return back_off_seconds(self.chance, course.attempt + 3, None)

    def _tell(self, course: Course, kind: EventKind, text: str) -> None:
        attempt(partial(self.listener, Event(self.clock.now(), kind, course.group.name, text)))


_EVENTS: Final = {
    Phase.CONVERGED: EventKind.CONVERGED,
    Phase.ROLLED_BACK: EventKind.CONVERGED,
    Phase.BLOCKED: EventKind.BLOCKED,
    Phase.STOPPED: EventKind.STOPPED,
    Phase.FAILED: EventKind.FAILED,
}
_NOT_STUCK: Final = (RolloutPhase.BAKING, RolloutPhase.PAUSED, RolloutPhase.OUTSIDE_WINDOW)


def _only_paused(plan: GroupPlan) -> bool:
    """Tell whether there is nothing to wait for but a person who lifts the pause."""
    return plan.progress.phase is RolloutPhase.PAUSED and not plan.actions and len(plan.waits) == 1


def _goes_on_at_once(error: ProviderError) -> bool:
    """Tell whether the next try is another one: with the next token, or in another zone or of another type."""
    return isinstance(error, TokenSpent) or (isinstance(error, NoCapacity) and error.elsewhere)


def _rolls_back(group: Group) -> bool:
    return group.spec is not None and group.spec.rollout.on_failure is OnFailure.ROLLBACK


def _ready(assessed: Assessed) -> bool:
    return assessed.condition is MemberCondition.READY


def _summary(plan: GroupPlan | None) -> str:
    if plan is None or not plan.bounds.count:
        return "nothing there"
    return f"{plan.ready} of {plan.bounds.count} ready"
