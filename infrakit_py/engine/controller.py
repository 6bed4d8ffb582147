"""The loop around the step function that `infra controller` runs: for ever, or until something else is wanted.

One thread keeps one cluster. It knows no files and no plugins: it is told a task, and how to open it.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from math import inf
from random import Random
from threading import Event as Flag
from typing import Final, TypeAlias

from infrakit_py.clock import Clock
from infrakit_py.engine.engine import Engine, GroupStatus
from infrakit_py.engine.events import Event, EventKind, Listener
from infrakit_py.engine.execute import attempt
from infrakit_py.engine.retry import back_off_seconds
from infrakit_py.engine.runner import Runner
from infrakit_py.errors import InfrakitError
from infrakit_py.model.spec import ClusterSpec, Json

_LOOK_SECONDS: Final = 0.5
"""How soon a stop or another spec is noticed."""
_ALL_GROUPS: Final = "-"


@dataclass(frozen=True, slots=True)
class Task:
    """What a cluster shall be: as a spec declares, or, to `prune` it, nothing. `revision` numbers the spec."""

    spec: ClusterSpec
    revision: int = 0
    prune: bool = False
    declared_by: str = ""
    """What people call whoever declares it, where that is not the spec's file."""

    @property
    def place(self) -> str:
        return self.declared_by or self.spec.source


@dataclass(frozen=True, slots=True)
class Opened:
    """A cluster opened to be kept as declared.

    `shows_more` asks whether it would show more if it were opened anew: a provider that could not be opened, or a
    group that nobody declares and that was not seen. `document` describes a group by its status, for programs.
    `finish` ends a task that has an end, once the engine has settled; InfrakitError where it has not come to it.
    """

    engine: Engine
    runner: Runner
    shows_more: Callable[[], bool]
    document: Callable[[str, GroupStatus], Json]
    finish: Callable[[], None] | None = None


Opener: TypeAlias = Callable[[Task], AbstractContextManager[Opened]]


class Keeper:
    """Keeps one cluster as its task says. `run` is a thread's whole life; the rest is called from others."""

    def __init__(self, task: Task, opener: Opener, clock: Clock, listener: Listener, chance: Random) -> None:
        self._task = task
        self._opener = opener
        self._clock = clock
        self._listener = listener
        self._chance = chance
        self._stop = Flag()
        self._opened: Opened | None = None
        self.ended: Task | None = None
        """The task that has come to its end, and `run` with it."""

    @property
    def task(self) -> Task:
        return self._task

    def change(self, task: Task) -> None:
        """Take up another task. Calls that run end first."""
        self._task = task
        self._interrupt()

    def wake(self) -> None:
        """Look at every group at once."""
        opened = self._opened
        if opened is not None:
            opened.engine.wake()

    def stop(self) -> None:
        """Begin nothing more. `run` returns when the calls that run have ended."""
        self._stop.set()
        self._interrupt()

    def statuses(self) -> Mapping[str, GroupStatus]:
        """Return where each group stands; nothing while the cluster is being opened."""
        opened = self._opened
        return opened.engine.statuses() if opened is not None else {}

    def document(self, group: str, status: GroupStatus) -> Json:
        """Describe a group by its status; nothing while the cluster is being opened."""
        opened = self._opened
        return opened.document(group, status) if opened is not None else None

    def run(self) -> None:
        """Open the cluster and keep it, anew for each task, and again after a while where it cannot be opened.

        Ends at a stop, or with a task that has an end.
        """
        survey = _Survey(self._clock, self._chance)
        failures = 0
        while not self._stop.is_set():
            task = self._task
            failure = attempt(partial(self._keep, task, survey))
            if isinstance(failure, InfrakitError):
                failures += 1
                seconds = back_off_seconds(self._chance, failures, None)
                self._tell(f"{failure}; trying again" + (f" ({failure.hint})" if failure.hint else ""))
                self._rest(seconds, task)
            elif failure is True and self._task is task:
                self.ended = task
                return
            else:
                failures = 0

    def _keep(self, task: Task, survey: "_Survey") -> bool:
        """Keep the cluster until something else is wanted. Return whether the task has come to its end."""
        with self._opener(task) as opened:
            self._opened = opened
            try:
                survey.begin(opened)
                ends = opened.finish is not None
                keep(
                    opened.engine,
                    self._clock,
                    over=lambda: self._is_over(task) or survey.found() or (ends and opened.engine.settled),
                )
                if opened.finish is None or self._is_over(task) or not opened.engine.settled:
                    return False
                opened.finish()
                return True
            finally:
                self._opened = None

    def _is_over(self, task: Task) -> bool:
        return self._stop.is_set() or self._task is not task

    def _rest(self, seconds: float, task: Task) -> None:
        until = self._clock.now() + seconds
        while self._clock.now() < until and not self._is_over(task):
            self._clock.sleep(_LOOK_SECONDS)

    def _interrupt(self) -> None:
        opened = self._opened
        if opened is not None:
            opened.engine.interrupt()

    def _tell(self, text: str) -> None:
        attempt(partial(self._listener, Event(self._clock.now(), EventKind.RETRY, _ALL_GROUPS, text)))


def keep(engine: Engine, clock: Clock, *, over: Callable[[], bool]) -> None:
    """Step until `over`, which is asked a few times a second; then wait only for the calls already begun."""
    try:
        while not over():
            next_due = engine.step()
            engine.wait(min(next_due, clock.now() + _LOOK_SECONDS))
    finally:
        engine.interrupt()
        while not engine.idle:
            engine.wait(clock.now() + 1.0)


class _Survey:
    """Looks whether a cluster would show more if it were opened anew: beside the work, and ever more seldom.

    It outlives the openings, so that a provider that opens and fails by turns does not have them follow each other
    without a pause.
    """

    def __init__(self, clock: Clock, chance: Random) -> None:
        self._clock = clock
        self._chance = chance
        self._attempt = 0
        self._due = inf
        self._found = False
        self._opened: Opened | None = None

    def begin(self, opened: Opened) -> None:
        self._opened = opened
        self._found = False
        self._plan()

    def found(self) -> bool:
        """Tell whether more was found, and begin to look if it is time."""
        if self._opened is not None and self._clock.now() >= self._due:
            self._due = inf
            self._opened.runner.start(partial(self._look, self._opened))
        return self._found

    def _look(self, opened: Opened) -> None:
        self._found = attempt(opened.shows_more) is True
        self._plan()

    def _plan(self) -> None:
        self._attempt += 1
        self._due = self._clock.now() + back_off_seconds(self._chance, self._attempt, None)
