"""When the program dies: at one of its next calls that change anything, or between two writes of its store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TypeVar

from infrakit_py.clock import Clock
from infrakit_py.spi.store import Intent
from infrakit_py.stores.memory import MemoryStore

T = TypeVar("T")


class Death(BaseException):
    """The process is gone."""


class Moment(StrEnum):
    """When the program dies, seen from a call."""

    LOST = "request lost"
    IN_FLIGHT = "request in flight"
    DONE = "reply lost"


@dataclass
class Fate:
    """Strikes at one of the next changing calls. `late` is what a dead program asked for and has not arrived yet."""

    strikes_in: int = 0
    moment: Moment = Moment.LOST
    late: list[Callable[[], object]] = field(default_factory=list)

    def meet(self, call: Callable[[], T], *, late: Callable[[], object] | None = None) -> T:
        self.strikes_in -= 1
        if self.strikes_in != 0:
            return call()
        if self.moment is Moment.IN_FLIGHT and late is not None:
            self.late.append(late)
        if self.moment is Moment.DONE:
            call()
        raise Death


class MortalStore(MemoryStore):
    """A store that outlives its process, which may die just before or just after an intent is written."""

    def __init__(self, clock: Clock, fate: Fate) -> None:
        super().__init__(clock)
        self._fate = fate

    def record(self, intents: Sequence[Intent]) -> None:
        if intents:
            self._fate.meet(partial(super().record, intents))

    def forget(self, intents: Sequence[Intent]) -> None:
        if intents:
            self._fate.meet(partial(super().forget, intents))
