"""Where groups stand, as documents: what programs are given, and what texts for people are written of.

A document says the same wherever it was made, here or by a controller far away. Fields are only ever added, each with
a default, so that documents of another release can be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from infrakit_py.model.plan import RolloutPhase
from infrakit_py.render.words import SHORT

NOT_BEGUN: Final = "not begun"
ROLLED_BACK: Final = "rolled back"
BLOCKED: Final = "blocked"


@dataclass(frozen=True, slots=True)
class VersionDocument:
    """A version of a group. `revision` is the first that wanted it."""

    revision: int
    image: str
    identity: str = ""
    fingerprint: str = ""

    def __str__(self) -> str:
        return f"{self.image} ({self.identity[:SHORT]}), revision {self.revision}"


@dataclass(frozen=True, slots=True)
class ProgressDocument:
    """How far a rollout is. `until` is Unix time in seconds."""

    phase: str = RolloutPhase.COMPLETE
    step: int = 0
    steps: tuple[int, ...] = ()
    failed: int = 0
    failure_limit: int = 0
    reason: str = ""
    until: float | None = None


@dataclass(frozen=True, slots=True)
class WaitDocument:
    reason: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class MachineDocument:
    """One machine. Times are ISO 8601."""

    machine: str
    instance: str
    provider: str = ""
    condition: str = ""
    version: str = ""
    reason: str = ""
    state: str = ""
    image: str | None = None
    addresses: tuple[str, ...] = ()
    zone: str = ""
    launched_at: str = ""
    healthy_since: str | None = None
    protected: bool = False
    failures: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    detail: str = ""


@dataclass(frozen=True, slots=True)
class GroupDocument:
    """Where a group stands.

    `phase` is a `RolloutPhase`, or one of this module's words. `version` is the declared one; `goes_to` the one that
    it goes back to, `because` of something. `hint`: what a person can do. `due`: actions that could be taken now.
    `declared_revision`: the number of the spec that all this is about; 0 where nobody declares the group.
    """

    group: str
    converged: bool = False
    wanted: int = 0
    ready: int = 0
    new: int = 0
    new_ready: int = 0
    outdated: int = 0
    failed: int = 0
    phase: str = ""
    version: VersionDocument | None = None
    goes_to: VersionDocument | None = None
    because: str | None = None
    progress: ProgressDocument = ProgressDocument()
    waits: tuple[WaitDocument, ...] = ()
    notes: tuple[str, ...] = ()
    block: str | None = None
    hint: str = ""
    due: int = 0
    declared_revision: int = 0
    machines: tuple[MachineDocument, ...] = ()

    @property
    def is_stopped(self) -> bool:
        """Tell whether its rollout waits for a person."""
        return self.progress.phase == RolloutPhase.STOPPED
