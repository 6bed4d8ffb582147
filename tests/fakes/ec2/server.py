"""The fake as an HTTP server on this machine: many connections, each kept open, no waiting for full packets."""

import json
from collections import Counter
from dataclasses import replace
from threading import Thread
from types import TracebackType
from typing import Any, Final, Self

from infrakit_py.clock import SystemClock
from infrakit_py.errors import InfrakitError
from infrakit_py.spi.provider import Now
from tests.fakes.ec2.buckets import Buckets
from tests.fakes.ec2.front import Front, scope_of
from tests.fakes.ec2.hand import ACTS, Hand, picture
from tests.fakes.ec2.settings import FakeSettings
from tests.fakes.ec2.world import World
from tests.fakes.serving import Handler, LocalServer

_OWN: Final = "/_fake/"


class FakeEC2(Hand):
    """EC2, EBS direct, ELBv2, SSM, STS and service quotas of one account, at `url`, in one region and its neighbours.

    S3 is that of the server at `buckets`, if there is one.
    """

    def __init__(
        self, settings: FakeSettings | None = None, clock: Now | None = None, *, port: int = 0, buckets: str = ""
    ) -> None:
        settings, clock = settings or FakeSettings(), clock or SystemClock()
        super().__init__(World(settings, clock))
        self.front = Front(self.world)
        self.buckets = Buckets(buckets) if buckets else None
        self.regions = {settings.region: self.front}
        for number, region in enumerate(settings.neighbours, 1):
            world = World(replace(settings, region=region, seed=settings.seed + number), clock)
            world.lock = self.world.lock  # copies are made across
            self.regions[region] = Front(world)
        for front in self.regions.values():
            front.world.abroad = {name: one.world for name, one in self.regions.items()}
            if self.buckets is not None:
                front.world.fetch = self.buckets.fetch
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
        return [mistake for front in self.regions.values() for mistake in front.mistakes]

    def abroad(self, region: str) -> Hand:
        """Return the hand on a neighbour."""
        return Hand(self.regions[region].world)

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
        for front in self.regions.values():
            front.world.cloud.close()


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
        scope = scope_of(headers)
        fake = self.server.fake
        front = fake.regions.get(scope[2], fake.front) if scope else fake.front
        match scope[3] if scope else "":
            case "s3" if fake.buckets is not None:
                self.send(*fake.buckets.ask(self.command, self.path, dict(self.headers.items()), body))
            case "ebs":
                self.send(*front.answer_about_blocks(self.command, self.path, headers, body))
            case _:
                status, kind, answer = front.answer(headers, body)
                self.send(status, [("Content-Type", kind)], answer)

    do_PUT = do_DELETE = do_POST

    def do_GET(self) -> None:
        if self.path == f"{_OWN}state":
            self._json(200, self.server.fake.picture())
        elif "authorization" in self.headers:
            self.do_POST()
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
