"""Asks a controller's API: JSON in, JSON out. It follows no redirect, since that would carry the token elsewhere."""

import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import IO, Any, Final, TypeAlias, TypeVar, cast
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from infrakit_py.clock import Clock, SystemClock
from infrakit_py.errors import UsageError
from infrakit_py.model.spec import Json
from infrakit_py.remote.address import Address
from infrakit_py.remote.faults import ConnectionLost, ServerError, lost, refused

T = TypeVar("T")
Query: TypeAlias = Mapping[str, str | int | bool | None]

_TIMEOUT_SECONDS: Final = 30.0
_STREAM_TIMEOUT_SECONDS: Final = 45.0
"""A stream says something at least every 15 seconds."""
_ATTEMPTS: Final = 3
_MOST_BYTES: Final = 256 * 1024 * 1024
_AGENT: Final = "infra"


class Client:
    """One controller, or several behind one address. Safe for threads. Every error names the server.

    UsageError, SpecError and Conflict are its answers to what was asked; ServerError: it cannot be asked now.
    """

    def __init__(
        self, address: Address, timeout_seconds: float = _TIMEOUT_SECONDS, clock: Clock | None = None
    ) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._clock = clock if clock is not None else SystemClock()
        self._opener = _opener(address)

    @property
    def url(self) -> str:
        return self._address.url

    def get(self, path: str, query: Query | None = None) -> Mapping[str, Json]:
        """Return a document. A lost connection is tried again a few times."""
        policy = Retrying(
            retry=retry_if_exception_type(ConnectionLost),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.2, max=2.0),
            sleep=self._clock.sleep,
            reraise=True,
        )
        return policy(lambda: self._document(self._request("GET", path, query), changes=False))

    def post(self, path: str, body: Json, query: Query | None = None) -> Mapping[str, Json]:
        """Ask for something to be done, once; return what was done."""
        request = self._request("POST", path, query, json.dumps(body, ensure_ascii=False).encode())
        request.add_header("Content-Type", "application/json")
        return self._document(request, changes=True)

    def delete(self, path: str, query: Query | None = None) -> Mapping[str, Json]:
        """Ask for something to end, once; return what was done."""
        return self._document(self._request("DELETE", path, query), changes=True)

    @contextmanager
    def lines(
        self, path: str, query: Query | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[Iterator[bytes]]:
        """Open a stream, and yield its lines as they come. ConnectionLost where it breaks off."""
        request = self._request("GET", path, query)
        request.add_header("Accept", "text/event-stream")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        with self._open(request, _STREAM_TIMEOUT_SECONDS, changes=False) as answer:
            if (kind := answer.headers.get_content_type()) != "text/event-stream":
                raise ServerError(f"server {self.url} sends {kind} where events were asked for", hint=_STRANGER)
            yield self._lines_of(answer)

    def _lines_of(self, answer: HTTPResponse) -> Iterator[bytes]:
        while line := self._guarded(lambda: answer.readline(_MOST_BYTES), changes=False):
            yield line

    def _document(self, request: Request, *, changes: bool) -> Mapping[str, Json]:
        with self._open(request, self._timeout_seconds, changes=changes) as answer:
            content = self._guarded(lambda: _content(answer), changes=changes)
        if len(content) > _MOST_BYTES:
            raise ServerError(f"server {self.url} answers with more than {_MOST_BYTES // 2**20} MiB")
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as exc:
            raise ServerError(f"server {self.url} does not answer in JSON", hint=_STRANGER) from exc
        if not isinstance(document, dict):
            raise ServerError(f"server {self.url} answers with no JSON object", hint=_STRANGER)
        return cast(Mapping[str, Json], document)

    def _open(self, request: Request, timeout_seconds: float, *, changes: bool) -> HTTPResponse:
        opened = self._guarded(lambda: self._opener.open(request, timeout=timeout_seconds), changes=changes)
        return cast(HTTPResponse, opened)

    def _guarded(self, call: Callable[[], T], *, changes: bool) -> T:
        """Return what `call` gives, or raise its error in our words."""
        try:
            return call()
        except HTTPError as exc:
            with exc:
                raise refused(self.url, exc) from exc
        except (OSError, http.client.HTTPException) as exc:  # URLError is an OSError
            raise lost(self.url, exc, changes=changes) from exc

    def _request(self, method: str, path: str, query: Query | None, body: bytes | None = None) -> Request:
        given = {name: _written(value) for name, value in (query or {}).items() if value is not None}
        url = f"{self.url}{path}" + (f"?{urlencode(given)}" if given else "")
        request = Request(url, data=body, method=method, headers={"Accept": "application/json", "User-Agent": _AGENT})
        if self._address.token:
            request.add_unredirected_header("Authorization", f"Bearer {self._address.token}")
        return request


_STRANGER: Final = "is this the address of a controller's API?"


def below(*steps: str) -> str:
    """Return the path of something in the API: `below("clusters", name)`."""
    return "/v1/" + "/".join(quote(step, safe="") for step in steps)


def _content(answer: HTTPResponse) -> bytes:
    """Return an answer's body, or a little more than is taken. IncompleteRead where some of it is missing."""
    content = answer.read(_MOST_BYTES + 1)
    if answer.length and len(content) <= _MOST_BYTES:  # a read that is told how much to read says nothing of that
        raise http.client.IncompleteRead(content, answer.length)
    return content


def _written(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> None:
        """Go nowhere: the answer itself is then the error."""


def _opener(address: Address) -> OpenerDirector:
    """Return who opens requests: by the environment's proxies, but never by one to this machine itself."""
    handlers: list[Any] = [_NoRedirects()]
    if address.is_loopback:
        handlers.append(ProxyHandler({}))
    if address.is_secure:
        handlers.append(HTTPSHandler(context=_trusting(address)))
    return build_opener(*handlers)


def _trusting(address: Address) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=address.ca_file)
    except ssl.SSLError as exc:
        raise UsageError(f"{address.ca_file} holds no certificates in PEM form") from exc
    except OSError as exc:
        raise UsageError(f"{address.ca_file} cannot be read: {exc.strerror or exc}") from exc
