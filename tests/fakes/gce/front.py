"""What is asked, by whom, and the answer in Google's form."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from infrakit_providers.simulated.faults import Fault
from tests.fakes.gce import faults, resource_manager
from tests.fakes.gce.actions import HANDLERS
from tests.fakes.gce.asking import Asked, read_body, read_parameters
from tests.fakes.gce.auth import Doorkeeper
from tests.fakes.gce.checking import Checked, Misfit, check_of
from tests.fakes.gce.document import Method, Router, is_method, method
from tests.fakes.gce.errors import GceError, OwnMistake, forbidden
from tests.fakes.gce.limits import Limits
from tests.fakes.gce.masks import masked, read_mask
from tests.fakes.gce.operations import show_operation
from tests.fakes.gce.permissions import ALWAYS
from tests.fakes.gce.settings import IMAGE_PROJECT, PROJECT, PROJECT_NUMBER
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import Reply, write

_BASE: Final = "/compute/v1/"


class Answer(NamedTuple):
    status: int
    body: bytes


class Front:
    """Answers requests from any thread, one at a time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls: Counter[str] = Counter()
        self.mistakes: list[str] = []
        """What the fake itself did wrong. A test that uses it wants this empty."""
        self.handlers = dict(HANDLERS)
        self.denied: set[str] = set()
        """Permissions that nobody has."""
        self.doorkeeper = Doorkeeper(world.clock, world.settings.token_seconds)
        self.storage = world.storage
        world.storage.doorkeeper, world.storage.denied = self.doorkeeper, self.denied
        self.faults = faults.Faults(world.settings.seed, world.settings.failure_rate)
        self._limits = Limits(world.clock, world.settings.per_minute)
        self._router = Router({name: method(name) for name in self.handlers})

    def answer(self, verb: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        with self.world.lock:
            try:
                return Answer(200, self._act(verb, target, headers, body).encode())
            except GceError as exc:
                return Answer(exc.code, json.dumps(exc.document()).encode())
            except OwnMistake as exc:
                mistake = f"the fake wrote a reply that is none: {exc}"
            except Exception as exc:  # noqa: BLE001 - a server goes on, and says what happened
                mistake = f"the fake failed: {exc!r}"
            self.mistakes.append(mistake)
            return Answer(500, json.dumps(GceError(500, "internalError", mistake).document()).encode())

    def _act(self, verb: str, target: str, headers: Mapping[str, str], body: bytes) -> str:
        url = urlsplit(target)
        path = unquote(url.path)
        if (project := resource_manager.project_of(verb, path)) is not None:
            self.calls[resource_manager.CALL] += 1
            self.doorkeeper.admit(headers)
            return json.dumps(resource_manager.permissions(project, body, self.denied))
        if not path.startswith(_BASE):
            raise GceError(404, "notFound", f"Not Found: {path}")
        found = self._router.find(verb, path.removeprefix(_BASE))
        if found is None:
            raise _no_handler(verb, path.removeprefix(_BASE))
        called, names = found
        self.calls[called.name] += 1
        caller = self.doorkeeper.admit(headers)
        query = parse_qsl(url.query, keep_blank_values=True)
        parameters = read_parameters(called, names, query)
        self.world.settle()
        self._admit(called, parameters)
        fault = self.faults.next(called)
        faults.before(fault)
        asked = Asked(called, parameters, {}, caller, frozenset(self.denied))
        reply = self._do(asked, body, fault)
        if fault is Fault.LOST_REPLY:
            raise faults.failure()
        return _written(called, reply, headers, dict(query))

    def _admit(self, called: Method, parameters: Mapping[str, Any]) -> None:
        project = parameters["project"]
        images_only = project == IMAGE_PROJECT and called.name.startswith("images.") and called.verb == "GET"
        if project == IMAGE_PROJECT and not images_only:
            raise forbidden(ALWAYS[called.name][0], f"projects/{project}")
        if project not in (PROJECT, PROJECT_NUMBER, IMAGE_PROJECT):
            raise GceError(404, "notFound", f"The resource 'projects/{project}' was not found")
        if self.world.settings.limits == "gce":
            self._limits.take(called)
        for permission in ALWAYS[called.name]:
            if permission in self.denied:
                raise forbidden(permission, f"projects/{project}")

    def _do(self, asked: Asked, body: bytes, fault: Fault | None) -> Reply | Checked:
        if known := self.world.replayed(asked.request_id):
            return show_operation(self.world, known)
        asked.body = read_body(asked.method, body)
        if fault in (Fault.CAPACITY, Fault.QUOTA):
            self.world.forced.append(str(fault))
        try:
            return self.handlers[asked.method.name](self.world, asked)
        finally:
            self.world.forced.clear()


def _written(called: Method, reply: Reply | Checked, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """Return a reply's JSON, all of it or what the caller wants, if the document allows it."""
    name = called.response or ""
    try:
        check_of(name)(reply, name)
    except Misfit as exc:
        raise OwnMistake(str(exc)) from exc
    wanted = query.get("fields") or query.get("$fields") or headers.get("x-goog-fieldmask")
    return write(masked(reply, read_mask(wanted, name)) if wanted else reply)


def _no_handler(verb: str, path: str) -> GceError:
    if is_method(verb, path):
        return GceError(501, "notImplemented", f"The fake does not know {verb} {path}", by_front=True)
    return GceError(404, "notFound", f"Not Found: {path}")
