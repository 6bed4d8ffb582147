"""Who runs blocking calls: a bounded pool of threads, or the caller itself, in order, for virtual time.

Work is told apart by its lane: what it waits for, should that be slow. A lane that hangs keeps no other one waiting.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Condition
from typing import Final, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

_MOST_THREADS: Final = 10_000
"""More than there will ever be: how many calls run is decided lane by lane."""


class Runner(Protocol):
    """Runs ticks beside each other, and the calls of one tick beside each other."""

    def start(self, tick: Callable[[], None], lane: str = "") -> None:
        """Run `tick` soon, at once or beside others. It must not raise. `lane`: whom it is likely to wait for."""
        ...

    def map(self, calls: Sequence[Callable[[], T]], at_once: int, lane: str = "") -> list[T]:
        """Run calls, at most `at_once` of them at a time, and return their results in order."""
        ...

    def close(self) -> None:
        """Wait for what runs and release threads."""
        ...


class InlineRunner:
    """Runs everything in the caller's thread, in order: the same run every time."""

    def start(self, tick: Callable[[], None], lane: str = "") -> None:
        del lane
        tick()

    def map(self, calls: Sequence[Callable[[], T]], at_once: int, lane: str = "") -> list[T]:
        del at_once, lane
        return [call() for call in calls]

    def close(self) -> None:
        pass


class ThreadRunner:
    """Two bounded pools, so that ticks waiting for their calls never keep those calls from running."""

    def __init__(self, parallelism: int) -> None:
        """`parallelism`: calls to the outside at once, for all groups together; also ticks at once.

        Where one lane has taken all of it, others still get a few: see `_Pool`.
        """
        self._ticks = _Pool(parallelism, "tick")
        self._calls = _Pool(parallelism, "call")

    def start(self, tick: Callable[[], None], lane: str = "") -> None:
        self._ticks.submit(tick, lane)

    def map(self, calls: Sequence[Callable[[], T]], at_once: int, lane: str = "") -> list[T]:
        results: list[T] = []
        for begin in range(0, len(calls), at_once):
            futures = [self._calls.submit(call, lane) for call in calls[begin : begin + at_once]]
            results += [future.result() for future in futures]
        return results

    def close(self) -> None:
        self._ticks.close()
        self._calls.close()


class _Answer(Future[T]):
    """What a call comes to: its result, or the error that is raised where the result is asked for."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is not None:
            self.set_exception(error)
        return True

    def fill(self, call: Callable[[], T]) -> None:
        with self:
            self.set_result(call())


@dataclass(slots=True)
class _Lane:
    name: str
    waiting: deque[Callable[[], None]] = field(default_factory=deque)
    running: int = 0


_Begun: TypeAlias = tuple[_Lane, Callable[[], None]]


class _Pool:
    """So many calls at once, and for each lane a small share that is its own, however many the others have taken.

    The share is half of what would be an even one, at least a single thread. Lanes take turns.
    """

    def __init__(self, at_once: int, name: str) -> None:
        self._at_once = at_once
        self._changed = Condition()
        self._lanes: dict[str, _Lane] = {}
        self._running = 0
        self._threads = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix=name)

    def submit(self, call: Callable[[], T], lane: str) -> Future[T]:
        answer = _Answer[T]()
        with self._changed:
            self._lanes.setdefault(lane, _Lane(lane)).waiting.append(partial(answer.fill, call))
            self._begin(self._take())
        return answer

    def close(self) -> None:
        """Wait until everything that was submitted has run."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lanes)
        self._threads.shutdown(wait=True)

    def _begin(self, begun: _Begun | None) -> None:
        if begun is not None:
            self._threads.submit(self._work, begun)

    def _work(self, begun: _Begun | None) -> None:
        """Run one call after another, as long as there is any that may run."""
        while begun is not None:
            lane, run = begun
            run()
            with self._changed:
                self._leave(lane)
                begun = self._take()
                while begun is not None and (another := self._take()) is not None:
                    self._begin(another)

    def _take(self) -> _Begun | None:
        """Take what may run now: of the lane whose turn it is, which is the last one to take its turn again."""
        share = max(1, self._at_once // (2 * max(1, len(self._lanes))))
        for lane in self._lanes.values():
            if lane.waiting and (self._running < self._at_once or lane.running < share):
                del self._lanes[lane.name]
                self._lanes[lane.name] = lane
                lane.running += 1
                self._running += 1
                return lane, lane.waiting.popleft()
        return None

    def _leave(self, lane: _Lane) -> None:
        lane.running -= 1
        self._running -= 1
        if not lane.running and not lane.waiting:
            del self._lanes[lane.name]
            self._changed.notify_all()
