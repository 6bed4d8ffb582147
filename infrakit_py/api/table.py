"""All operations of the API, one after the other."""

import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final, TypeVar

from pydantic import BaseModel

from infrakit_py.api.changing import Changing
from infrakit_py.api.documents import (
    AcceptedDocument,
    AppliedClustersDocument,
    ClusterDocument,
    ClustersDocument,
    ControllersDocument,
    DoneListDocument,
    EventsDocument,
    HistoryDocument,
    ReadinessDocument,
    RevisionsDocument,
    ScaledDocument,
    SourcesDocument,
    WithdrawnDocument,
)
from infrakit_py.api.inputs import (
    ApplyBody,
    ApplyQuery,
    Body,
    EventsQuery,
    HistoryQuery,
    NoBody,
    Query,
    RawBody,
    RolloutBody,
    ScaleBody,
    StreamQuery,
    WithdrawQuery,
)
from infrakit_py.api.operations import (
    EVENTS,
    JSON,
    METRICS,
    TEXT,
    YAML,
    AnyOperation,
    Asked,
    Method,
    Operation,
    Reply,
    Response,
)
from infrakit_py.api.reading import Reading
from infrakit_py.api.tokens import Role

Q = TypeVar("Q", bound=Query)
B = TypeVar("B", bound=Body)

_OK: Final = HTTPStatus.OK
_UNAVAILABLE: Final = HTTPStatus.SERVICE_UNAVAILABLE
_PARTS: Final = {"cluster": "the cluster's name", "group": "the group's name"}
_CLUSTER: Final = "/v1/clusters/{cluster}"


def operations(
    reading: Reading, changing: Changing, metrics: Callable[[], bytes], openapi: Callable[[], bytes]
) -> Sequence[AnyOperation]:
    """Return the table. `metrics` and `openapi` make those two texts."""
    return (*_about_itself(reading, metrics, openapi), *_reads(reading), *_writes(changing))


def _about_itself(
    reading: Reading, metrics: Callable[[], bytes], openapi: Callable[[], bytes]
) -> Sequence[AnyOperation]:
    ready = {
        _OK: Response("it does", ReadinessDocument),
        _UNAVAILABLE: Response("what is missing", ReadinessDocument),
    }
    alive = {_OK: Response("it does", media_type=TEXT), _UNAVAILABLE: Response("it does not", media_type=TEXT)}
    return (
        _get(
            "healthz", "/healthz", "Whether the controller's loop turns", Query, reading.healthz, alive, prompt=True
        ),
        _get("readyz", "/readyz", "Whether the controller works", Query, reading.readyz, ready),
        _get(
            "metrics",
            "/metrics",
            "Metrics for Prometheus",
            Query,
            _text(metrics, METRICS),
            {_OK: Response("in its text format", media_type=TEXT)},
            role=Role.READ,
        ),
        _get(
            "openapi",
            "/openapi.json",
            "This document",
            Query,
            _text(openapi, JSON),
            {_OK: Response("OpenAPI 3.1")},
            prompt=True,
        ),
    )


def _reads(reading: Reading) -> Sequence[AnyOperation]:
    return (
        _read("clusters", "/v1/clusters", "All clusters, in short", Query, reading.clusters, ClustersDocument),
        _read("cluster", _CLUSTER, "A cluster, its groups and machines", Query, reading.cluster, ClusterDocument),
        _read(
            "revisions",
            f"{_CLUSTER}/revisions",
            "The numbers of a cluster's past",
            Query,
            reading.revisions,
            RevisionsDocument,
        ),
        _read(
            "history",
            f"{_CLUSTER}/history",
            "What became of the versions of a cluster's groups",
            HistoryQuery,
            reading.history,
            HistoryDocument,
        ),
        _read("sources", "/v1/sources", "Where the sources stand", Query, reading.sources, SourcesDocument),
        _read("controllers", "/v1/controllers", "Who lives", Query, reading.controllers, ControllersDocument),
        _read("events", "/v1/events", "What happened", EventsQuery, reading.events, EventsDocument),
        _get(
            "stream",
            "/v1/events/stream",
            "What happens, as it happens (server-sent events); heeds Last-Event-ID",
            StreamQuery,
            None,
            {_OK: Response("ends when the controller stops", media_type=EVENTS)},
            role=Role.READ,
        ),
    )


