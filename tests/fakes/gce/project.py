"""A fake project, a clock that the test moves, and Google's own client of it, for tests of the fake itself."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from google.api_core.exceptions import GoogleAPICallError
from google.cloud import compute_v1
from google.oauth2.service_account import Credentials

from infrakit_py.clock import VirtualClock
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.fakes.gce.settings import PROJECT

B: Final = "europe-west1-b"
C: Final = "europe-west1-c"
REGION: Final = "europe-west1"
IMAGE: Final = "global/images/family/linuxkit"
Body = dict[str, Any]


def instance(name: str, zone: str = B, **more: Any) -> Body:
    """Return an instance to insert."""
    return {"name": name, "machineType": f"zones/{zone}/machineTypes/e2-small", **kind(), **more}


def kind(**more: Any) -> Body:
    """Return what all instances of a bulk insert have in common, but for the machine type."""
    boot = {"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": IMAGE}}
    return {"disks": [boot], "networkInterfaces": [{"network": "global/networks/default"}], **more}


def many(*names: str, least: int | None = None, **more: Any) -> Body:
    """Return instances to bulkInsert."""
    properties = {"machineType": "e2-small", **kind(**more)}
    asked: Body = {"instanceProperties": properties, "perInstanceProperties": {name: {} for name in names}}
    return asked if least is None else {**asked, "minCount": str(least)}


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {error}")
        self.status = status
        self.reason: str = error["errors"][0]["reason"]
        self.message: str = error["message"]
        self.error = error


class Project:
    """Everything that a test does with a fake."""

    def __init__(self, fake: FakeGCE, clock: VirtualClock) -> None:
        self.fake = fake
        self.clock = clock
        self.token = fake.front.doorkeeper.give_unasked()

    @cached_property
    def credentials(self) -> Any:
        """What Google's clients sign their calls with. To read the key takes longer than most tests."""
        return Credentials.from_service_account_file(  # type: ignore[no-untyped-call] # it has no types
            str(self.fake.credentials), scopes=["https://www.googleapis.com/auth/cloud-platform"]
        )

    def client(self, service: str) -> Any:
        """Return Google's client of a service, as `Instances`."""
        options = {"api_endpoint": self.fake.url, "universe_domain": self.credentials.universe_domain}
        return getattr(compute_v1, f"{service}Client")(credentials=self.credentials, client_options=options)

    def call(
        self, verb: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None, **query: Any
    ) -> Any:
        """Call a path below the project's, by plain HTTP."""
        return self.request(verb, f"/compute/v1/projects/{PROJECT}/{path}", body, headers=headers, **query)

    def request(
        self, verb: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None, **query: Any
    ) -> Any:
        written = urlencode({name: str(value) for name, value in query.items()})
        connection = HTTPConnection(urlsplit(self.fake.url).netloc, timeout=10)
        try:
            sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
            data = None if body is None else json.dumps(body)
            connection.request(verb, f"{path}?{written}" if written else path, data, sent)
            answer = connection.getresponse()
            document = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status >= 400:
            raise Refused(answer.status, document["error"])
        return document

    def insert(self, name: str, zone: str = B, request_id: str = "", **more: Any) -> Any:
        query: dict[str, Any] = {"requestId": request_id} if request_id else {}
        return self.call("POST", f"zones/{zone}/instances", instance(name, zone, **more), **query)

    def bulk(self, body: Body, zone: str = B, **query: Any) -> Any:
        return self.call("POST", f"zones/{zone}/instances/bulkInsert", body, **query)

    def boot(self, *names: str, zone: str = B, **more: Any) -> None:
        """Let instances run."""
        for name in names:
            self.insert(name, zone, **more)
        self.clock.sleep(self.fake.settings.boot_seconds)

    def see(self, name: str, zone: str = B) -> Any:
        return self.call("GET", f"zones/{zone}/instances/{name}")

    def names(self, zone: str = B, **query: Any) -> list[str]:
        """Return what a listing shows."""
        return [one["name"] for one in self.call("GET", f"zones/{zone}/instances", **query).get("items", [])]

    def again(self, op: Mapping[str, Any]) -> Any:
        """Return an operation as it is now."""
        return self.request("GET", op["selfLink"].removeprefix("https://www.googleapis.com"))

    def done(self, op: Mapping[str, Any]) -> Any:
        """Let an operation come to its end."""
        for _ in range(1000):
            if (now := self.again(op))["status"] == "DONE":
                return now
            self.clock.sleep(1)
        raise AssertionError(f"{op['operationType']} does not end")

    def do(self, path: str, body: object = None, verb: str = "POST", **query: Any) -> Any:
        """Change something, and wait for it."""
        return self.done(self.call(verb, path, body, **query))


@contextmanager
def open_project(**settings: Any) -> Iterator[Project]:
    """Open a fake on a clock that only the test moves. It must have made no mistake."""
    clock = VirtualClock()
    with FakeGCE(FakeSettings(**settings), clock) as fake:
        yield Project(fake, clock)
        assert fake.mistakes == []


def refusal(error: GoogleAPICallError) -> tuple[int, str]:
    """Return code and reason of an error that Google's client raised."""
    return int(error.code or 0), error.errors[0]["reason"]
