"""One front for all services: which one is asked, for what, by whom; and the answer in that one's protocol."""

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.loaders import Loader
from botocore.model import ServiceModel

from infrakit_py.errors import ProviderError
from tests.fakes.ec2.actions import HANDLERS, OWN_DRY_RUN, SIGNED_AS
from tests.fakes.ec2.blocks import Blocks, Written, refused
from tests.fakes.ec2.errors import AwsError, OwnMistake, refusal
from tests.fakes.ec2.limits import Limits
from tests.fakes.ec2.reading import Asked, QueryReader, read_json
from tests.fakes.ec2.running import dry_run
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import XmlWriter, as_json

_VERSIONS: Final = {"2016-11-15": "ec2", "2015-12-01": "elbv2", "2011-06-15": "sts"}
_TARGETS: Final = {"AmazonSSM": "ssm", "ServiceQuotasV20190624": "service-quotas"}
_GLOBAL: Final = frozenset({"sts"})
XML: Final = "text/xml;charset=UTF-8"
JSON: Final = "application/x-amz-json-1.1"


class Answer(NamedTuple):
    status: int
    kind: str
    body: bytes


class Service:
    """A service's model, and what reads and writes by it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.model = _model(name)
        self.protocol = self.model.metadata["protocol"]
        self.reader = QueryReader(ec2=self.protocol == "ec2")
        self.writer = XmlWriter()


@cache
def _model(name: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


class Front:
    """Answers requests from any thread, one at a time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls: Counter[str] = Counter()
        self.mistakes: list[str] = []
        """What the fake itself did wrong. A test that uses it wants this empty."""
        self.handlers = {service: dict(handlers) for service, handlers in HANDLERS.items()}
        self.services = {name: Service(name) for name in HANDLERS}
        self._limits = Limits(world.clock)
        self._blocks = Blocks(world)
        self._requests = 0
        instance = self.services["ec2"].model.shape_for("Instance")
        world.encode_instance = self.services["ec2"].writer.of(instance)

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        service = self.services["ec2"]
        with self.world.lock:
            self._requests += 1
            request_id = f"0f00d000-0000-4000-8000-{self._requests:012x}"
            try:
                form = dict(parse_qsl(body.decode(), keep_blank_values=True)) if b"=" in body[:200] else {}
                service = self.services[_service_of(headers, form)]
                self._admit(service, headers)
                return self._act(service, headers, form, body, request_id)
            except AwsError as exc:
                return _error(service, exc, request_id)
            except ProviderError as exc:
                return _error(service, refusal(exc), request_id)
            except OwnMistake as exc:
                mistake = f"the fake wrote a reply that is none: {exc}"
            except Exception as exc:  # noqa: BLE001 - a server goes on, and says what happened
                mistake = f"the fake failed: {exc!r}"
            self.mistakes.append(mistake)
            return _error(service, AwsError("InternalError", mistake, 500), request_id)

    def answer_about_blocks(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Written:
        """Answer a request to EBS direct."""
        with self.world.lock:
            try:
                self._admit(self.services["sts"], headers)
                return self._blocks.answer(method, path, headers, body, lambda name: self.calls.update([name]))
            except AwsError as exc:
                return refused(exc)
            except OwnMistake as exc:
                mistake = f"the fake wrote a reply that is none: {exc}"
            except Exception as exc:  # noqa: BLE001 - a server goes on, and says what happened
                mistake = f"the fake failed: {exc!r}"
            self.mistakes.append(mistake)
            return refused(AwsError("InternalServerException", mistake, 500))

    def _admit(self, service: Service, headers: Mapping[str, str]) -> None:
        scope = scope_of(headers)
        region = self.world.settings.region
        if scope and scope[2] != region and service.name not in _GLOBAL:
            raise AwsError(
                "AuthFailure", f"Credential should be scoped to a valid region: {region}, not {scope[2]}", 401
            )
        token = headers.get("x-amz-security-token")
        self.world.caller = None
        if token is None:
            return
        session = self.world.sessions.get(token)
        if session is None:
            raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        self.world.caller = session
        if session.expires_at <= self.world.now():
            message = "The security token included in the request is expired"
            match service.protocol:
                case "ec2":
                    raise AwsError("RequestExpired", "Request has expired.")
                case "json":
                    raise AwsError("ExpiredTokenException", message)
                case _:
                    raise AwsError("ExpiredToken", message, 403)

    def _act(
        self, service: Service, headers: Mapping[str, str], form: Mapping[str, str], body: bytes, request_id: str
    ) -> Answer:
        is_json = service.protocol == "json"
        name = headers.get("x-amz-target", "").rpartition(".")[2] if is_json else form.get("Action", "")
        self.calls[name] += 1
        handler = self.handlers[service.name].get(name)
        if handler is None:
            raise AwsError("InvalidAction", f"The action {name} is not valid for this web service.")
        operation = service.model.operation_model(name)
        asked: Asked
        if is_json:
            asked = read_json(operation.input_shape, json.loads(body or b"{}"))
        else:
            asked = service.reader.read(operation.input_shape, form.items())
        self.world.settle()
        if service.name == "ec2" and self.world.settings.limits == "ec2":
            self._limits.take(name, asked)
        if asked.get("DryRun") and name not in OWN_DRY_RUN:
            raise dry_run()
        reply = handler(self.world, asked)
        if is_json:
            return Answer(200, JSON, json.dumps(as_json(operation.output_shape, reply)).encode())
        write = service.writer.ec2 if service.protocol == "ec2" else service.writer.query
        return Answer(200, XML, write(operation, reply, request_id).encode())


def scope_of(headers: Mapping[str, str]) -> list[str] | None:
    """Return key, day, region and service of what a request is signed with."""
    _, found, rest = headers.get("authorization", "").partition("Credential=")
    parts = rest.partition(",")[0].split("/")
    return parts if found and len(parts) >= 5 else None


def _service_of(headers: Mapping[str, str], form: Mapping[str, str]) -> str:
    scope = scope_of(headers)
    if scope:
        if scope[3] not in SIGNED_AS:
            raise AwsError("InvalidAction", f"the fake has no service {scope[3]}")
        return SIGNED_AS[scope[3]]
    target = headers.get("x-amz-target", "").partition(".")[0]
    found = _TARGETS.get(target) or _VERSIONS.get(form.get("Version", ""))
    if found is None:
        raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
    return found


def _error(service: Service, error: AwsError, request_id: str) -> Answer:
    code, message = escape(error.code), escape(error.message)
    match service.protocol:
        case "ec2":
            inside = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
            text = f"<Response>{inside}<RequestID>{request_id}</RequestID></Response>"
        case "query":
            side = "Sender" if error.status < 500 else "Receiver"
            inside = f"<Error><Type>{side}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            text = f"<ErrorResponse>{inside}<RequestId>{request_id}</RequestId></ErrorResponse>"
        case _:
            document: dict[str, Any] = {"__type": error.code, "message": error.message}
            return Answer(error.status, JSON, json.dumps(document).encode())
    return Answer(error.status, XML, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode())
