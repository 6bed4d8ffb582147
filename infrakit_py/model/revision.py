"""Versions of a group as they are remembered: where a rollout goes, where it may go back to, what became of it."""

from dataclasses import dataclass
from enum import StrEnum

from infrakit_py.model.spec import GroupSpec, Image


@dataclass(frozen=True, slots=True)
class GroupVersion:
    """All that makes the machines of one version of a group: enough to boot them again when the file says otherwise.

    `revision` is the number of the spec in which it was first wanted.
    """

    group: GroupSpec
    image: Image
    fingerprint: str
    revision: int


class VersionState(StrEnum):
    ROLLING = "rolling"
    """Wanted, and not yet on every machine."""
    GOOD = "good"
    """It was on every machine once, and all were healthy and baked."""
    FAILED = "failed"
    """Its rollout was stopped because its machines failed, or nothing moved any more."""
    UNDONE = "undone"
    """A person went back from it."""


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What is remembered of a version. `at`: since when the state is so, in Unix time; `reason` says why."""

    version: GroupVersion
    state: VersionState
    at: float
    reason: str = ""

    @property
    def why(self) -> str:
        """Say what became of it, and why: `failed: ...`, `undone by a person`."""
        if not self.reason or self.reason.startswith(self.state.value):
            return self.reason or self.state.value
        return f"{self.state.value}: {self.reason}"


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of a group's past."""

    at: float
    group: str
    event: str
    revision: int
    image: str
    image_identity: str
    fingerprint: str
    reason: str = ""
