"""Clients of several Redis servers, one for each, that ask and write all the time and remember what was answered."""

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from threading import Event, Thread
from typing import Final

from tests.hosts import PrivateLibvirtd

PORT: Final = 6379
ANSWER_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 0.25

Reply = bytes | int | list["Reply"] | None


class RedisError(Exception):
    """The server answered with an error."""


class Connection:
    """One connection to a server, in the protocol RESP 2. OSError where it breaks or is silent."""

    def __init__(self, address: str) -> None:
        self._socket = socket.create_connection((address, PORT), ANSWER_SECONDS)
        self._answers = self._socket.makefile("rb")

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    def ask(self, *words: str) -> Reply:
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        self._socket.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        return self._reply()

    def _reply(self) -> Reply:
        line = self._answers.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server has hung up")
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+":
                return rest
            case b":":
                return int(rest)
            case b"-":
                raise RedisError(rest.decode())
            case b"$":
                return None if rest == b"-1" else self._answers.read(int(rest) + 2)[:-2]
            case b"*":
                return [self._reply() for _ in range(int(rest))]
        raise ConnectionError(f"no answer of Redis: {line!r}")


@dataclass
class Member:
    """What one server answered: when it was asked in vain and not, and which writes it acknowledged."""

    address: str
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def outages(self) -> list[tuple[float, float]]:
        """The first and the last moment of each time in which it was asked in vain only."""
        asked = sorted([(moment, True) for moment in self.answered] + [(moment, False) for moment in self.refused])
        runs = [[moment for moment, _ in run] for was_answered, run in groupby(asked, _second) if not was_answered]
        return [(run[0], run[-1]) for run in runs]

    def ask_until(self, over: Event) -> None:
        """PING, then write one key and read another one back, again and again."""
        connection: Connection | None = None
        while not over.wait(PAUSE_SECONDS):
            began = time.monotonic()
            try:
                connection = connection or Connection(self.address)
                self._ask(connection, began)
            except (OSError, RedisError):
                self.refused.append(began)
                if connection is not None:
                    connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _ask(self, connection: Connection, began: float) -> None:
        if connection.ask("PING") != b"PONG":
            raise RedisError("no PONG")
        self.answered.append(began)
        number = str(len(self.answered))
        if connection.ask("SET", f"key-{number}", f"{self.address}/{number}") == b"OK":
            self.written[f"key-{number}"] = f"{self.address}/{number}"
        earlier = f"key-{1 + len(self.answered) // 2}"
        if earlier in self.written and connection.ask("GET", earlier) != self.written[earlier].encode():
            self.wrong.append(earlier)


def _second(pair: tuple[float, bool]) -> bool:
    return pair[1]


@contextmanager
def asked(host: PrivateLibvirtd, addresses: Mapping[str, str]) -> Iterator[dict[str, Member]]:
    """Let a client of each member ask and write as long as the context is open."""
    members = {name: Member(address) for name, address in addresses.items()}
    over = Event()
    threads = [
        Thread(target=partial(host.call_inside, partial(member.ask_until, over)), daemon=True)
        for member in members.values()
    ]
    for thread in threads:
        thread.start()
    try:
        yield members
    finally:
        over.set()
        for thread in threads:
            thread.join(30.0)


def ask(host: PrivateLibvirtd, address: str, commands: Sequence[Sequence[str]]) -> list[Reply]:
    """Ask one server several things."""

    def talk() -> list[Reply]:
        connection = Connection(address)
        try:
            return [connection.ask(*command) for command in commands]
        finally:
            connection.close()

    return host.call_inside(talk)
