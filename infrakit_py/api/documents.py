"""What is sent, as JSON: each document's schema is what the OpenAPI document says of it. Keys are only ever added."""

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, JsonValue, PlainSerializer, WithJsonSchema

from infrakit_py.model.declared import Occurrence, Origin, RevisionRecord, SourceStatus
from infrakit_py.model.revision import HistoryEntry
from infrakit_py.render.history import history_json
from infrakit_py.render.standing import at_json

Moment: TypeAlias = Annotated[
    float, PlainSerializer(at_json), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""Unix time in seconds; ISO 8601 in UTC where it is sent."""


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class OriginDocument(Answer):
    """Where a revision came from. `version`: the commit, where there is one."""

    kind: str
    place: str
    version: str
    actor: str

    @classmethod
    def of(cls, origin: Origin) -> "OriginDocument":
        return cls(kind=origin.kind.value, place=origin.place, version=origin.version, actor=origin.actor)


class ClusterSummary(Answer):
    """A cluster, in short. `phase`: that of its group which is worst off. `as_of`: when it was last seen."""

    cluster: str
    revision: int
    origin: OriginDocument
    declared_at: Moment
    owner: str | None
    converged: bool
    phase: str
    ready: int
    wanted: int
    withdrawn: bool
    prune: bool
    as_of: Moment | None


class ClustersDocument(Answer):
    clusters: list[ClusterSummary]


GroupJson: TypeAlias = Annotated[
    Mapping[str, JsonValue], WithJsonSchema({"$ref": "#/components/schemas/GroupDocument"})
]
"""A group's document as it was made, perhaps by a controller of another release: it is handed on, not judged."""


class ClusterDocument(ClusterSummary):
    groups: Sequence[GroupJson]


class RevisionDocument(Answer):
    """A number of a cluster's past. `origin` is null where `infra apply` made it without a controller."""

    number: int
    digest: str
    at: Moment
    origin: OriginDocument | None

    @classmethod
    def of(cls, record: RevisionRecord) -> "RevisionDocument":
        origin = OriginDocument.of(record.origin) if record.origin is not None else None
        return cls(number=record.number, digest=record.spec_digest, at=record.at, origin=origin)


class RevisionsDocument(Answer):
    cluster: str
    revisions: list[RevisionDocument]


class HistoryEntryDocument(Answer):
    model_config = ConfigDict(frozen=True, extra="allow")

    at: Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
    group: str
    event: str
    revision: int | None
    image: str | None
    identity: str | None
    fingerprint: str | None
    reason: str

    @classmethod
    def of(cls, entry: HistoryEntry) -> "HistoryEntryDocument":
        return cls.model_validate(history_json(entry))


class HistoryDocument(Answer):
    cluster: str
    entries: list[HistoryEntryDocument]


class WithdrawnDocument(Answer):
    cluster: str
    prune: bool


class AppliedDocument(Answer):
    cluster: str
    revision: int
    changed: bool


class AppliedClustersDocument(Answer):
    clusters: list[AppliedDocument]
    dry_run: bool


class ScaledDocument(Answer):
    cluster: str
    group: str
    size: int
    revision: int
    changed: bool


class DoneDocument(Answer):
    cluster: str
    group: str
    text: str


class DoneListDocument(Answer):
    done: list[DoneDocument]


class RefusalDocument(Answer):
    """A change that did not get in force, and why: one mistake a line."""

    at: Moment
    reason: str
    version: str


class SourceDocument(Answer):
    """Where a source stands. Versions are commits, or digests of files. `complaint`: why it cannot be asked."""

    name: str
    kind: str
    in_force: str
    in_progress: str
    refusal: RefusalDocument | None
    complaint: str
    at: Moment | None

    @classmethod
    def of(cls, source: SourceStatus) -> "SourceDocument":
        refusal = source.refusal
        return cls(
            name=source.name,
            kind=source.kind.value,
            in_force=source.in_force,
            in_progress=source.in_progress,
            refusal=RefusalDocument(at=refusal.at, reason=refusal.reason, version=refusal.origin.version)
            if refusal is not None
            else None,
            complaint=source.complaint,
            at=source.at or None,
        )


class SourcesDocument(Answer):
    sources: list[SourceDocument]


class ControllerDocument(Answer):
    """A controller that lives. `leader`: it reads the sources. `owns`: the clusters that it keeps."""

    name: str
    leader: bool
    owns: list[str]
    address: str


class ControllersDocument(Answer):
    controllers: list[ControllerDocument]


class EventDocument(Answer):
    """Something that happened. `group` is `-` for a whole cluster."""

    id: int
    at: Moment
    cluster: str
    group: str
    event: str
    text: str
    revision: int
    actor: str
    fields: dict[str, str | int | float]

    @classmethod
    def of(cls, number: int, occurrence: Occurrence) -> "EventDocument":
        return cls(
            id=number,
            at=occurrence.at,
            cluster=occurrence.cluster,
            group=occurrence.group,
            event=occurrence.kind,
            text=occurrence.text,
            revision=occurrence.revision,
            actor=occurrence.actor,
            fields=dict(occurrence.fields),
        )


class EventsDocument(Answer):
    """`next` is what to ask for events after."""

    events: list[EventDocument]
    next: int


class ReadinessDocument(Answer):
    ready: bool
    reasons: list[str]


class AcceptedDocument(Answer):
    """The sources are looked at now."""

    accepted: bool = True
