"""What is wrong, in the words of our own errors: an answer that says no, and an answer that never came."""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from infrakit_py.errors import Conflict, InfrakitError, Problem, SpecError, UsageError

_MOST_BYTES: Final = 1_000_000
_LONGEST: Final = 500


class ServerError(InfrakitError):
    """A server cannot be asked now, or does not answer as one of ours does."""


class ConnectionLost(ServerError):
    """A server could not be reached, or the connection ended before its answer had come."""


def refused(url: str, answer: HTTPError) -> InfrakitError:
    """Return what an answer of 300 or more means, with what the server says of it."""
    status, told = answer.code, _told(answer)
    detail = _one_line(told.get("detail")) or _one_line(answer.reason) or "it says no more"
    hint = _one_line(told.get("hint")) or None
    text = f"server {url}: {detail}"
    if 300 <= status < 400:
        return ServerError(f"server {url} is elsewhere now: {_elsewhere(answer)}", hint="name that address")
    if status == 401:
        return UsageError(text, hint=hint or "give a token by --token-file or INFRAKIT_TOKEN")
    if status == 403:
        return UsageError(text, hint=hint or "a token with the role write may do this")
    if status == 409:
        return Conflict(text, hint=hint or "look at it again, and decide anew")
    if status == 422 and (problems := _problems(told.get("problems"))):
        return SpecError(problems)
    return ServerError(text, hint=hint) if status >= 500 else UsageError(text, hint=hint)


def lost(url: str, exc: Exception, *, changes: bool) -> ServerError:
    """Return what it means that no answer came. `changes`: the request may have been carried out all the same."""
    cause = exc.reason if isinstance(exc, URLError) and isinstance(exc.reason, BaseException) else exc
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = cause.verify_message or "it cannot be verified"
        hint = "name the authority that signed it by --ca FILE"
        return ServerError(f"server {url}: its certificate is not trusted: {why}", hint=hint)
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        hint = "does it speak http without TLS?"
        return ServerError(f"server {url}: no TLS connection: {cause.reason or cause}", hint=hint)
    if isinstance(cause, socket.gaierror):
        return ServerError(f"server {url}: its name is not known: {cause.strerror}", hint="look at the address")
    if isinstance(cause, ConnectionRefusedError):
        return ConnectionLost(
            f"server {url}: nobody listens there", hint="does the controller run, with its API open?"
        )
    hint = "it may have been done all the same: look at infra status" if changes else "try again"
    return ConnectionLost(f"server {url}: {_why(cause)}", hint=hint)


def _why(cause: BaseException) -> str:
    match cause:
        case TimeoutError():
            return "no answer in time"
        case http.client.RemoteDisconnected() | http.client.IncompleteRead() | ConnectionResetError():
            return "the connection was lost"
        case http.client.HTTPException():
            return f"what it answers is no HTTP ({type(cause).__name__})"
        case OSError():
            return _one_line(cause.strerror) or _one_line(str(cause)) or type(cause).__name__
        case _:
            return _one_line(str(cause)) or type(cause).__name__


def _told(answer: HTTPError) -> Mapping[str, Any]:
    """Return the server's own words; nothing where a proxy or something else has answered."""
    try:
        told = json.loads(answer.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return {}
    return told if isinstance(told, dict) else {}


def _problems(written: object) -> Sequence[Problem]:
    if not isinstance(written, list):
        return ()
    return [
        Problem(_one_line(one.get("file")) or "?", _number(one.get("line")), _number(one.get("column")), _text(one))
        for one in written
        if isinstance(one, dict)
    ]


def _text(problem: Mapping[str, Any]) -> str:
    return _one_line(problem.get("message")) or "is wrong"


def _number(written: object) -> int:
    return written if isinstance(written, int) else 0


def _one_line(written: object) -> str:
    """Return a text from outside such that it cannot do anything to a terminal."""
    if not isinstance(written, str):
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in written).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _elsewhere(answer: HTTPError) -> str:
    parts = urlsplit(answer.headers.get("Location", ""))
    return (
        f"{parts.scheme}://{parts.hostname}{parts.path}" if parts.hostname else parts.path or "it does not say where"
    )
