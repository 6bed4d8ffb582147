"""The engine as a step function: run what is due, say when to come back.

A thin loop drives it with threads in production; a simulation drives the very same code inline, in virtual
time. Each group has its own due time, back-off and fate, so none starves another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from math import inf
from threading import Condition
from typing import Final

from infrakit_py.clock import Clock
from infrakit_py.engine.cluster import Cluster, Group
from infrakit_py.engine.events import Event, EventKind, Listener
from infrakit_py.engine.execute import attempt
from infrakit_py.engine.observe import Observation
from infrakit_py.engine.reconcile import Reconciler, Tick
from infrakit_py.engine.retry import back_off_seconds, is_retryable
from infrakit_py.engine.runner import Runner
from infrakit_py.errors import InfrakitError, ProviderError, TokenSpent
from infrakit_py.model.plan import Assessed, GroupPlan, Publish, Version
from infrakit_py.model.plan import Condition as MemberCondition
from infrakit_py.model.quantities import format_duration

_SOON_SECONDS: Final = 0.05
"""How long a group that has only just acted is left alone, so that a pending change may show."""
_LONGEST_SLEEP_SECONDS: Final = 3600.0


class Phase(StrEnum):
    WORKING = "working"
    CONVERGED = "converged"
    BLOCKED = "blocked"
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
    due: float = -inf
    running: bool = False
    acted_turn: int = 0
    fresh_after: int = 0
    attempt: int = 0
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
    ) -> None:
        """`poll_seconds`: how often a group that waits is looked at; events make it sooner."""
        self._cluster = cluster
        self._reconciler = reconciler
        self._runner = runner
        self._clock = clock
        self._listener = listener
        self._poll_seconds = poll_seconds
        self._changed = Condition()
        self._news = False
        self._states = {name: _State(group, best_at=clock.now()) for name, group in cluster.groups.items()}

    def step(self) -> float:
        """Begin the ticks that are due; return the instant of the next one, or infinity."""
        now = self._clock.now()
        with self._changed:
            self._news = False
            due = [s for s in self._states.values() if not s.running and s.due <= now and not _is_final(s)]
            for state in due:
                state.running = True
        for state in due:
            self._runner.start(partial(self._tick, state))
        with self._changed:
            waiting = [s.due for s in self._states.values() if not s.running and not _is_final(s)]
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
                    state.status = GroupStatus(Phase.FAILED, str(failure), failure.hint or "", state.status.plan)
                state.running = False
                self._announce()

    def _tick_once(self, state: _State) -> None:
        waits_for, hopeless = self._dependencies(state)
        with self._changed:
            woken_before = state.fresh_after
            if state.status.phase is Phase.CONVERGED:
                state.best, state.best_at = None, self._clock.now()
        result = attempt(
            lambda: self._reconciler.tick(
                state.group,
                after_turn=max(state.acted_turn, woken_before),
                max_age_seconds=self._poll_seconds / 2,
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
        unsettled = tuple(name for name, phase in phases.items() if phase is not Phase.CONVERGED)
        return unsettled, tuple(name for name in unsettled if phases[name] in (Phase.BLOCKED, Phase.FAILED))

    def _note_error(self, state: _State, error: InfrakitError, now: float) -> None:
        if is_retryable(error) and now - state.best_at < state.group.desired.rollout.progress_deadline_seconds:
            state.attempt += 1
            state.due = now + back_off_seconds(state.attempt, error if isinstance(error, ProviderError) else None)
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
        self._note_progress(state, tick, now, held_back=bool(waits_for))
        if plan.block is not None:
            self._finish(state, Phase.BLOCKED, plan.block.reason, plan.block.hint, plan)
        elif woken and not plan.actions:
            # Something changed after the listing that this plan is from.
            state.status = GroupStatus(Phase.WORKING, plan=plan)
            state.due = now
        elif plan.converged:
            state.attempt = 0
            if state.status.phase is not Phase.CONVERGED:
                self._finish(state, Phase.CONVERGED, "", "", plan)
            state.due = inf
        elif hopeless:
            self._finish(state, Phase.BLOCKED, f"waits for {', '.join(hopeless)}, which did not converge", "", plan)
        else:
            self._go_on(state, tick, now)

    def _go_on(self, state: _State, tick: Tick, now: float) -> None:
        plan, failures = tick.plan, tick.execution.failures
        final = [error for _, error in failures if not error.retryable]
        doing = [action.reason for action in plan.actions[:1]]
        waits = [wait.reason for wait in plan.waits]
        reason = "; ".join([*(str(error) for _, error in failures[:1]), *waits] or doing)
        state.status = GroupStatus(Phase.WORKING, reason, plan=plan)
        deadline = state.group.desired.rollout.progress_deadline_seconds
        if final and not tick.execution.done:
            self._finish(state, Phase.FAILED, str(final[0]), final[0].hint or "", plan)
        elif now - state.best_at >= deadline:
            text = f"no progress for {format_duration(deadline)}: {reason or 'nothing changes'}"
            self._finish(state, Phase.FAILED, text, "rollout.progress_deadline says how long to wait", plan)
        elif failures and not all(isinstance(error, TokenSpent) for _, error in failures):
            state.attempt += 1
            state.due = now + back_off_seconds(state.attempt, failures[0][1])
        elif tick.execution.done or failures:
            state.attempt = 0
            state.due = now + _SOON_SECONDS
        else:
            state.attempt = 0
            until = [wait.until for wait in plan.waits if wait.until is not None and wait.until > now]
            interval = state.group.spec.health.interval_seconds if state.group.spec is not None else inf
            state.due = min([now + self._poll_seconds, now + interval, *until])

    def _note_progress(self, state: _State, tick: Tick, now: float, *, held_back: bool) -> None:
        """Fewer outdated, more ready, fewer in all, an image published: any of these is progress.

        Time that is spent waiting for other groups does not count, nor does draining, which has its own deadline.
        """
        plan = tick.plan
        ready = sum(a.version is Version.CURRENT and a.condition is MemberCondition.READY for a in plan.members)
        score = (-plan.outdated, ready, -len(plan.members))
        best = state.best or score
        state.best = tuple(map(max, best, score))
        published = tick.execution.done > 0 and any(isinstance(action, Publish) for action in plan.actions)
        draining = any(a.condition is MemberCondition.DRAINING for a in plan.members)
        if held_back or published or draining or state.best != best:
            state.best_at = now

    def _finish(self, state: _State, phase: Phase, reason: str, hint: str, plan: GroupPlan | None) -> None:
        state.status = GroupStatus(phase, reason, hint, plan)
        state.due = inf
        kinds = {
            Phase.CONVERGED: EventKind.CONVERGED,
            Phase.BLOCKED: EventKind.BLOCKED,
            Phase.FAILED: EventKind.FAILED,
        }
        text = f"{reason} ({hint})" if hint else reason or _summary(plan)
        self._tell(state, kinds[phase], text)

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


def _is_final(state: _State) -> bool:
    return state.status.phase in (Phase.BLOCKED, Phase.FAILED)


def _ready(assessed: Assessed) -> bool:
    return assessed.condition is MemberCondition.READY


def _summary(plan: GroupPlan | None) -> str:
    if plan is None or not plan.bounds.count:
        return "nothing there"
    return f"{plan.ready} of {plan.bounds.count} ready"
