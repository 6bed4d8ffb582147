"""The fake as an HTTP server on this machine: many connections, each kept open, no waiting for full packets."""

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from types import TracebackType
from typing import Final, Self

from infrakit_py.clock import SystemClock
from infrakit_py.errors import InfrakitError
from infrakit_py.spi.provider import Now
from tests.fakes.gce.auth import write_key_file
from tests.fakes.gce.front import Front
from tests.fakes.gce.hand import ACTS, Hand
from tests.fakes.gce.settings import FakeSettings
from tests.fakes.gce.storage import Storage
from tests.fakes.gce.world import World
from tests.fakes.serving import Handler, LocalServer

_OWN: Final = "/_fake/"


class FakeGCE(Hand):
    """Compute Engine of one project, at `url`, for who has `credentials`."""

    def __init__(
        self,
        settings: FakeSettings | None = None,
        clock: Now | None = None,
        *,
        port: int = 0,
        credentials: Path | None = None,
    ) -> None:
        super().__init__(Front(World(settings or FakeSettings(), clock or SystemClock())))
        self._server = _Server(self, port)
        self.url = self._server.url
        self.world.storage.url = self.url
        self._directory = TemporaryDirectory(prefix="fake-gce-")
        self.credentials = credentials or Path(self._directory.name) / "credentials.json"
        """A key file of the service account, for GOOGLE_APPLICATION_CREDENTIALS."""
        write_key_file(self.credentials, self.url)
        self._thread: Thread | None = None

    @property
    def calls(self) -> Counter[str]:
        """How often each method was called, refused calls included."""
        return self.front.calls

    @property
    def mistakes(self) -> list[str]:
        """What the fake itself did wrong. Should be empty at a test's end."""
        return self.front.mistakes

    def serve(self) -> None:
        """Answer requests until `stop`."""
        self._server.serve()

    def stop(self) -> None:
        """Let `serve` return. From another thread than that one."""
        self._server.shutdown()

    def __enter__(self) -> Self:
        self._thread = Thread(target=self.serve, name="fake-gce", daemon=True)
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
        self._directory.cleanup()


class _Server(LocalServer):
    def __init__(self, fake: FakeGCE, port: int) -> None:
        self.fake = fake
        super().__init__(_Handler, port)


class _Handler(Handler):
    server: _Server

    def do_GET(self) -> None:
        if self.path == f"{_OWN}state":
            self._json(200, self.server.fake.picture())
        else:
            self._call(b"")

    def do_POST(self) -> None:
        body = self.body()
        if self.path.startswith(_OWN):
            self._interfere(self.path.removeprefix(_OWN), body)
        elif self.path == "/token":
            with self.server.fake.world.lock:
                self._json(*self.server.fake.front.doorkeeper.give(body))
        else:
            self._call(body)

    def do_DELETE(self) -> None:
        self._call(self.body())

    def do_PATCH(self) -> None:
        self._call(self.body())

    def do_PUT(self) -> None:
        self._call(self.body())

    def _call(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if Storage.knows(self.path):
            with self.server.fake.world.lock:
                self.send(*self.server.fake.world.storage.answer(self.command, self.path, headers, body))
            return
        status, answer = self.server.fake.front.answer(self.command, self.path, headers, body)
        self.send(status, [("Content-Type", "application/json; charset=UTF-8")], answer)

    def _interfere(self, name: str, body: bytes) -> None:
        if name not in ACTS:
            self._json(404, {"error": f"no act {name!r}; there are {', '.join(ACTS)}"})
            return
        try:
            result = ACTS[name](self.server.fake, **json.loads(body or b"{}"))
        except (InfrakitError, KeyError, TypeError, ValueError) as exc:
            self._json(400, {"error": f"{name}: {exc!r}"})
        else:
            self._json(200, {"result": result})

    def _json(self, status: int, document: object) -> None:
        self.send(status, [("Content-Type", "application/json")], json.dumps(document).encode())
