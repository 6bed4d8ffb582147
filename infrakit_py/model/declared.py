"""What is declared, as a store keeps it: revisions with where they came from, refusals, and events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from infrakit_py.model.spec import ClusterSpec


class SourceKind(StrEnum):
    FILES = "files"
    GIT = "git"
    API = "api"
    """A person or a program by HTTP."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a revision came from.

    `place`: the files, or the repository and branch, without passwords. `version`: the commit, where there is one.
    `actor`: who brought it, as far as that is known: the name of an API token, or of the controller that read it.
    """

    kind: SourceKind
    place: str
    version: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """A cluster's spec that is in force: validated, numbered.

    `withdrawn`: its source declares it no more, and its machines stay as they are; `prune`: they shall go instead.
    """

    spec: ClusterSpec
    revision: int
    origin: Origin
    at: float
    withdrawn: bool = False
    prune: bool = False


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """One number of a cluster's past. `origin` is None where `infra apply` made it, without a controller."""

    number: int
    spec_digest: str
    at: float
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A change that did not get in force, and why: one mistake a line, each with its place."""

    origin: Origin
    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """Where a source stands. Versions are commits, or digests of files.

    `in_force` counts; `in_progress` was seen and is being read or built; `refusal` says why the newest does not
    count; `complaint` says why the source cannot be asked at all. `digests`: of each cluster's spec as this source
    declared it last, so that only a change of the source makes a revision.
    """

    name: str
    kind: SourceKind
    in_force: str = ""
    in_progress: str = ""
    refusal: Refusal | None = None
    complaint: str = ""
    at: float = 0.0
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that happened to a cluster, as it is remembered. `group` is "-" for all of it.

    `actor`: the controller, or the person, that did it. Neither text nor fields hold user data.
    """

    at: float
    cluster: str
    group: str
    kind: str
    text: str
    revision: int = 0
    actor: str = ""
    fields: Mapping[str, str | int | float] = field(default_factory=dict)
