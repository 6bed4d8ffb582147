"""From a request to its answer: who asks, what exactly, and how it is said. The same way for each operation."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from itertools import groupby
from typing import Any, Final, cast

import structlog
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from infrakit_py.api import audit
from infrakit_py.api.bodies import read_body, read_query
from infrakit_py.api.feed import Feed, Listener
from infrakit_py.api.inputs import MAX_NUMBER, StreamQuery
from infrakit_py.api.operations import EVENTS, AnyOperation, Asked, Change, Reply
from infrakit_py.api.problems import PROBLEM_TYPE, Refusal, refusal_of
from infrakit_py.api.threads import Threads
from infrakit_py.api.tokens import Caller, Role, Tokens
from infrakit_py.errors import InfrakitError
from infrakit_py.model.spec import Json

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_EVENT_ID: Final = "last-event-id"
_log: Final = structlog.get_logger("infrakit.api")


class Doors:
    """Who is let in. `tokens` may be replaced at any time."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens

    def identify(self, operation: AnyOperation, headers: Mapping[str, str]) -> Caller | None:
        """Return who asks; None where nobody needs a name. Refusal (401, 403) for whom nobody knows."""
        if operation.role is None:
            return None
        tokens = self.tokens
        if not tokens.required:
            _admit_nameless(operation.role, headers)
            return None
        caller = tokens.caller(headers.get("authorization", ""))
        if caller is None:
            detail = "a known token is needed: Authorization: Bearer ..."
            raise Refusal(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})
        return caller


class Application:
    """The ASGI application. `application` serves until its server stops."""

    def __init__(
        self,
        operations: Sequence[AnyOperation],
        doors: Doors,
        threads: Threads,
        feed: Feed,
        audit_log: audit.AuditLog | None,
        count: Callable[[str, int], None],
    ) -> None:
        """`count` hears of each answer: the operation's name and the status."""
        self._doors = doors
        self._threads = threads
        self._writing = Threads()  # a change may take minutes, and nobody who reads waits for one
        self._feed = feed
        self._audit_log = audit_log
        self._count = count
        by_path = groupby(sorted(operations, key=lambda o: o.path), key=lambda o: o.path)
        routes = [Route(path, _Place(self, list(found))) for path, found in by_path]
        self.application = Starlette(
            routes=routes,
            exception_handlers={HTTPException: _not_found, Refusal: _refused, Exception: _failed},
        )
        self.application.router.redirect_slashes = False

    async def answer(self, operation: AnyOperation, request: Request) -> Response:
        """Answer a request, count it and, where it would change something, write it down."""
        note = _Note()
        status, detail = HTTPStatus.INTERNAL_SERVER_ERROR.value, "failed unexpectedly"
        try:
            response = await self._answered(operation, request, note)
            status, detail = response.status_code, ""
        except Refusal as exc:
            status, detail = exc.status.value, exc.detail
            raise
        finally:
            self._count(operation.name, status)
            if operation.writes and self._audit_log is not None:
                entry = note.entry(operation, request, status, detail)
                with suppress(Refusal):  # a disk that hangs keeps nobody from an answer
                    await self._threads.promptly(partial(self._audit_log.request, entry))
        return response

    async def _answered(self, operation: AnyOperation, request: Request, note: "_Note") -> Response:
        note.caller = self._doors.identify(operation, request.headers)
        _require_role(operation, note.caller)
        note.query = query = read_query(operation, request)
        note.body = body = await read_body(operation, request)
        path = cast(Mapping[str, str], request.path_params)
        actor = note.caller.name if note.caller is not None else ""
        asked = Asked(path, query, body, actor, request.headers if operation.takes_raw else {})
        if operation.handle is None:
            return await self._stream(cast(StreamQuery, query), request)
        threads = self._writing if operation.writes else self._threads
        ask = threads.promptly if operation.prompt else threads.call
        try:
            reply, content = await ask(partial(_carried_out, operation, asked))
        except InfrakitError as exc:
            refusal = refusal_of(exc)
            if refusal.status is HTTPStatus.INTERNAL_SERVER_ERROR:
                _log.error("api.failed", operation=operation.name, error=str(exc))
            raise refusal from exc
        note.changes = reply.changes
        return Response(content, reply.status.value, _HEADERS, reply.media_type)

    async def _stream(self, query: StreamQuery, request: Request) -> Response:
        after = query.after
        if written := request.headers.get(_EVENT_ID, ""):
            if not (written.isascii() and written.isdecimal() and len(written) < 20 and int(written) <= MAX_NUMBER):
                raise Refusal(HTTPStatus.BAD_REQUEST, "Last-Event-ID: must be the number of an event")
            after = int(written)
        if request.method == "HEAD":
            return Response(None, headers=_HEADERS, media_type=EVENTS)
        try:
            listener = await self._feed.listen(after, query.cluster)
        except InfrakitError as exc:
            raise refusal_of(exc) from exc
        return _EventStream(listener)


