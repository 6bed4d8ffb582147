"""The engine as a step function: run what is due, say when to come back.

A thin loop drives it with threads in production; a simulation drives the very same code inline, in virtual
time. Each group has its own due time, back-off and fate, so none starves another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from math import inf
from random import Random
from threading import Condition
from typing import Final

from infrakit_py.clock import Clock
from infrakit_py.engine.cluster import Cluster, Group
from infrakit_py.engine.events import Event, EventKind, Listener
from infrakit_py.engine.execute import attempt
from infrakit_py.engine.observe import Observation
from infrakit_py.engine.patience import Patience
from infrakit_py.engine.reconcile import Reconciler, Tick
from infrakit_py.engine.retry import back_off_seconds, is_retryable
from infrakit_py.engine.runner import Runner
from infrakit_py.errors import ImageMissing, InfrakitError, NoCapacity, ProviderError, TokenSpent
from infrakit_py.model.plan import Assessed, GroupPlan, Publish, RolloutPhase
from infrakit_py.model.plan import Condition as MemberCondition
from infrakit_py.model.quantities import format_duration
from infrakit_py.model.spec import OnFailure

_IDLE_SECONDS: Final = 30.0
"""How often a controller looks at a group that has nothing to do, if nobody checks its health more often."""
_LONGEST_SLEEP_SECONDS: Final = 3600.0


class Phase(StrEnum):
    WORKING = "working"
    CONVERGED = "converged"
    BLOCKED = "blocked"
    STOPPED = "stopped"
    """Its rollout waits for a person."""
    ROLLED_BACK = "rolled back"
    """All is well, with the version before the declared one."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """Where a group stands. `reason` says why it is blocked or failed, or what it waits for."""

    phase: Phase
    reason: str = ""
    hint: str = ""
    plan: GroupPlan | None = None


@dataclass(slots=True)
class _State:
    group: Group
    patience: Patience
    due: float = -inf
    running: bool = False
    acted_turn: int = 0
    fresh_after: int = 0
    attempt: int = 0
    blind: bool = False
    at_deadline: bool = False
    status: GroupStatus = GroupStatus(Phase.WORKING)
    best: tuple[int, ...] | None = None
    best_at: float = 0.0


class Engine:
    """Drives all groups of one cluster to what is wanted."""

    def __init__(
        self,
        cluster: Cluster,
        reconciler: Reconciler,
        runner: Runner,
        clock: Clock,
        listener: Listener,
        *,
        poll_seconds: float,
        chance: Random | None = None,
        endless: bool = False,
    ) -> None:
        """`poll_seconds`: how often a group that waits is looked at; events make it sooner.

        `chance` spreads what is tried again. `endless`: groups that have settled are looked at again for ever.
        """
        self._cluster = cluster
        self._reconciler = reconciler
        self._runner = runner
        self._clock = clock
        self._listener = listener
        self._poll_seconds = poll_seconds
        self._chance = chance if chance is not None else Random()
        self._endless = endless
        self._changed = Condition()
        self._news = False
        self._states = {
            name: _State(group, Patience(poll_seconds), best_at=clock.now()) for name, group in cluster.groups.items()
        }

    def step(self) -> float:
        """Begin the ticks that are due; return the instant of the next one, or infinity."""
        now = self._clock.now()
        with self._changed:
            self._news = False
            due = [s for s in self._states.values() if not s.running and s.due <= now and not self._is_over(s)]
            for state in due:
                state.running = True
        for state in due:
            self._runner.start(partial(self._tick, state))
        with self._changed:
            waiting = [s.due for s in self._states.values() if not s.running and not self._is_over(s)]
            return min(waiting, default=inf)

    def wait(self, until: float) -> None:
        """Return at `until`, or earlier when a tick has ended or something was seen to change since the last step."""
        with self._changed:
            seconds = until - self._clock.now()
            if seconds > 0 and not self._news:
                self._clock.wait(self._changed, min(seconds, _LONGEST_SLEEP_SECONDS))
            self._news = False

    def wake(self) -> None:
        """Look at every group at once: something may have changed. Called from any thread."""
        turn = self._reconciler.observer.turn()
        with self._changed:
            for state in self._states.values():
                state.due = min(state.due, self._clock.now())
                state.fresh_after = turn
                state.patience.reset()
            self._announce()

    def interrupt(self) -> None:
        """Begin no further call. Ticks that run end after their present one."""
        self._reconciler.executor.stop.set()
        with self._changed:
            self._announce()

    @property
    def idle(self) -> bool:
        with self._changed:
            return not any(state.running for state in self._states.values())

    @property
    def settled(self) -> bool:
        """Tell whether every group has converged, or will not without a person."""
        with self._changed:
            return all(not s.running and s.status.phase is not Phase.WORKING for s in self._states.values())

    def statuses(self) -> Mapping[str, GroupStatus]:
        """Return where each group stands. Takes no lock: who shows it may be the listener that a tick waits for."""
        return {name: state.status for name, state in self._states.items()}

    def _tick(self, state: _State) -> None:
        """Run a tick, and end it whatever becomes of it: a group that seemed to run for ever would hang all."""
        failure: object = ProviderError("a tick ended in an error that could not even be reported")
        try:
            failure = attempt(partial(self._tick_once, state))
        finally:
            with self._changed:
                if isinstance(failure, InfrakitError):
                    self._finish(state, Phase.FAILED, str(failure), failure.hint or "", state.status.plan)
                state.running = False
                self._announce()

    def _tick_once(self, state: _State) -> None:
        waits_for, hopeless = self._dependencies(state)
        with self._changed:
            woken_before = state.fresh_after
            if state.status.phase in _AT_REST:
                state.best, state.best_at = None, self._clock.now()
        result = attempt(
            lambda: self._reconciler.tick(
                state.group,
                after_turn=max(state.acted_turn, woken_before),
                max_age_seconds=0.0 if state.at_deadline else self._poll_seconds / 2,
                waits_for=waits_for,
                decided=partial(self._tell_news, state),
            )
        )
        now = self._clock.now()
        with self._changed:
            if isinstance(result, InfrakitError):
                self._note_error(state, result, now)
            else:
                self._note_tick(state, result, now, waits_for, hopeless, woken=state.fresh_after != woken_before)

    def _announce(self) -> None:
        self._news = True
        self._changed.notify_all()

    def _dependencies(self, state: _State) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the groups that must settle first, and those among them that never will."""
        with self._changed:
            names = self._cluster.after.get(state.group.name, ())
            phases = {name: self._states[name].status.phase for name in names if name in self._states}
        unsettled = tuple(name for name, phase in phases.items() if phase not in (Phase.CONVERGED, Phase.ROLLED_BACK))
        hopeless = (Phase.BLOCKED, Phase.STOPPED, Phase.FAILED)
        return unsettled, tuple(name for name in unsettled if phases[name] in hopeless)

    def _note_error(self, state: _State, error: InfrakitError, now: float) -> None:
        state.blind = True
        if is_retryable(error) and now - state.best_at < state.group.desired.rollout.progress_deadline_seconds:
            state.attempt += 1
            cause = error if isinstance(error, ProviderError) else None
            state.due = now + back_off_seconds(self._chance, state.attempt, cause)
            state.status = GroupStatus(Phase.WORKING, str(error), error.hint or "", state.status.plan)
            self._tell(state, EventKind.RETRY, f"{error}; trying again")
        else:
            self._finish(state, Phase.FAILED, str(error), error.hint or "", state.status.plan)

    def _note_tick(
        self,
        state: _State,
        tick: Tick,
        now: float,
        waits_for: tuple[str, ...],
        hopeless: tuple[str, ...],
        *,
        woken: bool,
    ) -> None:
        plan = tick.plan
        state.acted_turn = tick.acted_turn
        state.at_deadline = False
        if state.blind:  # time in which nothing could be seen is no lack of progress
            state.blind, state.best_at = False, now
        if plan.actions:
            state.patience.reset()
        self._note_progress(state, tick, now, held_back=bool(waits_for))
        if plan.block is not None:
            self._finish(state, Phase.BLOCKED, plan.block.reason, plan.block.hint, plan)
        elif plan.failure and tick.target.back_from is None and not tick.target.group.desired.stopped:
            self._fail_version(state, tick, plan.failure, now)
        elif woken and not plan.actions:
            # Something changed after the listing that this plan is from.
            if not (self._endless and plan.converged and state.status.phase in _AT_REST):
                state.status = GroupStatus(Phase.WORKING, plan=plan)
            state.due = now
        elif plan.converged:
            self._settle(state, tick, plan)
        elif plan.stopped and not plan.actions and not plan.waits:
            hint = "change the file, or use infra rollout undo or infra rollout resume"
            self._finish(state, Phase.STOPPED, f"the rollout is stopped: {plan.progress.reason}", hint, plan)
        elif _only_paused(plan):
            hint = "infra rollout resume, or rollout.paused in the file"
            self._finish(state, Phase.STOPPED, plan.waits[0].reason, hint, plan)
        elif hopeless:
            self._finish(state, Phase.BLOCKED, f"waits for {', '.join(hopeless)}, which did not converge", "", plan)
        else:
            self._go_on(state, tick, now)

    def _settle(self, state: _State, tick: Tick, plan: GroupPlan) -> None:
        state.attempt = 0
        back_from = tick.target.back_from
        if back_from is None:
            self._reconciler.versions.completed(state.group)
            self._finish(state, Phase.CONVERGED, "", "", plan)
        else:
            text = f"rolled back from revision {back_from.version.revision} ({back_from.why})"
            hint = "change the file, or use infra rollout resume to try the declared version again"
            self._finish(state, Phase.ROLLED_BACK, text, hint, plan)

    def _fail_version(self, state: _State, tick: Tick, reason: str, now: float) -> None:
        """Note that the declared version failed. The next tick goes back, or shows that it is stopped."""
        versions = self._reconciler.versions
        versions.began(state.group)
        goes_back = versions.has_way_back(state.group) and _rolls_back(state.group)
        versions.failed(state.group, reason)
        if goes_back:
            self._tell(state, EventKind.ROLLBACK, f"{reason}; going back to the last good version")
        state.status = GroupStatus(Phase.WORKING, reason, plan=tick.plan)
        state.best, state.best_at = None, now
        state.due = now

    def _go_on(self, state: _State, tick: Tick, now: float) -> None:
        plan, failures = tick.plan, tick.execution.failures
        final = [error for _, error in failures if not error.retryable]
        doing = [action.reason for action in plan.actions[:1]]
        waits = [wait.reason for wait in plan.waits]
        reason = "; ".join([*(str(error) for _, error in failures[:1]), *waits] or doing)
        state.status = GroupStatus(Phase.WORKING, reason, plan=plan)
        deadline = state.group.desired.rollout.progress_deadline_seconds
        if any(isinstance(error, ImageMissing) for _, error in failures):
            self._reconciler.observer.doubt_published()
        if final and not tick.execution.done:
            self._finish(state, Phase.FAILED, str(final[0]), final[0].hint or "", plan)
        elif now - state.best_at >= deadline:
            text = f"no progress for {format_duration(deadline)}: {reason or 'nothing changes'}"
            rolling = plan.progress.phase is RolloutPhase.ROLLING and tick.target.back_from is None
            if rolling and (tick.target.group.desired.unproven or plan.outdated):
                self._fail_version(state, tick, text, now)
            else:
                self._finish(state, Phase.FAILED, text, "rollout.progress_deadline says how long to wait", plan)
        elif failures and not all(_goes_on_at_once(error) for _, error in failures):
            state.attempt += 1
            state.due = now + back_off_seconds(self._chance, state.attempt, failures[0][1])
        elif (tick.execution.done or failures) and tick.execution.more_at <= now:
            state.attempt = 0
            state.due = now
        elif tick.execution.more_at > now:
            state.attempt = 0
            state.due = min(tick.execution.more_at, now + state.patience.limited())
        else:
            state.attempt = 0
            until = [wait.until for wait in plan.waits if wait.until is not None and wait.until > now]
            interval = state.group.spec.health.interval_seconds if state.group.spec is not None else inf
            soon = min(now + state.patience.next(), now + interval)
            state.due = min([soon, *until])
            state.at_deadline = state.due < soon  # nobody is condemned by what was seen before their time was up

    def _note_progress(self, state: _State, tick: Tick, now: float, *, held_back: bool) -> None:
        """Fewer outdated, more ready, fewer in all, an image published: any of these is progress.

        Time spent waiting for other groups, a window, a bake, a pause or a provider's limits does not count, nor does
        draining, which has its own deadline.
        """
        plan = tick.plan
        tally = plan.tally
        score = (-tally.outdated, tally.current_ready, -tally.members)
        best = state.best or score
        state.best = tuple(map(max, best, score))
        published = tick.execution.done > 0 and any(isinstance(action, Publish) for action in plan.actions)
        draining = any(a.condition is MemberCondition.DRAINING for a in plan.members)
        meant = plan.progress.phase in _NOT_STUCK or tick.execution.more_at > now
        if held_back or published or draining or meant or state.best != best:
            state.best_at = now

    def _finish(self, state: _State, phase: Phase, reason: str, hint: str, plan: GroupPlan | None) -> None:
        before = state.status
        state.status = GroupStatus(phase, reason, hint, plan)
        state.due = inf
        if self._endless:
            interval = state.group.spec.health.interval_seconds if state.group.spec is not None else inf
            state.due = self._clock.now() + (
                self._retry_seconds(state) if _is_bad(phase) else min(_IDLE_SECONDS, interval)
            )
        if (before.phase, before.reason) != (phase, reason):
            text = f"{reason} ({hint})" if hint else reason or _summary(plan)
            self._tell(state, _EVENTS[phase], text)

    def _retry_seconds(self, state: _State) -> float:
        state.attempt += 1
        return back_off_seconds(self._chance, state.attempt + 3, None)

    def _is_over(self, state: _State) -> bool:
        return not self._endless and _is_bad(state.status.phase)

    def _tell_news(self, state: _State, plan: GroupPlan, observation: Observation) -> None:
        before = state.status.plan
        was_ready = {a.member.id for a in before.members if _ready(a)} if before is not None else None
        for assessed in plan.members:
            if _ready(assessed) and was_ready is not None and assessed.member.id not in was_ready:
                self._tell(state, EventKind.READY, assessed.member.name)
        for complaint in observation.complaints:
            self._tell(state, EventKind.RETRY, complaint)
        old_waits = {wait.reason for wait in before.waits} if before is not None else set()
        for wait in plan.waits:
            if wait.reason not in old_waits:
                self._tell(state, EventKind.WAITING, wait.reason)

    def _tell(self, state: _State, kind: EventKind, text: str) -> None:
        attempt(partial(self._listener, Event(self._clock.now(), kind, state.group.name, text)))


