"""Asks the API over a real connection."""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit

READER: Final = "reader-token-0123456789"
WRITER: Final = "writer-token-0123456789"
TOKENS: Final = f"""\
# who may ask
grafana read {READER}
anna write {WRITER}
"""
TIMEOUT_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Asking:
    """One who asks with a token."""

    url: str
    token: str = ""
    tls: ssl.SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def to(self, token: str) -> "Asking":
        return replace(self, token=token)

    def get(self, path: str, **headers: str) -> Answered:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, body: object = None, **headers: str) -> Answered:
        content = json.dumps(body).encode() if body is not None else b""
        kind = {"Content-Type": "application/json"} if body is not None else {}
        return self.ask("POST", path, content, {**kind, **headers})

    def ask(self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None) -> Answered:
        with closing(self.connection()) as connection:
            connection.request(method, path, content or None, {**self._own, **(headers or {})})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answered(response.status, found, response.read())

    @contextmanager
    def stream(self, path: str = "/v1/events/stream", **headers: str) -> Iterator[HTTPResponse]:
        with closing(self.connection()) as connection:
            connection.request("GET", path, headers={**self._own, **headers})
            yield connection.getresponse()

    @contextmanager
    def at_once(self, count: int, path: str) -> Iterator[list[HTTPConnection]]:
        """Ask so many times for a path, and wait for none of the answers."""
        with ExitStack() as stack:
            connections = [stack.enter_context(closing(self.connection())) for _ in range(count)]
            for connection in connections:
                connection.request("GET", path, headers=dict(self._own))
            yield connections

    def connection(self) -> HTTPConnection:
        parts = urlsplit(self.url)
        if self.tls is not None:
            return HTTPSConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS, context=self.tls)
        return HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)

    @property
    def _own(self) -> Mapping[str, str]:
        return {**({"Authorization": f"Bearer {self.token}"} if self.token else {}), **self.headers}


def told(response: HTTPResponse, count: int) -> list[dict[str, Any]]:
    """Read so many events of a stream: their documents, with the id and event of the stream as `_id` and `_event`."""
    events: list[dict[str, Any]] = []
    lines: dict[str, str] = {}
    while len(events) < count:
        line = response.readline().decode()
        if not line:
            raise EOFError(f"the stream ended after {events}")
        if line.strip() and not line.startswith(":"):
            name, _, value = line.rstrip("\n").partition(": ")
            lines[name] = value
        elif "data" in lines:
            events.append({**json.loads(lines["data"]), "_id": lines["id"], "_event": lines["event"]})
            lines = {}
    return events
