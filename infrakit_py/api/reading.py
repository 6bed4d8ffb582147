"""What the API tells: where clusters, sources and controllers stand, and what happened. It changes nothing."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final, cast

from pydantic import JsonValue

from infrakit_py.api.controls import Controls, Standing
from infrakit_py.api.documents import (
    ClusterDocument,
    ClustersDocument,
    ClusterSummary,
    ControllerDocument,
    ControllersDocument,
    EventDocument,
    EventsDocument,
    HistoryDocument,
    HistoryEntryDocument,
    OriginDocument,
    ReadinessDocument,
    RevisionDocument,
    RevisionsDocument,
    SourceDocument,
    SourcesDocument,
)
from infrakit_py.api.inputs import EventsQuery, HistoryQuery, NoBody, Query
from infrakit_py.api.operations import TEXT, Asked, Reply
from infrakit_py.api.problems import Refusal
from infrakit_py.engine.engine import Phase
from infrakit_py.model.spec import Json

LATEST: Final = -1
_WORST_FIRST: Final = (
    Phase.FAILED,
    Phase.BLOCKED,
    Phase.STOPPED,
    Phase.ROLLED_BACK,
    Phase.WORKING,
    Phase.CONVERGED,
)


class Reading:
    """Answers questions. Safe for threads."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    def healthz(self, asked: Asked[Query, NoBody]) -> Reply:
        del asked
        if self._controls.is_alive():
            return Reply(b"ok\n", media_type=TEXT)
        return Reply(b"the controller's loop does not turn\n", HTTPStatus.SERVICE_UNAVAILABLE, TEXT)

    def readyz(self, asked: Asked[Query, NoBody]) -> Reply:
        del asked
        readiness = self._controls.readiness()
        document = ReadinessDocument(ready=readiness.ready, reasons=list(readiness.reasons))
        return Reply(document, HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE)

    def clusters(self, asked: Asked[Query, NoBody]) -> Reply:
        del asked
        standings = self._controls.standings()
        return Reply(ClustersDocument(clusters=[summary(standing) for _, standing in sorted(standings.items())]))

    def cluster(self, asked: Asked[Query, NoBody]) -> Reply:
        standing = known(self._controls, asked.path["cluster"])
        groups = [_group(standing, name) for name in sorted(_names(standing))]
        return Reply(ClusterDocument(**dict(summary(standing)), groups=groups))

    def revisions(self, asked: Asked[Query, NoBody]) -> Reply:
        cluster = asked.path["cluster"]
        records = self._controls.revisions(cluster)
        if not records:
            known(self._controls, cluster)
        return Reply(
            RevisionsDocument(cluster=cluster, revisions=[RevisionDocument.of(record) for record in records])
        )

    def history(self, asked: Asked[HistoryQuery, NoBody]) -> Reply:
        cluster, group = asked.path["cluster"], asked.query.group
        entries = self._controls.history(cluster)
        if not entries:
            known(self._controls, cluster)
        wanted = [entry for entry in entries if group in (None, entry.group)][-asked.query.limit :]
        return Reply(HistoryDocument(cluster=cluster, entries=[HistoryEntryDocument.of(entry) for entry in wanted]))

    def sources(self, asked: Asked[Query, NoBody]) -> Reply:
        del asked
        sources = self._controls.sources()
        return Reply(SourcesDocument(sources=[SourceDocument.of(source) for _, source in sorted(sources.items())]))

    def controllers(self, asked: Asked[Query, NoBody]) -> Reply:
        del asked
        return Reply(
            ControllersDocument(
                controllers=[
                    ControllerDocument(name=c.name, leader=c.leader, owns=sorted(c.owns), address=c.address)
                    for c in sorted(self._controls.controllers(), key=lambda c: c.name)
                ]
            )
        )

    def events(self, asked: Asked[EventsQuery, NoBody]) -> Reply:
        query = asked.query
        after = LATEST if query.after is None else query.after
        found = self._controls.occurrences(after, cluster=query.cluster, limit=query.limit)
        events = [EventDocument.of(number, occurrence) for number, occurrence in found]
        return Reply(EventsDocument(events=events, next=events[-1].id if events else query.after or 0))


def known(controls: Controls, cluster: str) -> Standing:
    """Return where a cluster stands. Refusal (404) where nobody declares it."""
    standing = controls.standings().get(cluster)
    if standing is None:
        raise Refusal(HTTPStatus.NOT_FOUND, f"no cluster is called {cluster!r}")
    return standing


def summary(standing: Standing) -> ClusterSummary:
    declared, spec = standing.declared, standing.declared.spec
    names = _names(standing)
    return ClusterSummary(
        cluster=spec.name,
        revision=declared.revision,
        origin=OriginDocument.of(declared.origin),
        declared_at=declared.at,
        owner=standing.owner or None,
        converged=all(field(standing.groups.get(name), "converged") is True for name in names),
        phase=_worst(standing.phases.get(name, Phase.WORKING.value) for name in names),
        ready=sum(number(standing.groups.get(name), "ready") for name in names),
        wanted=sum(_wanted(standing, name) for name in names),
        withdrawn=declared.withdrawn,
        prune=declared.prune,
        as_of=standing.at or None,
    )


def field(document: Json, key: str) -> Json:
    """Return a group's document's value; None where there is none."""
    return document.get(key) if isinstance(document, Mapping) else None


def number(document: Json, key: str) -> int:
    found = field(document, key)
    return found if isinstance(found, int) else 0


def _names(standing: Standing) -> set[str]:
    """Return the groups that are declared or seen."""
    return {*standing.declared.spec.groups, *standing.groups, *standing.phases}


def _wanted(standing: Standing, name: str) -> int:
    """Return what its last look wanted of a group, or, before the first one, what is declared."""
    if name in standing.groups:
        return number(standing.groups[name], "wanted")
    spec = standing.declared.spec.groups.get(name)
    return spec.count if spec is not None and not standing.declared.withdrawn else 0


def _worst(phases: Iterable[str]) -> str:
    found = set(phases)
    unknown = sorted(found - set(_WORST_FIRST))
    return next(
        (phase.value for phase in _WORST_FIRST if phase.value in found), unknown[0] if unknown else "converged"
    )


def _group(standing: Standing, name: str) -> Mapping[str, JsonValue]:
    document = standing.groups.get(name)
    seen = document if isinstance(document, Mapping) else {"group": name, "wanted": _wanted(standing, name)}
    return cast(Mapping[str, JsonValue], {**seen, "engine_phase": standing.phases.get(name, Phase.WORKING.value)})
