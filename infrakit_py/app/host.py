"""A controller at work: sources taken up, clusters kept, alone or with others. One thread turns it; others only look.

Alone, it keeps what its own source and its API declare, and holds each cluster by a lock of this machine. With
others, one of them reads the source, and each cluster is kept by the one that all of them agree on.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Event as Flag
from threading import Thread
from typing import Final

from infrakit_py.app.announcing import Announcer
from infrakit_py.app.background_builds import Declaration
from infrakit_py.app.intake import Intake
from infrakit_py.clock import Clock
from infrakit_py.engine.controller import Keeper, Task
from infrakit_py.engine.execute import attempt
from infrakit_py.engine.fleet import Fleet, News
from infrakit_py.engine.sharding import owner_of
from infrakit_py.errors import ClusterLocked, InfrakitError, StoreError, UsageError
from infrakit_py.model.declared import Declared, SourceKind
from infrakit_py.spi.claims import ONLOOKER, SOURCE_READER, Claims
from infrakit_py.spi.store import Store

_WAKES: Final = "#"
"""In what a controller announces: between its address and how often it was told to wake who reads the source."""
_TURN_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 1.0
_ALIVE_SECONDS: Final = 60.0
_REREAD_SECONDS: Final = 10.0
"""How soon a source is read again that could not be read to begin with."""


def address_in(announced: str) -> str:
    """Return the address of its API in what a controller announces."""
    return announced.partition(_WAKES)[0]


class _Reading:
    """A source that is read for the first time, in a thread of its own: that may take minutes."""

    def __init__(self, intake: Intake, build: Callable[[Declaration], Declaration]) -> None:
        self.intake = intake
        self.failure: InfrakitError | None = None
        self._build = build
        self._thread = Thread(target=self._run, name="read-source", daemon=True)
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        failure = attempt(partial(self.intake.read, self._build))
        self.failure = failure if isinstance(failure, InfrakitError) else None


class Host:
    """Keeps what is declared. `run` is the life of one thread."""

    def __init__(
        self,
        store: Store,
        claims: Claims | None,
        clock: Clock,
        announcer: Announcer,
        make_keeper: Callable[[Task], Keeper],
        make_intake: Callable[[], Intake] | None,
        build: Callable[[Declaration], Declaration],
        *,
        takes_api: bool,
    ) -> None:
        """`make_intake` makes who takes up the source, anew each time that this controller begins to read it.

        `build` is called in the thread that began all, and in others.
        """
        self._store = store
        self._claims = claims
        self._clock = clock
        self._announcer = announcer
        self._make_intake = make_intake
        self._build = build
        self._takes_api = takes_api
        self._reserved: dict[str, ExitStack] = {}
        self._intake: Intake | None = None
        self._declared: Mapping[str, Declared] = {}
        self._seen: object = None
        self._refused: dict[str, str] = {}
        self._lost = Flag()
        self._wake = Flag()
        self._read_at = 0.0
        self._replaces = False
        self._is_stopping = False
        self._led = False
        self._address = ""
        self._wakes = 0
        self._heard: Mapping[str, str] = {}
        self._reading: _Reading | None = None
        self._unread: tuple[InfrakitError, ...] = ()
        """Why the source could not be read to begin with."""
        self._release_failed = False
        self._turned_at = clock.now()
        self.complaint = ""
        """Why the last turn failed; "" where it did not."""
        self.fleet = Fleet(make_keeper, self._hold, self._tell)

    @property
    def is_alive(self) -> bool:
        """Tell whether the loop turns, or waits for the last calls to end."""
        return self._is_stopping or self._clock.now() - self._turned_at < _ALIVE_SECONDS

    @property
    def has_begun(self) -> bool:
        """Tell whether what is in force was looked at, and nothing ends yet."""
        return self._seen is not None and not self._is_stopping

    @property
    def is_leader(self) -> bool:
        return self._claims is None or SOURCE_READER in self._claims.held()

    @property
    def declared(self) -> Mapping[str, Declared]:
        """What was in force when the store was last asked. Called from any thread."""
        return self._declared

    def revision(self, cluster: str) -> int:
        """Return the number that is in force of a cluster; 0 for none. Called from any thread."""
        declared = self._declared.get(cluster)
        return declared.revision if declared is not None else 0

    def begin(self) -> None:
        """Read the source, and keep what is in force.

        Alone, InfrakitError where the source is wrong and nothing of it is in force, or where another process holds a
        cluster that it declares; then nothing was begun.
        """
        if self._claims is None and self._make_intake is not None:
            self._intake = self._make_intake()
            self._intake.read(self._build)
            for name in self._intake.names:
                self._reserve(name)
            self._intake.put_in_force(self._may_declare)
        if self._claims is None:
            self._look_at_store()

    def run(self, stop: Flag, each_turn: Callable[[], None]) -> None:
        """Keep everything until the stop. `each_turn` is called a few times a second."""
        look_at = 0.0
        while not stop.is_set():
            if self._clock.now() < self._turned_at - _TURN_SECONDS:  # the clock was put back
                look_at = self._read_at = 0.0
                self.wake_sources()
                for keeper in self.fleet.keepers().values():
                    keeper.wake()
            self._turned_at = self._clock.now()
            each_turn()
            if self._lost.is_set():
                self._lost.clear()
                self._announcer.say("-", "lost", "the lease had run out: others keep the clusters from here on")
                self.fleet.abandon()
            if self._clock.now() >= look_at or self._wake.is_set():
                self._wake.clear()
                self._look(stop)
                look_at = self._clock.now() + _LOOK_SECONDS
            if not stop.is_set():
                self._clock.sleep(_TURN_SECONDS)

    def stop(self) -> None:
        """Let everything end at a safe point, and hold nothing any more."""
        self._is_stopping = True
        if self._claims is not None:
            attempt(partial(self._claims.announce, ONLOOKER))  # the others take their share of what is ours
        if self._intake is not None:
            self._intake.source.close()
        if self._reading is not None:
            self._reading.intake.source.close()
        self.fleet.stop()
        for hold in self._reserved.values():
            hold.close()
        self._reserved = {}
        if self._claims is not None:
            attempt(partial(self._claims.release, SOURCE_READER))

    def lost(self) -> None:
        """Nothing that was claimed is ours any more. Called from any thread."""
        self._lost.set()

    def wake(self) -> None:
        """Look at the store at once. Called from any thread."""
        self._wake.set()

    def wake_sources(self) -> None:
        """Look at the source at once. Called from any thread."""
        intake = self._intake
        if intake is not None:
            intake.source.wake()
        elif self._claims is not None:  # another controller reads the source, and hears of it so
            self._wakes += 1
            self.announce(self._address)
        self.wake()

    def announce(self, address: str) -> None:
        """Tell the other controllers where the API of this one is. Called from any thread."""
        self._address = address
        if self._claims is not None and not self._is_stopping:
            self._claims.announce(f"{address}{_WAKES}{self._wakes}")

    def replace_source(self, make_intake: Callable[[], Intake] | None) -> None:
        """Take up another source, once that could be read; None: none. Called from the thread that runs this."""
        self._make_intake = make_intake
        self._replaces, self._read_at = make_intake is not None, 0.0
        if make_intake is None:
            self._follow(None)

    def _look(self, stop: Flag) -> None:
        """Look at everything; what fails of it keeps nothing else from being looked at. What lasts is said once."""
        failures: list[InfrakitError] = []
        for part in (self._lead, self._look_at_source, self._look_at_store, self.fleet.tend):
            if stop.is_set():
                return
            failure = attempt(part)
            if isinstance(failure, InfrakitError):
                failures.append(failure)
                if isinstance(failure, StoreError):
                    break
        complaint = "; ".join(map(str, (*self._unread, *failures)))
        if complaint and complaint != self.complaint:
            self._announcer.say("-", "retry", f"{complaint}; trying again")
        self.complaint = complaint

    def _lead(self) -> None:
        """Read the source from now on, or no more, as the claim says."""
        if self._make_intake is None:
            return
        if self._claims is not None and not self.is_leader:
            self._follow(None)  # others may have read it since: what is known of it here is old
            self._give_up_reading()
            if self._led:
                self._claims.release(SOURCE_READER)
                self._led = False
            if self._clock.now() < self._read_at:
                return
            if self._claims.claim(SOURCE_READER) is None:
                self._unread = ()
                return
            self._led, self._read_at = True, 0.0
        if self._reading is not None:
            self._end_reading(self._reading)
        elif (self._intake is None or self._replaces) and self._clock.now() >= self._read_at:
            self._reading = _Reading(self._make_intake(), self._build)

    def _end_reading(self, reading: "_Reading") -> None:
        """Follow a source that was read. One that cannot be read is tried again, by whoever comes first then."""
        if not reading.has_ended:
            return
        self._reading = None
        self._unread = (reading.failure,) if reading.failure is not None else ()
        if reading.failure is None:
            if self._claims is not None and not self._replaces:
                self._announcer.say("-", "leading", "this controller reads the source")
            self._follow(reading.intake)
            return
        reading.intake.source.close()
        self._read_at = self._clock.now() + _REREAD_SECONDS
        if self._claims is not None and self._intake is None:
            self._claims.release(SOURCE_READER)
            self._led = False

    def _give_up_reading(self) -> None:
        """Let what was begun to be read be forgotten: what it still writes is fenced."""
        if self._reading is not None:
            self._reading.intake.source.close()
            self._reading = None

    def _follow(self, intake: Intake | None) -> None:
        """Read this source from now on, and the one before no more."""
        if self._intake is not None:
            self._intake.source.close()
        self._intake, self._replaces = intake, False

    def _look_at_source(self) -> None:
        if self._intake is not None:
            self._intake.look()
            self._intake.put_in_force(self._may_declare)

    def _look_at_store(self) -> None:
        """Keep what is in force, as far as it is ours to keep."""
        self._let_go_of_what_is_lost()
        mark = self._store.declared_mark()
        members = self._members()
        seen = (mark, members, self._kind_and_place())
        if seen == self._seen:
            return
        declared = self._store.declared()
        tasks = [task for one in declared.values() if (task := self._task(one, members)) is not None]
        self._declared = declared
        left = {name: self._why_left(declared[name], members) for name in self.fleet.keepers() if name in declared}
        self.fleet.become(tasks, left)
        self._seen = seen

    def _let_go_of_what_is_lost(self) -> None:
        """Keep nothing on whose claim nobody can rely any more, so that it is claimed anew, here or elsewhere."""
        if self._claims is not None:
            held = frozenset(self._claims.held())
            for name in self.fleet.keepers():
                if name not in held:
                    self._tell(name, News.WAITING, "its claim was lost")
                    self.fleet.lose(name)

    def _members(self) -> tuple[str, ...]:
        """Return the controllers among which the clusters are divided."""
        if self._claims is None:
            return ()
        texts = {name: text for name, text in self._claims.members().items() if text != ONLOOKER}
        wakes = {name: text.partition(_WAKES)[2] for name, text in texts.items() if name != self._claims.member}
        if self._intake is not None and any(self._heard.get(name, wakes[name]) != wakes[name] for name in wakes):
            self._intake.source.wake()
        self._heard = wakes
        return tuple(sorted(texts))

    def _task(self, declared: Declared, members: tuple[str, ...]) -> Task | None:
        if declared.withdrawn and not declared.prune:
            return None
        if self._claims is None:
            if not self._is_ours(declared):
                return None
        elif owner_of(declared.spec.name, members) != self._claims.member:
            return None
        prune = declared.withdrawn and declared.prune
        by = "the API" if declared.origin.kind is SourceKind.API else ""
        return Task(declared.spec, declared.revision, prune=prune, declared_by=by)

    def _why_left(self, declared: Declared, members: tuple[str, ...]) -> str:
        if declared.withdrawn and not declared.prune:
            return "nobody declares it any more: its machines stay as they are"
        owner = owner_of(declared.spec.name, members)
        return f"{owner} keeps it from here on" if owner else f"{declared.origin.place} is not followed here any more"

    def _is_ours(self, declared: Declared) -> bool:
        """Tell whether our source, or our API, declared a cluster: other controllers may use the store beside us."""
        if declared.origin.kind is SourceKind.API:
            return self._takes_api
        return (declared.origin.kind, declared.origin.place) == self._kind_and_place()

    def _kind_and_place(self) -> tuple[SourceKind, str] | None:
        return (self._intake.source.kind, self._intake.source.place) if self._intake is not None else None

    def may_declare(self, cluster: str) -> None:
        """Raise UsageError where the source declares a cluster, so that nobody else may. Called from any thread."""
        present = self._store.declared().get(cluster)
        if present is not None and not present.withdrawn and present.origin.kind is not SourceKind.API:
            raise UsageError(
                f"cluster {cluster} is declared by {present.origin.kind.value} ({present.origin.place})",
                hint="change it there",
            )

    def _may_declare(self, cluster: str) -> bool:
        """Alone, only what this process holds may become a revision: another process may keep the cluster."""
        if self._claims is not None or cluster in self._reserved:
            return True
        try:
            self._reserve(cluster)
        except ClusterLocked as exc:
            if self._refused.get(cluster) != str(exc):
                self._refused[cluster] = str(exc)
                self._tell(cluster, News.WAITING, f"{exc}; trying again")
            return False
        self._refused.pop(cluster, None)
        return True

    def _reserve(self, cluster: str) -> None:
        """Hold a cluster before it is kept. ClusterLocked, and what was held before still is."""
        if cluster not in self._reserved:
            hold = ExitStack()
            hold.enter_context(self._store.exclusive(cluster))
            self._reserved[cluster] = hold

    @contextmanager
    def _hold(self, cluster: str) -> Iterator[None]:
        """Hold a cluster as long as it is kept."""
        if self._claims is None:
            self._reserve(cluster)
            try:
                yield
            finally:
                self._reserved.pop(cluster).close()
            return
        if self._claims.claim(cluster) is None:
            owner = attempt(self._claims.owners)
            who = owner.get(cluster, "another controller") if isinstance(owner, Mapping) else "another controller"
            raise ClusterLocked(f"{who} still keeps cluster {cluster}")
        try:
            yield
        finally:
            if not (self._is_stopping and self._release_failed):  # the lease is given up soon, and all with it
                answer = attempt(partial(self._claims.release, cluster))
                self._release_failed = isinstance(answer, InfrakitError)

    def _tell(self, cluster: str, news: News, text: str) -> None:
        self._announcer.say(cluster, news.value, text, revision=self.revision(cluster))
