"""The OpenAPI document, made of the table that the routes are made of. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from infrakit_py.api.operations import EVENTS, JSON, TEXT, YAML, AnyOperation, Response
from infrakit_py.api.problems import PROBLEM_TYPE, ProblemDocument
from infrakit_py.render.documents import GroupDocument

_REF: Final = "#/components/schemas/{model}"
_BEARER: Final = "bearer"
_REFUSED: Final = {
    HTTPStatus.BAD_REQUEST: "the request cannot be understood",
    HTTPStatus.UNAUTHORIZED: "a token is needed, and none that is known was sent",
    HTTPStatus.FORBIDDEN: "the token's role does not allow it",
    HTTPStatus.NOT_FOUND: "there is no such thing",
    HTTPStatus.REQUEST_TIMEOUT: "the body did not come in time",
    HTTPStatus.CONFLICT: "something else is in force than was expected",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is too large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "the body is of another kind",
    HTTPStatus.UNPROCESSABLE_ENTITY: "what the body says is wrong",
    HTTPStatus.INTERNAL_SERVER_ERROR: "the controller could not do it",
    HTTPStatus.SERVICE_UNAVAILABLE: "not now: the store does not answer, or too many ask",
}


def openapi(operations: Sequence[AnyOperation], version: str, *, tokens: bool) -> Mapping[str, Any]:
    """Return the document. `tokens`: reading needs one, too."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.value.lower()] = _operation(operation, tokens=tokens)
    return {
        "openapi": "3.1.0",
        "info": {"title": "infrakit-py controller", "version": version, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            "securitySchemes": {_BEARER: {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: AnyOperation, *, tokens: bool) -> Mapping[str, Any]:
    secured = operation.role is not None and (tokens or operation.writes)
    document: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_header_parameters(operation)],
        "responses": _responses(operation),
        "security": [{_BEARER: []}] if secured else [],
    }
    if operation.role is not None:
        document["x-role"] = operation.role.value
    if operation.takes_body:
        document["requestBody"] = _request_body(operation)
    return document


def _path_parameters(operation: AnyOperation) -> Iterable[Mapping[str, Any]]:
    for name, description in operation.parameters.items():
        schema = {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _query_parameters(operation: AnyOperation) -> Iterable[Mapping[str, Any]]:
    schema = operation.query.model_json_schema()
    for name, found in schema.get("properties", {}).items():
        described = {key: value for key, value in _without_null(found).items() if key not in ("title", "description")}
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", []),
            "description": found.get("description", ""),
            "schema": described,
        }


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A query has no null: a parameter that may be None may be left out."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key not in ("anyOf", "default")}, **kinds[0]}


def _header_parameters(operation: AnyOperation) -> Iterable[Mapping[str, Any]]:
    if any(response.media_type == EVENTS for response in operation.responses.values()):
        schema = {"type": "string", "pattern": "^[0-9]{1,19}$"}
        description = "the last event that was received; counts instead of `after`"
        yield {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": description,
            "schema": schema,
        }


def _request_body(operation: AnyOperation) -> Mapping[str, Any]:
    if operation.takes_raw:
        return {"required": True, "description": "what the Git host sends", "content": {JSON: {"schema": {}}}}
    contents = {
        media_type: {"schema": {"type": "string"} if media_type == YAML else _reference(operation.body)}
        for media_type in operation.media_types
    }
    return {"required": not operation.body_optional, "content": contents}


def _responses(operation: AnyOperation) -> Mapping[str, Any]:
    contents: dict[HTTPStatus, dict[str, Any]] = {}
    described: dict[HTTPStatus, str] = {}
    for status, response in operation.responses.items():
        contents.setdefault(status, {})[response.media_type] = {"schema": _content(response)}
        described[status] = response.description
    for status in operation.all_refusals:
        contents.setdefault(status, {})[PROBLEM_TYPE] = {"schema": _reference(ProblemDocument)}
        described.setdefault(status, _REFUSED[status])
    return {
        str(status.value): {
            "description": described[status],
            "content": contents[status],
            "headers": _headers(status),
        }
        for status in sorted(contents)
    }


def _headers(status: HTTPStatus) -> Mapping[str, Any]:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return {"WWW-Authenticate": {"required": False, "schema": {"type": "string"}}}
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return {"Retry-After": {"required": False, "schema": {"type": "string"}, "description": "seconds"}}
        case _:
            return {}


def _content(response: Response) -> Mapping[str, Any]:
    if response.model is not None:
        return _reference(response.model)
    return {"type": "string"} if response.media_type in (TEXT, EVENTS) else {"type": "object"}


def _reference(model: type[BaseModel]) -> Mapping[str, Any]:
    return {"$ref": _REF.format(model=model.__name__)}


def _schemas(operations: Sequence[AnyOperation]) -> Mapping[str, Any]:
    sent = {r.model for o in operations for r in o.responses.values() if r.model is not None} | {ProblemDocument}
    taken = {o.body for o in operations if o.takes_body and not o.takes_raw}
    modes: list[Any] = [(model, "serialization") for model in sorted(sent, key=lambda model: model.__name__)]
    modes += [(model, "validation") for model in sorted(taken, key=lambda model: model.__name__)]
    _, schemas = models_json_schema(modes, ref_template=_REF)
    group = TypeAdapter(GroupDocument).json_schema(ref_template=_REF)
    nested = group.pop("$defs", {})
    group["properties"]["engine_phase"] = {"type": "string", "description": "where the engine stands with it"}
    return {**schemas["$defs"], **nested, "GroupDocument": group}
