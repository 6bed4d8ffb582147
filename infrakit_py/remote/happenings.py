"""Events as a server sends them, for as long as somebody reads. A connection that breaks loses none of them."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Final, NamedTuple, cast

from infrakit_py.clock import Clock
from infrakit_py.errors import InfrakitError
from infrakit_py.model.spec import Json
from infrakit_py.remote.client import Client, below
from infrakit_py.remote.faults import ServerError

_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 10.0


class Sent(NamedTuple):
    """One event of a stream: its id, and its data as text."""

    id: str
    data: str


def follow(
    client: Client, clock: Clock, after: int, cluster: str | None, told: Callable[[ServerError], None]
) -> Iterator[Mapping[str, Json]]:
    """Yield events after the one of that number, for ever; `told` hears why a connection was lost, once each time.

    It goes on after the last event that came. UsageError where the server says no.
    """
    chance, failures, said, last = Random(), 0, False, after
    while True:
        try:
            headers = {"Last-Event-ID": str(last)}
            with client.lines(below("events", "stream"), {"after": last, "cluster": cluster}, headers) as lines:
                failures, said = 0, False
                for sent in events(lines):
                    last = int(sent.id) if sent.id.isdecimal() else last
                    yield _document(client, sent)
        except ServerError as exc:
            if not said:
                told(exc)
            said = True
        failures += 1
        longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(failures, 8))
        clock.sleep(chance.uniform(longest / 2, longest))


def events(lines: Iterable[bytes]) -> Iterator[Sent]:
    """Read a stream of server-sent events. One that the stream's end cuts off is left out, as the standard says."""
    last, data = "", list[str]()
    for line in lines:
        text = line.decode(errors="replace").rstrip("\r\n")
        if not text:
            if data:
                yield Sent(last, "\n".join(data))
            data = []
            continue
        name, _, value = text.partition(":")  # a comment has no name
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "id" and "\0" not in value:
            last = value


def _document(client: Client, sent: Sent) -> Mapping[str, Json]:
    try:
        document = json.loads(sent.data)
    except (ValueError, RecursionError) as exc:
        raise InfrakitError(f"server {client.url} sends an event that is no JSON") from exc
    if not isinstance(document, dict):
        raise InfrakitError(f"server {client.url} sends an event that is no JSON object")
    return cast(Mapping[str, Json], document)
