"""An operation of the API as a value: where it is, who may call it, what goes in and what may come out.

One table of them makes both the routes and the OpenAPI document, so that the document cannot say anything else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, Generic, TypeAlias, TypeVar

from pydantic import BaseModel

from infrakit_py.api.inputs import Body, NoBody, Query, RawBody
from infrakit_py.api.tokens import Role

Q = TypeVar("Q", bound=Query)
B = TypeVar("B", bound=Body)

JSON: Final = "application/json"
YAML: Final = "application/yaml"
TEXT: Final = "text/plain"
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
EVENTS: Final = "text/event-stream"
_ALWAYS: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
_WITH_ROLE: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_WITH_BODY: Final = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


class Method(StrEnum):
    GET = "GET"
    POST = "POST"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Asked(Generic[Q, B]):
    """A valid request. `actor` is the name of its token, "" without one; `headers` come with signed bodies alone."""

    path: Mapping[str, str]
    query: Q
    body: B
    actor: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """What a request has changed, for the audit log."""

    cluster: str
    group: str = ""
    revision: int = 0
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """A document or a text, and what was changed before it could be sent."""

    content: BaseModel | bytes
    status: HTTPStatus = HTTPStatus.OK
    media_type: str = JSON
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Response:
    """What may come out: a document's model, or (None) a text."""

    description: str
    model: type[BaseModel] | None = None
    media_type: str = JSON


@dataclass(frozen=True, slots=True)
class Operation(Generic[Q, B]):
    """One method of one path.

    `role` None: open to everybody. `handle` runs in a thread, and raises Refusal or InfrakitError; None where the
    answer has no end and is made elsewhere. `prompt`: it waits for no store, and is answered whatever else is.
    """

    name: str
    method: Method
    path: str
    role: Role | None
    summary: str
    query: type[Q]
    body: type[B]
    handle: Callable[[Asked[Q, B]], Reply] | None
    responses: Mapping[HTTPStatus, Response]
    refusals: tuple[HTTPStatus, ...] = ()
    media_types: tuple[str, ...] = (JSON,)
    prompt: bool = False
    body_optional: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What the parts of the path are."""

    @property
    def takes_body(self) -> bool:
        return self.body is not NoBody

    @property
    def takes_raw(self) -> bool:
        return self.body is RawBody

    @property
    def writes(self) -> bool:
        return self.role is Role.WRITE

    @property
    def all_refusals(self) -> tuple[HTTPStatus, ...]:
        """Every status that ends in a problem document."""
        found = {*_ALWAYS, *self.refusals}
        found |= set(_WITH_ROLE) if self.role is not None else set()
        found |= set(_WITH_BODY) if self.takes_body else set()
        found |= {HTTPStatus.NOT_FOUND} if self.parameters else set()
        if self.takes_raw:
            found -= {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}
        return tuple(sorted(found))


AnyOperation: TypeAlias = Operation[Any, Any]
