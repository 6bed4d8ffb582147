"""What comes in, made values of: queries and bodies, with limits, and every mistake in one line."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from infrakit_py.api.changing import ONE_FILE
from infrakit_py.api.inputs import ApplyBody, Body, NoBody, Query, RawBody
from infrakit_py.api.operations import YAML, AnyOperation
from infrakit_py.api.problems import Refusal

M = TypeVar("M", bound=BaseModel)

MAX_BYTES: Final = 4 * 1024 * 1024
_DRAINED_BYTES: Final = 4 * MAX_BYTES
"""How much of a body that is too large is read, so that its sender comes to read the answer."""
_SECONDS: Final = 60.0
_TOLD: Final = 5


def read_query(operation: AnyOperation, request: Request) -> Query:
    """Return the parameters. Refusal (400) for unknown, repeated and wrong ones."""
    written = request.query_params.multi_items()
    repeated = [name for name, times in Counter(name for name, _ in written).items() if times > 1]
    if repeated:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{_shown(repeated[0])} is given more than once")
    try:
        query: Query = operation.query.model_validate(dict(written))
    except ValidationError as exc:
        raise Refusal(HTTPStatus.BAD_REQUEST, _complaint(exc)) from exc
    return query


async def read_body(operation: AnyOperation, request: Request) -> Body:
    """Return the body. Refusal for one that is too large, too late, of another kind, or wrong."""
    if not operation.takes_body:
        return NoBody()
    if operation.takes_raw:
        return RawBody(content=await _content(request))
    media_type = _media_type(request.headers)
    if media_type and media_type not in operation.media_types:
        raise _other_kind(operation)
    content = await _content(request)
    if not content and not media_type and operation.body_optional:
        content = b"{}"
    elif not media_type:
        raise _other_kind(operation)
    if media_type == YAML:
        return _one_file(content)
    body: Body = _parsed(operation.body, content)
    return body


def _parsed(model: type[M], content: bytes) -> M:
    try:
        return model.model_validate_json(content)
    except ValidationError as exc:
        malformed = any(
            error["type"] == "json_invalid" for error in exc.errors(include_url=False, include_input=False)
        )
        status = HTTPStatus.BAD_REQUEST if malformed else HTTPStatus.UNPROCESSABLE_ENTITY
        raise Refusal(status, _complaint(exc)) from exc


def _one_file(content: bytes) -> ApplyBody:
    try:
        return ApplyBody(files={ONE_FILE: content.decode()}, main=[ONE_FILE])
    except UnicodeDecodeError as exc:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the body is no UTF-8 text: byte {exc.start} is wrong") from exc


def _media_type(headers: Mapping[str, str]) -> str:
    kind, _, options = headers.get("content-type", "").partition(";")
    charset = options.strip().lower().removeprefix("charset=").strip('"')
    return kind.strip().lower() if charset in ("", "utf-8", "utf8") else f"{kind}; {options}"


def _other_kind(operation: AnyOperation) -> Refusal:
    wanted = " or ".join(operation.media_types)
    return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body must be {wanted}, in UTF-8")


async def _content(request: Request) -> bytes:
    too_large = Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is larger than {MAX_BYTES // 1024 // 1024} MiB",
        headers={"Connection": "close"},
    )
    length = request.headers.get("content-length", "")
    declared = int(length) if length.isdecimal() else 0
    if declared > _DRAINED_BYTES or (declared > MAX_BYTES and "expect" in request.headers):
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > _DRAINED_BYTES:
                    raise too_large
                if size <= MAX_BYTES:
                    parts.append(part)
    except TimeoutError as exc:
        closing = {"Connection": "close"}
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time", headers=closing) from exc
    except ClientDisconnect as exc:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the connection ended before the body did") from exc
    if size > MAX_BYTES:
        raise too_large
    return b"".join(parts)


def _complaint(error: ValidationError) -> str:
    """Say what is wrong where, and nothing of what was sent: it may be a secret."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [_line(tuple(one["loc"]), one["msg"]) for one in found[:_TOLD]]
    more = f" (and {len(found) - _TOLD} more)" if len(found) > _TOLD else ""
    return "; ".join(lines) + more


def _line(place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(_shown(str(part)) for part in place if part != "[key]")
    said = " ".join(message.removeprefix("Value error, ").split())
    return f"{where}: {said}" if where else said


def _shown(name: str) -> str:
    return name if name.isprintable() and len(name) <= 100 else repr(name[:100])
