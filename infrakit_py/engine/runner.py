"""Who runs blocking calls: a bounded pool of threads, or the caller itself, in order, for virtual time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


class Runner(Protocol):
    """Runs ticks beside each other, and the calls of one tick beside each other."""

    def start(self, tick: Callable[[], None]) -> None:
        """Run `tick` soon, at once or beside others. It must not raise."""
        ...

    def map(self, calls: Sequence[Callable[[], T]], at_once: int) -> list[T]:
        """Run calls, at most `at_once` of them at a time, and return their results in order."""
        ...

    def close(self) -> None:
        """Wait for what runs and release threads."""
        ...


class InlineRunner:
    """Runs everything in the caller's thread, in order: the same run every time."""

    def start(self, tick: Callable[[], None]) -> None:
        tick()

    def map(self, calls: Sequence[Callable[[], T]], at_once: int) -> list[T]:
        del at_once
        return [call() for call in calls]

    def close(self) -> None:
        pass


class ThreadRunner:
    """Two bounded pools, so that ticks waiting for their calls never keep those calls from running."""

    def __init__(self, parallelism: int) -> None:
        """`parallelism`: calls to the outside at once, for all groups together; also ticks at once."""
        self._ticks = ThreadPoolExecutor(parallelism, thread_name_prefix="tick")
        self._calls = ThreadPoolExecutor(parallelism, thread_name_prefix="call")

    def start(self, tick: Callable[[], None]) -> None:
        self._ticks.submit(tick)

    def map(self, calls: Sequence[Callable[[], T]], at_once: int) -> list[T]:
        if len(calls) == 1:
            return [self._calls.submit(calls[0]).result()]
        results: list[T] = []
        for begin in range(0, len(calls), at_once):
            futures = [self._calls.submit(call) for call in calls[begin : begin + at_once]]
            results += [future.result() for future in futures]
        return results

    def close(self) -> None:
        self._ticks.shutdown(wait=True)
        self._calls.shutdown(wait=True)
