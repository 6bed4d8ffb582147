"""The engine as a step function: run what is due, say when to come back.

A thin loop drives it with threads in production; a simulation drives the very same code inline, in virtual
time. Each group has its own due time, back-off and fate, so none starves another.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import inf
from random import Random
from threading import Condition
from typing import Final

from infrakit_py.clock import Clock
from infrakit_py.engine.aftermath import Aftermath, Course
from infrakit_py.engine.agenda import Agenda
from infrakit_py.engine.cluster import Cluster
from infrakit_py.engine.events import Listener
from infrakit_py.engine.execute import attempt
from infrakit_py.engine.meter import Meter, NoMeter
from infrakit_py.engine.patience import Patience
from infrakit_py.engine.phases import AT_REST, GroupStatus, Phase, is_bad
from infrakit_py.engine.reconcile import Reconciler
from infrakit_py.engine.runner import Runner
from infrakit_py.errors import InfrakitError, ProviderError

__all__ = ["Engine", "GroupStatus", "Phase"]

_LONGEST_SLEEP_SECONDS: Final = 3600.0
_INSTANT_SECONDS: Final = 0.001
"""So much younger than its interval a listing must be: who looks once an interval wants a new one each time."""


@dataclass(slots=True)
class _Turn:
    """A group's place in the engine: guarded by its lock, but for the course, which is the running tick's alone.

    Only listings that began after `fresh_after` show what was last heard of; after `acted_turn`, what was last done.
    `seen`: the `fresh_after` that the running tick has gone by.
    """

    course: Course
    running: bool = False
    heard: bool = False
    acted_turn: int = 0
    fresh_after: int = 0
    seen: int = 0


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
        meter: Meter | None = None,
    ) -> None:
        """`poll_seconds`: how often a group that waits is looked at; events make it sooner.

        `chance` spreads what is tried again. `endless`: groups that have settled are looked at again for ever.
        """
        self._cluster = cluster
        self._reconciler = reconciler
        self._runner = runner
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._endless = endless
        self._meter = meter if meter is not None else NoMeter()
        observer = reconciler.observer
        self._aftermath = Aftermath(
            reconciler.versions,
            clock,
            listener,
            chance if chance is not None else Random(),
            endless,
            observer.doubt_published,
        )
        self._changed = Condition()
        self._news = False
        self._interrupted = False
        self._turns = {
            name: _Turn(Course(group, Patience(poll_seconds), best_at=clock.now()))
            for name, group in cluster.groups.items()
        }
        self._agenda = Agenda(self._turns)
        self._planned = -inf
        self._stepped_at = -inf
        if endless:
            observer.attend(self._look_again)

    def step(self) -> float:
        """Begin the ticks that are due; return the instant of the next one, or infinity."""
        now = self._clock.now()
        with self._changed:
            self._news = False
            if now < self._stepped_at:  # a clock that was set back delays nothing
                self._hear(self._turns.values(), 0)
            self._stepped_at = now
            due = [(self._turns[name], at) for name, at in self._agenda.take(now)]
            for turn, _ in due:
                turn.running = True
        for turn, at in due:
            self._runner.start(partial(self._tick, turn, at), turn.course.group.desired.provider)
        with self._changed:
            self._planned = self._agenda.next()
            return self._planned

    def wait(self, until: float) -> None:
        """Return at `until`, or earlier when a tick has ended or something was seen to change since the last step."""
        with self._changed:
            seconds = until - self._clock.now()
            if seconds > 0 and not self._news:
                self._clock.wait(self._changed, min(seconds, _LONGEST_SLEEP_SECONDS))
            self._news = False

    def wake(self) -> None:
        """Look at every group at once: a person may have changed something. Called from any thread."""
        self._reconciler.versions.forget()
        turn = self._reconciler.observer.turn()
        with self._changed:
            self._hear(self._turns.values(), turn)

    def heard(self, provider: str) -> None:
        """List a provider's machines at once: some of them may have changed. Called from any thread.

        Of the groups at rest one makes the listing, and the others are looked at if it shows something new of them.
        """
        listed_after = self._reconciler.observer.turn()
        with self._changed:
            looking = [turn for turn in self._turns.values() if not self._rests(turn)]
            resting = (turn for turn in self._turns.values() if self._rests(turn))
            scouts = (turn for turn in resting if turn.course.group.desired.provider in (provider, ""))
            self._hear([*looking, *islice(scouts, 1)], listed_after)

    def interrupt(self) -> None:
        """Begin no further call. Ticks that run end after their present one."""
        self._reconciler.executor.stop.set()
        with self._changed:
            self._interrupted = True
            self._announce()

    @property
    def idle(self) -> bool:
        with self._changed:
            return not any(turn.running for turn in self._turns.values())

    @property
    def settled(self) -> bool:
        """Tell whether every group has converged, or will not without a person."""
        with self._changed:
            return all(not t.running and t.course.status.phase is not Phase.WORKING for t in self._turns.values())

    def statuses(self) -> Mapping[str, GroupStatus]:
        """Return where each group stands. Takes no lock: who shows it may be the listener that a tick waits for."""
        return {name: turn.course.status for name, turn in self._turns.items()}

    def _look_again(self, groups: Collection[str], listing_turn: int) -> None:
        """Look at once at groups at rest of which a listing that was made for another one shows something new."""
        with self._changed:
            turns = [self._turns[name] for name in groups if name in self._turns]
            self._hear([turn for turn in turns if self._rests(turn)], listing_turn - 1)

    def _hear(self, turns: Collection[_Turn], fresh_after: int) -> None:
        """Look at these at once, by listings that began after `fresh_after`. The caller holds the lock."""
        now = self._clock.now()
        for turn in turns:
            turn.fresh_after = max(turn.fresh_after, fresh_after)
            turn.heard = True
            if not turn.running:
                turn.course.due = min(turn.course.due, now)
                self._plan(turn)
        self._announce()

    def _rests(self, turn: _Turn) -> bool:
        return self._endless and turn.course.status.phase in AT_REST

    def _plan(self, turn: _Turn) -> None:
        if self._endless or not is_bad(turn.course.status.phase):
            self._agenda.put(turn.course.group.name, turn.course.due)

    def _tick(self, turn: _Turn, due: float) -> None:
        """Run a tick, and end it whatever becomes of it: a group that seemed to run for ever would hang all."""
        began = self._clock.now()
        failure: object = ProviderError("a tick ended in an error that could not even be reported")
        try:
            failure = attempt(partial(self._tick_once, turn))
        finally:
            if isinstance(failure, InfrakitError):
                self._aftermath.fails(turn.course, failure)
            self._end(turn)
        seconds, late = self._clock.now() - began, max(0.0, began - due) if due > -inf else 0.0
        attempt(partial(self._meter.ticked, self._cluster.name, turn.course.group.name, seconds, late))

    def _tick_once(self, turn: _Turn) -> None:
        course = turn.course
        waits_for, hopeless = self._dependencies(course)
        with self._changed:
            turn.seen = turn.fresh_after
            if turn.heard:
                turn.heard = False
                course.patience.reset()
        idles = self._endless and course.status.phase in _WELL
        self._aftermath.begins(course)
        result = attempt(
            lambda: self._reconciler.tick(
                course.group,
                after_turn=max(turn.acted_turn, turn.seen),
                max_age_seconds=0.0 if course.at_deadline else self._poll_seconds / 2,
                glance_seconds=course.listed_seconds - _INSTANT_SECONDS if idles else 0.0,
                waits_for=waits_for,
                decided=partial(self._aftermath.news, course),
            )
        )
        now = self._clock.now()
        with self._changed:
            woken = turn.fresh_after != turn.seen
            turn.seen = turn.fresh_after
        if isinstance(result, InfrakitError):
            self._aftermath.of_error(course, result, now)
        else:
            turn.acted_turn = result.acted_turn
            self._aftermath.of_tick(course, result, now, waits_for=waits_for, hopeless=hopeless, woken=woken)

    def _end(self, turn: _Turn) -> None:
        with self._changed:
            if turn.fresh_after != turn.seen:  # heard after the tick had made up its mind
                turn.course.due = min(turn.course.due, self._clock.now())
            turn.running = False
            self._plan(turn)
            if not self._endless or self._interrupted or turn.course.due < self._planned:
                self._announce()

    def _announce(self) -> None:
        self._news = True
        self._changed.notify_all()

    def _dependencies(self, course: Course) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the groups that must settle first, and those among them that never will."""
        names = self._cluster.after.get(course.group.name, ())
        phases = {name: self._turns[name].course.status.phase for name in names if name in self._turns}
        unsettled = tuple(name for name, phase in phases.items() if phase not in _WELL)
        hopeless = (Phase.BLOCKED, Phase.STOPPED, Phase.FAILED)
        return unsettled, tuple(name for name in unsettled if phases[name] in hopeless)


_WELL: Final = (Phase.CONVERGED, Phase.ROLLED_BACK)