_EVENTS: Final = {
    Phase.CONVERGED: EventKind.CONVERGED,
    Phase.ROLLED_BACK: EventKind.CONVERGED,
    Phase.BLOCKED: EventKind.BLOCKED,
    Phase.STOPPED: EventKind.STOPPED,
    Phase.FAILED: EventKind.FAILED,
}


def _only_paused(plan: GroupPlan) -> bool:
    """Tell whether there is nothing to wait for but a person who lifts the pause."""
    return plan.progress.phase is RolloutPhase.PAUSED and not plan.actions and len(plan.waits) == 1


def _is_bad(phase: Phase) -> bool:
    return phase in (Phase.BLOCKED, Phase.FAILED)


def _goes_on_at_once(error: ProviderError) -> bool:
    """Tell whether the next try is another one: with the next token, or in another zone or of another type."""
    return isinstance(error, TokenSpent) or (isinstance(error, NoCapacity) and error.elsewhere)


def _rolls_back(group: Group) -> bool:
    return group.spec is not None and group.spec.rollout.on_failure is OnFailure.ROLLBACK


_AT_REST: Final = (Phase.CONVERGED, Phase.ROLLED_BACK, Phase.STOPPED)
_NOT_STUCK: Final = (RolloutPhase.BAKING, RolloutPhase.PAUSED, RolloutPhase.OUTSIDE_WINDOW)


def _ready(assessed: Assessed) -> bool:
    return assessed.condition is MemberCondition.READY


def _summary(plan: GroupPlan | None) -> str:
    if plan is None or not plan.bounds.count:
        return "nothing there"
    return f"{plan.ready} of {plan.bounds.count} ready"