def _writes(changing: Changing) -> Sequence[AnyOperation]:
    rollout = f"{_CLUSTER}/rollout"
    return (
        Operation(
            "withdraw",
            Method.DELETE,
            _CLUSTER,
            Role.WRITE,
            "Keep a cluster no more",
            WithdrawQuery,
            NoBody,
            changing.withdraw,
            {_OK: Response("it is withdrawn", WithdrawnDocument)},
            (HTTPStatus.CONFLICT,),
            parameters=_parts(_CLUSTER),
        ),
        _post(
            "apply",
            "/v1/apply",
            "Put clusters in force: all of them, or none",
            ApplyQuery,
            ApplyBody,
            changing.apply,
            Response("what became of each", AppliedClustersDocument),
            media_types=(JSON, YAML),
        ),
        _post(
            "scale",
            f"{_CLUSTER}/groups/{{group}}/scale",
            "Give a group another size, until its source changes",
            Query,
            ScaleBody,
            changing.scale,
            Response("the revision in force", ScaledDocument),
        ),
        *(
            _post(
                name,
                f"{rollout}/{name}",
                summary,
                Query,
                RolloutBody,
                handle,
                Response("what was done, by group", DoneListDocument),
                body_optional=True,
            )
            for name, summary, handle in (
                ("pause", "Hold rollouts", changing.pause),
                ("resume", "Let rollouts go on", changing.resume),
                ("undo", "Go back to the version before", changing.undo),
            )
        ),
        Operation(
            "wake",
            Method.POST,
            "/webhooks/git",
            None,
            "Look at the sources now; signed by the Git host",
            Query,
            RawBody,
            changing.wake,
            {HTTPStatus.ACCEPTED: Response("they are looked at", AcceptedDocument)},
            (HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND),
        ),
    )


def _read(
    name: str,
    path: str,
    summary: str,
    query: type[Q],
    handle: Callable[[Asked[Q, NoBody]], Reply],
    answer: type[BaseModel],
) -> AnyOperation:
    return _get(name, path, summary, query, handle, {_OK: Response(summary, answer)}, role=Role.READ)


def _get(
    name: str,
    path: str,
    summary: str,
    query: type[Q],
    handle: Callable[[Asked[Q, NoBody]], Reply] | None,
    responses: Mapping[HTTPStatus, Response],
    *,
    role: Role | None = None,
    prompt: bool = False,
) -> AnyOperation:
    return Operation(
        name,
        Method.GET,
        path,
        role,
        summary,
        query,
        NoBody,
        handle,
        responses,
        prompt=prompt,
        parameters=_parts(path),
    )


def _post(
    name: str,
    path: str,
    summary: str,
    query: type[Q],
    body: type[B],
    handle: Callable[[Asked[Q, B]], Reply],
    response: Response,
    *,
    media_types: tuple[str, ...] = (JSON,),
    body_optional: bool = False,
) -> AnyOperation:
    """Describe a write that must fit what is in force."""
    return Operation(
        name,
        Method.POST,
        path,
        Role.WRITE,
        summary,
        query,
        body,
        handle,
        {_OK: response},
        (HTTPStatus.CONFLICT,),
        media_types,
        body_optional=body_optional,
        parameters=_parts(path),
    )


def _parts(path: str) -> Mapping[str, str]:
    return {name: _PARTS[name] for name in re.findall(r"{(\w+)}", path)}


def _text(make: Callable[[], bytes], media_type: str) -> Callable[[Asked[Query, NoBody]], Reply]:
    def handle(asked: Asked[Query, NoBody]) -> Reply:
        del asked
        return Reply(make(), media_type=media_type)

    return handle
