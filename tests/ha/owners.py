"""Who owned what in an etcd, and when: heard by somebody who takes no part."""

import json
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from math import inf
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Reign:
    """A time in which a controller owned something. `revision` orders them; the instants are when it was heard."""

    name: str
    member: str
    revision: int
    began_at: float
    ended_at: float = inf


@dataclass
class Owners:
    """Hears of every change of an owner, in etcd's own order."""

    url: str
    prefix: str = "/infrakit/owners/"
    past: list[Reign] = field(default_factory=list)
    now: dict[str, Reign] = field(default_factory=dict)

    @property
    def reigns(self) -> list[Reign]:
        """Return all of them, those that last among them, in order."""
        return sorted([*self.past, *self.now.values()], key=lambda reign: reign.revision)

    def owner(self, name: str) -> str:
        reign = self.now.get(name)
        return reign.member if reign is not None else ""

    def owned(self, member: str) -> list[str]:
        return sorted(reign.name for reign in list(self.now.values()) if reign.member == member)

    def hear(self, event: Mapping[str, Any], at: float) -> None:
        found = event["kv"]
        name = unquote(b64decode(found["key"]).decode().removeprefix(self.prefix))
        if event.get("type") == "DELETE":
            ended = self.now.pop(name)
            self.past.append(Reign(name, ended.member, ended.revision, ended.began_at, at))
        elif found["create_revision"] == found["mod_revision"]:
            self.now[name] = Reign(name, b64decode(found["value"]).decode(), int(found["mod_revision"]), at)


@contextmanager
def owners_of(url: str) -> Iterator[Owners]:
    """Listen to an etcd from its beginning, as long as the context is open."""
    owners = Owners(url)
    connection = HTTPConnection(urlsplit(url).netloc)
    begin, end = owners.prefix.encode(), owners.prefix.encode()[:-1] + b"0"
    wanted = {"key": b64encode(begin).decode(), "range_end": b64encode(end).decode(), "start_revision": 1}
    connection.request("POST", "/v3/watch", json.dumps({"create_request": wanted}))
    stream = connection.getresponse()

    def listen() -> None:
        with suppress(OSError, ValueError, AttributeError):  # the end of the connection
            while line := stream.readline():
                at = time.time()
                for event in json.loads(line)["result"].get("events", ()):
                    owners.hear(event, at)

    thread = Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield owners
    finally:
        if connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(2)
        thread.join(10.0)
        stream.close()
        connection.close()
