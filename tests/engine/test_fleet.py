"""Clusters that one controller keeps: what ends, what is let go, and what is declared again meanwhile."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import cast

from infrakit_py.clock import SystemClock
from infrakit_py.engine.controller import Keeper, Opened, Task
from infrakit_py.engine.engine import Engine, GroupStatus
from infrakit_py.engine.fleet import Fleet, News
from infrakit_py.engine.runner import InlineRunner
from infrakit_py.model.spec import ClusterSpec


class AtRest:
    """An engine with nothing to do."""

    idle = settled = True

    def step(self) -> float:
        return 0.0

    def wait(self, until: float) -> None:
        time.sleep(0.005)

    def interrupt(self) -> None:
        pass

    def statuses(self) -> Mapping[str, GroupStatus]:
        return {}


class Site:
    """A fleet whose clusters are gone as soon as they shall be; `at_the_end` is called while they go."""

    def __init__(self) -> None:
        self.told: list[tuple[str, News]] = []
        self.held: set[str] = set()
        self.at_the_end: Callable[[], None] = lambda: None
        self.fleet = Fleet(self._keeper, self._hold, lambda cluster, news, text: self.told.append((cluster, news)))

    def tend_until(self, claim: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10.0
        while not claim():
            assert time.monotonic() < deadline, self.told
            self.fleet.tend()
            time.sleep(0.005)

    def _keeper(self, task: Task) -> Keeper:
        return Keeper(task, self._opened, SystemClock(), lambda event: None, Random(0))

    @contextmanager
    def _opened(self, task: Task) -> Iterator[Opened]:
        engine = cast(Engine, AtRest())
        finish = self._finish if task.prune else None
        yield Opened(engine, InlineRunner(), lambda: False, lambda group, status: None, finish)

    def _finish(self) -> None:
        self.at_the_end()

    @contextmanager
    def _hold(self, cluster: str) -> Iterator[None]:
        assert cluster not in self.held
        self.held.add(cluster)
        yield
        self.held.discard(cluster)


KEPT = Task(ClusterSpec("shop", "shop.yml", {}, {}, {}), 1)
PRUNED = Task(KEPT.spec, 1, prune=True)
AGAIN = Task(KEPT.spec, 2)


def test_a_cluster_that_is_pruned_is_kept_no_more_and_not_held() -> None:
    site = Site()
    site.fleet.become([PRUNED], {})
    site.tend_until(lambda: ("shop", News.PRUNED) in site.told)

    assert not site.fleet.keepers() and not site.held


def test_one_that_is_declared_again_while_it_goes_is_kept() -> None:
    site = Site()
    site.at_the_end = lambda: site.fleet.become([AGAIN], {})
    site.fleet.become([PRUNED], {})
    site.tend_until(lambda: [keeper.task for keeper in site.fleet.keepers().values()] == [AGAIN])

    time.sleep(0.05)
    site.fleet.tend()
    assert site.fleet.keepers().keys() == site.held == {"shop"}
    site.fleet.stop()


def test_one_whose_hold_is_lost_is_taken_up_again() -> None:
    site = Site()
    site.fleet.become([KEPT], {})
    before = site.fleet.keepers()["shop"]
    site.fleet.lose("shop")
    site.tend_until(lambda: site.fleet.keepers().get("shop", before) is not before)

    assert site.held == {"shop"}
    site.fleet.stop()
    assert not site.held
