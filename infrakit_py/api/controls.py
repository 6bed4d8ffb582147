"""What the HTTP API asks of the controller behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from infrakit_py.model.declared import Declared, Occurrence, RevisionRecord, SourceStatus
from infrakit_py.model.revision import HistoryEntry
from infrakit_py.model.spec import Json


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a controller works. `reasons` says what is missing; none of them is a secret."""

    ready: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a cluster stands, as of `at`. `groups`: the documents of `infra status --json`, by name.

    `owner`: the controller that acts on it; "" where nobody does. `phases`: of each group, in the engine's words.
    """

    declared: Declared
    owner: str
    at: float
    groups: Mapping[str, Json]
    phases: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ControllerStanding:
    """One of the controllers that live. `leader`: the one that reads the sources. `address`: of its API."""

    name: str
    leader: bool
    owns: tuple[str, ...]
    address: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one cluster that was declared by the API."""

    cluster: str
    revision: int
    changed: bool


class Controls(Protocol):
    """A running controller. Safe for threads. Reads wait for no write and call no provider.

    Any of them may raise InfrakitError; StoreError means that the store does not answer now, UnknownName that nobody
    declares such a cluster or group.
    """

    def is_alive(self) -> bool:
        """Tell whether the controller's own loop turns."""
        ...

    def readiness(self) -> Readiness: ...

    def standings(self) -> Mapping[str, Standing]:
        """Return where all declared clusters stand, by name."""
        ...

    def revisions(self, cluster: str) -> Sequence[RevisionRecord]: ...

    def history(self, cluster: str) -> Sequence[HistoryEntry]: ...

    def sources(self) -> Mapping[str, SourceStatus]: ...

    def controllers(self) -> Sequence[ControllerStanding]: ...

    def occurrences(
        self, after: int, *, cluster: str | None = None, limit: int = 1000
    ) -> Sequence[tuple[int, Occurrence]]:
        """See `Store.occurrences`."""
        ...

    def apply(
        self,
        files: Mapping[str, str],
        main: Sequence[str],
        actor: str,
        *,
        expected: Mapping[str, int],
        dry_run: bool = False,
    ) -> Sequence[Applied]:
        """Validate files and put what `main` of them declare in force. Mistakes in any of it are found before that.

        Where the store fails between two clusters, the first is in force; the same may be applied again.

        `files`: text by relative path; what a cluster file refers to is among them, or lies on the controller's
        machine by absolute path. `expected`: the numbers that must be in force. `dry_run`: only validate.
        SpecError with places in these files; Conflict.
        """
        ...

    def withdraw(self, cluster: str, actor: str, *, prune: bool) -> None:
        """Keep the cluster no more; `prune`: destroy its machines."""
        ...

    def scale(self, cluster: str, group: str, size: int, actor: str, *, expected: int | None = None) -> Applied:
        """Make a revision in which a group has another size, until its source changes. UsageError, Conflict."""
        ...

    def pause(self, cluster: str, groups: Sequence[str], reason: str, actor: str) -> Sequence[tuple[str, str]]:
        """Pause rollouts of these groups, or of all; return what was done, by group. UsageError."""
        ...

    def resume(self, cluster: str, groups: Sequence[str], actor: str) -> Sequence[tuple[str, str]]: ...

    def undo(self, cluster: str, groups: Sequence[str], reason: str, actor: str) -> Sequence[tuple[str, str]]: ...

    def wake_sources(self) -> None:
        """Look at the sources now. Returns at once."""
        ...