class _Note:
    """What is known of a request so far, for the audit log."""

    def __init__(self) -> None:
        self.caller: Caller | None = None
        self.query: BaseModel | None = None
        self.body: BaseModel | None = None
        self.changes: tuple[Change, ...] = ()

    def entry(self, operation: AnyOperation, request: Request, status: int, detail: str) -> audit.Request:
        groups = getattr(self.body, "groups", None) or ()
        return audit.Request(
            actor=self.caller.name if self.caller is not None else "",
            role=self.caller.role.value if self.caller is not None else "",
            remote=request.client.host if request.client is not None else "",
            action=operation.name,
            cluster=request.path_params.get("cluster", ""),
            group=request.path_params.get("group", "") or ",".join(groups),
            reason=getattr(self.body, "reason", ""),
            result=status,
            detail=detail,
            changes=self.changes,
            options=self._options,
        )

    @property
    def _options(self) -> Mapping[str, Json]:
        """Return what was chosen, but for what may be secret."""
        chosen: dict[str, Json] = self.query.model_dump(exclude_defaults=True) if self.query is not None else {}
        if self.body is not None:
            chosen |= self.body.model_dump(include={"size", "expected"}, exclude_none=True)
        return chosen


class _Place:
    """All operations of one path."""

    def __init__(self, application: Application, operations: Sequence[AnyOperation]) -> None:
        self._application = application
        self._by_method = {operation.method.value: operation for operation in operations}
        if "GET" in self._by_method:
            self._by_method["HEAD"] = self._by_method["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        operation = self._by_method.get(request.method)
        allow = {"Allow": ", ".join(sorted({*self._by_method, "OPTIONS"}))}
        if operation is not None:
            response = await self._application.answer(operation, request)
        elif request.method == "OPTIONS":
            response = Response(None, HTTPStatus.NO_CONTENT.value, {**_HEADERS, **allow})
        else:
            detail = f"{scope['path']} does not know the method {request.method}"
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers=allow)
        await response(scope, receive, send)


class _EventStream(StreamingResponse):
    """A stream that lets go of its listener however it ends, begun or not."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener.lines(), headers={**_HEADERS, "X-Accel-Buffering": "no"}, media_type=EVENTS)
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._listener.leave()


def _require_role(operation: AnyOperation, caller: Caller | None) -> None:
    if caller is not None and operation.role is not None and not caller.role.allows(operation.role):
        raise Refusal(HTTPStatus.FORBIDDEN, f"the token of {caller.name} may only {caller.role}")


def _admit_nameless(role: Role, headers: Mapping[str, str]) -> None:
    """Whoever is on this machine may read; a web page that its browser shows may not, by whatever name."""
    hint = "set api.tokens to a file of them"
    if role is Role.WRITE:
        raise Refusal(HTTPStatus.FORBIDDEN, "without tokens nobody may change anything", hint=hint)
    if not _is_of_this_machine(headers.get("host", "")):
        detail = "without tokens this is only read by the name localhost or a loopback address"
        raise Refusal(HTTPStatus.FORBIDDEN, detail, hint=hint)


def _is_of_this_machine(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _carried_out(operation: AnyOperation, asked: Asked[Any, Any]) -> tuple[Reply, bytes]:
    """Do what was asked for, and write the answer: large ones take their time."""
    if operation.handle is None:
        raise TypeError(f"{operation.name} has no single answer")
    reply = operation.handle(asked)
    if isinstance(reply.content, bytes):
        return reply, reply.content
    return reply, json.dumps(reply.content.model_dump(mode="json"), separators=(",", ":")).encode()


def _refused(request: Request, exc: Exception) -> Response:
    del request
    refusal = cast(Refusal, exc)
    content = refusal.document.model_dump_json(exclude_none=True).encode()
    return Response(content, refusal.status.value, {**_HEADERS, **refusal.headers}, PROBLEM_TYPE)


def _not_found(request: Request, exc: Exception) -> Response:
    status = HTTPStatus(cast(HTTPException, exc).status_code)
    return _refused(request, Refusal(status, f"{request.url.path}: {status.phrase.lower()}"))


def _failed(request: Request, exc: Exception) -> Response:
    _log.error("api.bug", method=request.method, path=request.url.path, exc_info=exc)
    return _refused(request, Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected: the controller's log tells more"))
