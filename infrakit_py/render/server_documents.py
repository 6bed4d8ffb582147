"""What a controller's API tells of clusters, sources, controllers and events, as values. See `documents`, too."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from infrakit_py.model.declared import Occurrence, SourceKind
from infrakit_py.model.revision import HistoryEntry
from infrakit_py.render.documents import GroupDocument
from infrakit_py.render.standing import at_json


@dataclass(frozen=True, slots=True)
class OriginDocument:
    """Where a revision came from: see `infrakit_py.model.declared.Origin`."""

    kind: str = ""
    place: str = ""
    version: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class ClusterDocument:
    """A cluster that is declared. `phase`: the worst of its groups'; `as_of`: when somebody looked last."""

    cluster: str
    revision: int = 0
    origin: OriginDocument = OriginDocument()
    declared_at: str | None = None
    owner: str | None = None
    converged: bool = False
    phase: str | None = None
    ready: int = 0
    wanted: int = 0
    withdrawn: bool = False
    prune: bool = False
    as_of: str | None = None
    groups: tuple[GroupDocument, ...] = ()


@dataclass(frozen=True, slots=True)
class RefusalDocument:
    at: str
    reason: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """Where a source stands: see `infrakit_py.model.declared.SourceStatus`. Files have no version."""

    name: str
    kind: str = ""
    in_force: str | None = None
    in_progress: str | None = None
    refusal: RefusalDocument | None = None
    complaint: str | None = None
    at: str | None = None

    @property
    def counts(self) -> bool:
        """Tell whether something of it is in force."""
        return bool(self.in_force) or (self.kind == SourceKind.FILES and self.at is not None)


@dataclass(frozen=True, slots=True)
class ControllerDocument:
    name: str
    leader: bool = False
    owns: tuple[str, ...] = ()
    address: str | None = None


@dataclass(frozen=True, slots=True)
class HappeningDocument:
    """Something that happened. `id` only grows."""

    id: int
    at: str
    cluster: str
    group: str
    event: str
    text: str = ""
    revision: int | None = 0
    actor: str | None = ""
    fields: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HistoryDocument:
    """See `infrakit_py.model.revision.HistoryEntry`."""

    at: str
    group: str
    event: str
    revision: int | None = None
    image: str | None = None
    identity: str | None = None
    fingerprint: str | None = None
    reason: str = ""


def history_entry(told: HistoryDocument) -> HistoryEntry:
    return HistoryEntry(
        at=datetime.fromisoformat(told.at).timestamp(),
        group=told.group,
        event=told.event,
        revision=told.revision or 0,
        image=told.image or "",
        image_identity=told.identity or "",
        fingerprint=told.fingerprint or "",
        reason=told.reason,
    )


def happening(number: int, occurrence: Occurrence) -> HappeningDocument:
    """Return what a store remembers as the API tells it."""
    return HappeningDocument(
        number,
        at_json(occurrence.at),
        occurrence.cluster,
        occurrence.group,
        occurrence.kind,
        occurrence.text,
        occurrence.revision,
        occurrence.actor,
        occurrence.fields,
    )
