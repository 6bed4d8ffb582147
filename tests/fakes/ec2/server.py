"""The fake as an HTTP server on this machine: many connections, each kept open, no waiting for full packets."""

import json
from collections import Counter
from threading import Thread
from types import TracebackType
from typing import Any, Final, Self

from infrakit_py.clock import SystemClock
from infrakit_py.errors import InfrakitError
from infrakit_py.spi.provider import Now
from tests.fakes.ec2.front import Front
from tests.fakes.ec2.hand import ACTS, Hand, picture
from tests.fakes.ec2.settings import FakeSettings
from tests.fakes.ec2.world import World
from tests.fakes.serving import Handler, LocalServer

_OWN: Final = "/_fake/"


class FakeEC2(Hand):
    """EC2, ELBv2, SSM, STS and service quotas of one account in one region, at `url`."""

    def __init__(self, settings: FakeSettings | None = None, clock: Now | None = None, *, port: int = 0) -> None:
        super().__init__(World(settings or FakeSettings(), clock or SystemClock()))
        self.front = Front(self.world)
        self._server = _Server(self, port)
        self.url = self._server.url
        self._thread: Thread | None = None

    @property
    def calls(self) -> Counter[str]:
        """How often each action was called, refused calls included."""
        return self.front.calls

    @property
    def mistakes(self) -> list[str]:
        """What the fake itself did wrong. Should be empty at a test's end."""
        return self.front.mistakes

    def picture(self) -> dict[str, Any]:
        """Return what there is, in numbers."""
        return picture(self, self.calls, self.mistakes)

    def serve(self) -> None:
        """Answer requests until `stop`."""
        self._server.serve()

    def stop(self) -> None:
        """Let `serve` return. From another thread than that one."""
        self._server.shutdown()

    def __enter__(self) -> Self:
        self._thread = Thread(target=self.serve, name="fake-ec2", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread:
            self.stop()
            self._thread.join()
        self.close()

    def close(self) -> None:
        self._server.server_close()
        self.cloud.close()


class _Server(LocalServer):
    def __init__(self, fake: FakeEC2, port: int) -> None:
        self.fake = fake
        super().__init__(_Handler, port)


class _Handler(Handler):
    server: _Server

    def do_POST(self) -> None:
        body = self.body()
        if self.path.startswith(_OWN):
            self._interfere(self.path.removeprefix(_OWN), body)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, kind, answer = self.server.fake.front.answer(headers, body)
        self.send(status, [("Content-Type", kind)], answer)

    def do_GET(self) -> None:
        if self.path == f"{_OWN}state":
            self._json(200, self.server.fake.picture())
        else:
            self._json(404, {"error": "there are GET /_fake/state, POST /_fake/<act> and the API at POST /"})

    def _interfere(self, name: str, body: bytes) -> None:
        if name not in ACTS:
            self._json(404, {"error": f"no act {name!r}; there are {', '.join(ACTS)}"})
            return
        try:
            result = ACTS[name](self.server.fake, **json.loads(body or b"{}"))
        except (InfrakitError, KeyError, TypeError, ValueError, StopIteration) as exc:
            self._json(400, {"error": f"{name}: {exc!r}"})
        else:
            self._json(200, {"result": result})

    def _json(self, status: int, document: object) -> None:
        self.send(status, [("Content-Type", "application/json")], json.dumps(document).encode())
