"""The clusters that one controller keeps: each by a thread of its own, each held against all others meanwhile.

Taking up and letting go never wait for each other: a call to a provider may take minutes, and a cluster is let go
only when its last one has ended.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from enum import StrEnum
from threading import Thread
from typing import Final, TypeAlias

from infrakit_py.engine.controller import Keeper, Task
from infrakit_py.engine.engine import GroupStatus
from infrakit_py.errors import InfrakitError, StoreError

_LOOK_SECONDS: Final = 0.1


class News(StrEnum):
    """What happens to a whole cluster."""

    KEEPING = "keeping"
    CHANGED = "changed"
    LEFT = "left"
    WAITING = "waiting"
    PRUNING = "pruning"
    PRUNED = "pruned"


Hold: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Holds a cluster against everybody else, or raises ClusterLocked."""
Tell: TypeAlias = Callable[[str, News, str], None]


@dataclass(frozen=True, slots=True)
class _Kept:
    keeper: Keeper
    thread: Thread
    hold: ExitStack


class Fleet:
    """Keeps clusters. All methods but the ones that only look are called from one thread."""

    def __init__(self, make_keeper: Callable[[Task], Keeper], hold: Hold, tell: Tell) -> None:
        self._make_keeper = make_keeper
        self._hold = hold
        self._tell = tell
        self._wanted: dict[str, Task] = {}
        self._kept: dict[str, _Kept] = {}
        self._leaving: dict[str, _Kept] = {}
        self._refused: dict[str, str] = {}

    def begin(self, tasks: Sequence[Task]) -> None:
        """Keep these. ClusterLocked, and none of them begun, where somebody else holds one."""
        self._wanted = {task.spec.name: task for task in tasks}
        for task in tasks:
            self._take(task)
        for task in tasks:
            self._start(task)

    def become(self, tasks: Sequence[Task], left: Mapping[str, str]) -> None:
        """Keep these instead, from now on. `left` says why others are let go that are still declared."""
        self._wanted = {task.spec.name: task for task in tasks}
        for name in [name for name in self._kept if name not in self._wanted]:
            if name not in left and self._kept[name].keeper.task.prune:
                continue  # nobody declares it because it has come to its end: `tend` sees that
            self._tell(name, News.LEFT, left.get(name, "nobody declares it any more: its machines stay as they are"))
            self._let_go(name)
        for name, task in self._wanted.items():
            kept = self._kept.get(name)
            if kept is not None and kept.keeper.task != task:
                what = f"{task.place} has changed" if not task.prune else "nobody declares it any more"
                self._tell(name, News.CHANGED if not task.prune else News.PRUNING, what)
                kept.keeper.change(task)
        self.tend()

    def tend(self) -> None:
        """Let go of what has ended, and begin with what could not be held so far. Waits for nothing."""
        for name, kept in list(self._leaving.items()):
            if not kept.thread.is_alive():
                del self._leaving[name]
                kept.hold.close()
        for name, kept in list(self._kept.items()):
            if not kept.thread.is_alive():
                del self._kept[name]
                kept.hold.close()
                if (ended := kept.keeper.ended) is not None:
                    self._tell(name, News.PRUNED, "its machines are gone")
                    if self._wanted.get(name) == ended:  # else it was declared again meanwhile
                        del self._wanted[name]
        for name, task in list(self._wanted.items()):
            if name not in self._kept and name not in self._leaving and not self._try(name, task):
                return  # the store does not answer: the others need not wait for that one by one

    def lose(self, name: str) -> None:
        """Begin nothing more with a cluster: it is not ours any more. It may be taken up again."""
        self._let_go(name)

    def abandon(self) -> None:
        """Begin nothing more with any of them, at once: they are not ours any more. They may be taken up again."""
        for name in list(self._kept):
            self._let_go(name)

    def stop(self) -> None:
        """Let all end at a safe point, and wait for that."""
        self._wanted = {}
        self.abandon()
        while self._leaving:
            self.tend()  # each is let go as soon as its own last call has ended
            for kept in list(self._leaving.values())[:1]:
                if kept.thread.ident is not None:
                    kept.thread.join(_LOOK_SECONDS)

    def wake(self, cluster: str) -> None:
        """Look at all groups of a cluster at once. Called from any thread."""
        kept = self._kept.get(cluster)
        if kept is not None:
            kept.keeper.wake()

    def keepers(self) -> Mapping[str, Keeper]:
        """Return who keeps what. Called from any thread."""
        return {name: kept.keeper for name, kept in list(self._kept.items())}

    def statuses(self) -> Mapping[str, GroupStatus]:
        """Return where all groups stand, by `cluster/group`. Called from any thread."""
        return {
            f"{cluster}/{group}": status
            for cluster, keeper in self.keepers().items()
            for group, status in keeper.statuses().items()
        }

    def _try(self, name: str, task: Task) -> bool:
        """Begin with a cluster if it can be held. Return whether the store answered."""
        try:
            self._take(task)
        except InfrakitError as exc:
            if self._refused.get(name) != str(exc):
                self._refused[name] = str(exc)
                self._tell(name, News.WAITING, f"{exc}; trying again")
            return not isinstance(exc, StoreError)
        self._refused.pop(name, None)
        self._start(task)
        return True

    def _take(self, task: Task) -> None:
        hold = ExitStack()
        hold.enter_context(self._hold(task.spec.name))
        keeper = self._make_keeper(task)
        thread = Thread(target=keeper.run, name=f"keep-{task.spec.name}")
        self._kept[task.spec.name] = _Kept(keeper, thread, hold)

    def _start(self, task: Task) -> None:
        name = task.spec.name
        if task.prune:
            self._tell(name, News.PRUNING, "nobody declares it any more")
        else:
            self._tell(name, News.KEEPING, f"as {task.place} declares it")
        self._kept[name].thread.start()

    def _let_go(self, name: str) -> None:
        kept = self._kept.pop(name)
        kept.keeper.stop()
        self._leaving[name] = kept
