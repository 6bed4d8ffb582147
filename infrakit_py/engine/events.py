"""What the engine tells while it works, for progress on a terminal and for machines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias


class EventKind(StrEnum):
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    CREATING = "creating"
    CREATED = "created"
    FINISHING = "finishing"
    FINISHED = "finished"
    READY = "ready"
    DRAINING = "draining"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"
    TAGGED = "tagged"
    SWEPT = "swept"
    WAITING = "waiting"
    CONVERGED = "converged"
    BLOCKED = "blocked"
    STOPPED = "stopped"
    ROLLBACK = "rollback"
    RETRY = "retry"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a group. `at` is Unix time in seconds; `fields` never hold user data."""

    at: float
    kind: EventKind
    group: str
    text: str
    fields: Mapping[str, str | int | float] = field(default_factory=dict)


Listener: TypeAlias = Callable[[Event], None]
"""Called from any thread; it must return soon and never raise."""
