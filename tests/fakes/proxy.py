"""A line that breaks when it is told to: an HTTP proxy between a client and a server on this machine.

Rules say which calls are struck and how; what no rule strikes passes as it is. It knows HTTP and no service, so that
it stands in front of any fake.
"""

import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from threading import Lock, Thread
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from tests.fakes.serving import Handler, LocalServer

_NOT_FORWARDED: Final = frozenset({"connection", "host", "content-length", "transfer-encoding", "keep-alive"})
THROTTLED: Final = (
    "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>Request limit exceeded.</Message></Error>"
    "</Errors><RequestID>proxy</RequestID></Response>"
)
"""What EC2 says over its limit, with status 503."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that came. `number` counts all calls from 1."""

    number: int
    method: str
    path: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """Return what rules look into: method, path and body."""
        return f"{self.method} {self.path}\n{self.body.decode(errors='replace')}"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True)
class DropRequest:
    """The connection ends; nothing is forwarded."""


@dataclass(frozen=True, slots=True)
class DropReply:
    """The work is done; the connection ends without an answer."""


@dataclass(frozen=True, slots=True)
class CutReply:
    """The work is done; the answer ends halfway."""


@dataclass(frozen=True, slots=True)
class Delay:
    """The call is forwarded later, or its answer is."""

    seconds: float
    where: Literal["before", "after"] = "before"


@dataclass(frozen=True, slots=True)
class Say:
    """Answer so; nothing is forwarded."""

    status: int = 503
    body: str = THROTTLED
    kind: str = "text/xml;charset=UTF-8"


@dataclass(slots=True)
class Limit:
    """A bucket that holds `burst` tokens and gains `per_second`; without a token, the call is answered by `over`."""

    burst: float
    per_second: float
    over: Say = field(default_factory=Say)
    now: Callable[[], float] = time.monotonic
    _level: float | None = None
    _at: float = 0.0

    def take(self) -> bool:
        now = self.now()
        level = (
            self.burst if self._level is None else min(self.burst, self._level + (now - self._at) * self.per_second)
        )
        self._level, self._at = (level - 1, now) if level >= 1 else (level, now)
        return level >= 1


@dataclass(frozen=True, slots=True)
class Tap:
    """A function is called: before forwarding, or after the work is done and before anything is answered."""

    act: Callable[[Call], None]
    where: Literal["before", "after"] = "before"


Effect = DropRequest | DropReply | CutReply | Delay | Say | Limit | Tap


@dataclass(slots=True)
class Rule:
    """Strikes calls whose method, path and body (as `Call.text`) the pattern is found in.

    Of those, from the `first` on, and only `times` of them; None for all.
    """

    pattern: str
    effect: Effect
    first: int = 1
    times: int | None = 1
    seen: int = 0
    """How many calls it has matched."""

    def strikes(self, call: Call) -> bool:
        """Tell whether a call is struck, and count it."""
        if not re.search(self.pattern, call.text):
            return False
        self.seen += 1
        return self.seen >= self.first and (self.times is None or self.seen < self.first + self.times)


@dataclass(slots=True)
class Logged:
    """A call and what came of it: a status, or None where the client got no whole answer."""

    call: Call
    status: int | None = None
    forwarded: bool = False


class FaultProxy:
    """The proxy, at `url`. Rules may be added while it works; the first that strikes in each place counts."""

    def __init__(self, target: str, rules: Sequence[Rule] = (), *, port: int = 0) -> None:
        self.rules = list(rules)
        self.log: list[Logged] = []
        self._lock = Lock()
        parts = urlsplit(target)
        self.target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._server = _Server(self, port)
        self.url = self._server.url
        self._thread = Thread(target=self._server.serve, name="fault-proxy", daemon=True)

    def add(self, pattern: str, effect: Effect, *, first: int = 1, times: int | None = 1) -> Rule:
        """Add a rule. Return it, to look at how often it matched."""
        rule = Rule(pattern, effect, first, times)
        with self._lock:
            self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """Let everything pass from now on."""
        with self._lock:
            self.rules.clear()

    def calls(self, pattern: str = "") -> list[Logged]:
        """Return the calls so far whose text the pattern is found in."""
        with self._lock:
            return [one for one in self.log if re.search(pattern, one.call.text)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def pass_on(
        self, line: "_Line", method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Answer | None, bool]:
        """Let a call through, or what its effects leave of it: None for no answer; whether the answer is whole."""
        with self._lock:
            call = Call(len(self.log) + 1, method, path, body, headers)
            logged = Logged(call)
            self.log.append(logged)
            effects = [rule.effect for rule in self.rules if rule.strikes(call)]
            over = next((one.over for one in effects if isinstance(one, Limit) and not one.take()), None)
        for effect in effects:
            match effect:
                case DropRequest():
                    return None, False
                case Delay(seconds, "before"):
                    time.sleep(seconds)
                case Tap(act, "before"):
                    act(call)
                case Say():
                    over = over or effect
        if over:
            logged.status = over.status
            return Answer(over.status, [("Content-Type", over.kind)], over.body.encode()), True
        logged.forwarded = True
        answer = line.forward(call)
        for effect in effects:
            match effect:
                case Tap(act, "after"):
                    act(call)
                case Delay(seconds, "after"):
                    time.sleep(seconds)
        if answer is None or any(isinstance(one, DropReply) for one in effects):
            return None, False
        if any(isinstance(one, CutReply) for one in effects):
            return answer, False
        logged.status = answer.status
        return answer, True


class _Line:
    """A connection to the server, opened when it is first needed and kept."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._connection: HTTPConnection | None = None

    def forward(self, call: Call) -> Answer | None:
        """Ask the server. None if it does not answer."""
        headers = {name: value for name, value in call.headers.items() if name.lower() not in _NOT_FORWARDED}
        try:
            connection = self._connection = self._connection or self._connect()
            connection.request(call.method, call.path, call.body, headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, HTTPException):
            self.close()
            return None
        kept = [(name, value) for name, value in response.getheaders() if name.lower() not in _NOT_FORWARDED]
        return Answer(response.status, kept, body)

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _connect(self) -> HTTPConnection:
        connection = HTTPConnection(*self._target)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


class _Server(LocalServer):
    def __init__(self, proxy: FaultProxy, port: int) -> None:
        self.proxy = proxy
        super().__init__(_Handler, port)


class _Handler(Handler):
    server: _Server

    def setup(self) -> None:
        super().setup()
        self._line = _Line(self.server.proxy.target)

    def finish(self) -> None:
        self._line.close()
        super().finish()

    def do_POST(self) -> None:
        body = self.body()
        answer, whole = self.server.proxy.pass_on(
            self._line, self.command, self.path, dict(self.headers.items()), body
        )
        if answer is None:
            self.close_connection = True
            return
        length = len(answer.body)
        self.close_connection = self.close_connection or not whole
        self.send(
            answer.status, list(answer.headers), answer.body if whole else answer.body[: length // 2], length=length
        )

    do_GET = do_PUT = do_DELETE = do_PATCH = do_POST
