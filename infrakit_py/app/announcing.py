"""What happens, told to all who want to hear it: a terminal, the store, an audit log, counters.

Whoever tells is in the middle of its work: nobody who hears makes it wait for long, and none of their errors reaches
it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from threading import Condition, Thread
from typing import Final, TypeAlias

from infrakit_py.clock import Clock
from infrakit_py.engine.events import Event, Listener
from infrakit_py.engine.execute import attempt
from infrakit_py.errors import InfrakitError
from infrakit_py.model.declared import Occurrence
from infrakit_py.spi.store import Store

ALL_GROUPS: Final = "-"
_WAITING: Final = 10_000
"""Occurrences that wait for a store which does not answer; the oldest go."""
_BATCH: Final = 500
_AWAY: Final = 3
"""Refusals in a row by which a store is taken to be away."""
_PAUSE_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 5.0

Hears: TypeAlias = Callable[[Occurrence], None]


class Announcer:
    """Tells what happens to whoever hears it. Safe for threads."""

    def __init__(self, clock: Clock, actor: str, hears: Sequence[Hears]) -> None:
        """`actor`: who does it where nobody else is named."""
        self._clock = clock
        self._actor = actor
        self._hears = tuple(hears)

    def tell(self, occurrence: Occurrence) -> None:
        text = occurrence.text.encode(errors="replace").decode()  # file names need be no UTF-8
        occurrence = replace(occurrence, text=text)
        for hear in self._hears:
            attempt(partial(hear, occurrence))

    def say(self, cluster: str, kind: str, text: str, *, revision: int = 0, actor: str = "") -> None:
        """Tell what happens to a whole cluster, or ("-") to the controller."""
        actor = actor or self._actor
        self.tell(Occurrence(self._clock.now(), cluster, ALL_GROUPS, kind, text, revision, actor))

    def listener(self, cluster: str, revision: Callable[[], int]) -> Listener:
        """Return who hears of a cluster's events. `revision` tells which one is kept now."""

        def tell(event: Event) -> None:
            what = (event.group, event.kind.value, event.text, revision(), self._actor, event.fields)
            self.tell(Occurrence(event.at, cluster, *what))

        return tell


class StoreWriter:
    """Writes what happens to the store, beside the work and many at once. `stop` writes what is left."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: deque[Occurrence] = deque(maxlen=_WAITING)
        self._changed = Condition()
        self._refused_in_a_row = 0
        self._over = False
        self._thread = Thread(target=self._run, name="write-occurrences", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def hear(self, occurrence: Occurrence) -> None:
        with self._changed:
            self._waiting.append(occurrence)

    def stop(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while not self._over:
            with self._changed:
                self._changed.wait(_PAUSE_SECONDS)
            if not self._write_all() and not self._over:
                with self._changed:
                    self._changed.wait(_RETRY_SECONDS)
        self._write_all()

    def _write_all(self) -> bool:
        """Write what waits. What could not be written waits on, and False is returned."""
        while True:
            with self._changed:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            if not batch:
                return True
            if isinstance(attempt(partial(self._store.note_occurrences, batch)), InfrakitError):
                left = self._write_each(batch)
                if not left:
                    continue
                with self._changed:
                    room = _WAITING - len(self._waiting)
                    self._waiting.extendleft(reversed(left[-room:] if room else ()))
                return False

    def _write_each(self, batch: Sequence[Occurrence]) -> Sequence[Occurrence]:
        """Write one by one, and drop what the store refuses; or return all of it where the store is away."""
        for count, one in enumerate(batch):
            failed = isinstance(attempt(partial(self._store.note_occurrences, [one])), InfrakitError)
            self._refused_in_a_row = self._refused_in_a_row + 1 if failed else 0
            if self._refused_in_a_row >= _AWAY:
                self._refused_in_a_row = 0
                return batch[max(0, count + 1 - _AWAY) :]
        return ()
