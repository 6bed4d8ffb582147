"""The OpenAPI document: that it is one, that it says the truth, and that no request whatever breaks the server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy, one_of
from jsonschema import Draft202012Validator
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from infrakit_py.api.audit import AuditLog
from infrakit_py.api.metrics import Metrics
from infrakit_py.api.server import RunningServer, serve
from infrakit_py.model.controller import ApiAddress
from tests.api.asking import READER, TOKENS, WRITER, Asking
from tests.api.conftest import Serve
from tests.api.site import NAME, SHOP, Site

SECRET: Final = "a secret of two parties"
EXAMPLES: Final = 100
OPERATIONS: Final = [
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /v1/clusters",
    "GET /v1/clusters/{cluster}",
    "DELETE /v1/clusters/{cluster}",
    "GET /v1/clusters/{cluster}/revisions",
    "GET /v1/clusters/{cluster}/history",
    "GET /v1/sources",
    "GET /v1/controllers",
    "GET /v1/events",
    "POST /v1/apply",
    "POST /v1/clusters/{cluster}/groups/{group}/scale",
    "POST /v1/clusters/{cluster}/rollout/pause",
    "POST /v1/clusters/{cluster}/rollout/resume",
    "POST /v1/clusters/{cluster}/rollout/undo",
    "POST /webhooks/git",
]
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    directory: Path = tmp_path_factory.mktemp("fuzzed")
    tokens = directory / "tokens"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)
    site = Site(directory)
    site.declare()
    site.happen("one")
    complaints: list[str] = []
    log = AuditLog(directory / "audit.jsonl", site.clock, complaints.append)
    address = ApiAddress(port=0, tokens=tokens, webhook_secret=SECRET)
    server = serve(site, address, Metrics(NAME, site.clock), log)
    yield server
    server.stop()
    log.close()
    assert not complaints
    audited = (directory / "audit.jsonl").read_text()
    assert not [secret for secret in (READER, WRITER, SECRET) if secret in audited]


@pytest.fixture
def schema(fuzzed: RunningServer) -> Any:
    return schemathesis.openapi.from_url(f"{fuzzed.url}/openapi.json")


def cases(operation: Any) -> SearchStrategy[Case[Any]]:
    """Return requests that fit the document and others that do not, of what exists and of what does not."""
    existing = {name: {"cluster": "shop", "group": "web"}[name] for name in ("cluster", "group")}
    parameters = {name: existing[name] for name in existing if f"{{{name}}}" in operation.path}
    strategies = [operation.as_strategy(GenerationMode.POSITIVE, path_parameters=parameters or None)]
    if parameters or operation.body or operation.query:
        strategies.append(operation.as_strategy(GenerationMode.NEGATIVE))
    return one_of(strategies)


@pytest.mark.parametrize("label", OPERATIONS)
def test_no_request_breaks_it_and_every_answer_is_as_the_document_says(schema: Any, label: str) -> None:
    method, _, path = label.partition(" ")
    operation = schema[path][method]

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(case=cases(operation))
    def fuzz(case: Case[Any]) -> None:
        response = case.call(headers={"Authorization": f"Bearer {WRITER}"})
        case.validate_response(response, checks=CHECKS)
        assert not [secret for secret in (READER, WRITER, SECRET) if secret.encode() in response.content]

    fuzz()


def test_these_are_all_operations_but_the_stream_that_has_no_end(schema: Any) -> None:
    labels = {found.ok().label for found in schema.get_all_operations()}

    assert labels == {*OPERATIONS, "GET /v1/events/stream"}


def test_the_document_is_a_valid_one(schema: Any) -> None:
    schema.validate()

    assert schema.raw_schema["openapi"] == "3.1.0"


def test_the_document_says_where_tokens_are_needed(serving: Serve, fuzzed: RunningServer) -> None:
    with_tokens, without = (
        Asking(server.url).get("/openapi.json").document["paths"] for server in (fuzzed, serving())
    )

    assert with_tokens["/v1/clusters"]["get"]["security"] == [{"bearer": []}]
    assert without["/v1/clusters"]["get"]["security"] == []
    assert with_tokens["/healthz"]["get"]["security"] == without["/healthz"]["get"]["security"] == []
    assert without["/v1/apply"]["post"]["security"] == [{"bearer": []}]


def test_what_the_engine_says_of_a_group_is_as_the_document_says(fuzzed: RunningServer) -> None:
    api = Asking(fuzzed.url, WRITER)
    api.ask("POST", "/v1/apply", SHOP.encode(), {"Content-Type": "application/yaml"})
    document = api.get("/openapi.json").document
    schemas = document["components"]["schemas"]
    schemas["GroupDocument"]["additionalProperties"] = False
    schemas["MachineDocument"]["additionalProperties"] = False
    validator = Draft202012Validator(
        {"$ref": "#/components/schemas/ClusterDocument", "components": document["components"]}
    )

    shop = api.get("/v1/clusters/shop").document

    assert [group["group"] for group in shop["groups"]] == ["db", "web"]
    validator.validate(shop)
