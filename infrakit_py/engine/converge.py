"""The loop around the step function that `apply` and `destroy` run: until settled, out of time, or told to stop."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from threading import Event as Flag

from infrakit_py.clock import Clock
from infrakit_py.engine.engine import Engine, GroupStatus, Phase


class End(StrEnum):
    CONVERGED = "converged"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Settlement:
    """How the loop ended, and where each group stands."""

    end: End
    groups: Mapping[str, GroupStatus]


def converge(engine: Engine, clock: Clock, *, timeout_seconds: float, stop: Flag) -> Settlement:
    """Step until every group is settled. On a stop or time-out, wait only for the calls already begun."""
    deadline = clock.now() + timeout_seconds
    while True:
        if stop.is_set() or clock.now() >= deadline:
            return _halt(engine, clock, End.INTERRUPTED if stop.is_set() else End.TIMED_OUT)
        next_due = engine.step()
        if engine.settled:
            statuses = engine.statuses()
            good = all(status.phase is Phase.CONVERGED for status in statuses.values())
            return Settlement(End.CONVERGED if good else End.FAILED, statuses)
        engine.wait(min(next_due, deadline))


def _halt(engine: Engine, clock: Clock, end: End) -> Settlement:
    engine.interrupt()
    while not engine.idle:
        engine.wait(clock.now() + 1.0)
    return Settlement(end, engine.statuses())
