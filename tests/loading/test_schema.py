"""The schema for editors: it knows the installed plugins, and stands by itself."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from infrakit_py.loading import schema
from tests.loading.documents import EVERY_KEY
from tests.loading.stubs import StubCatalog


@pytest.fixture
def whole() -> dict[str, Any]:
    return schema(StubCatalog())


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def test_it_is_json_of_the_current_draft(whole: dict[str, Any]) -> None:
    assert json.loads(json.dumps(whole))["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert whole["title"] == "infrakit-py cluster"


def test_every_reference_has_its_definition(whole: dict[str, Any]) -> None:
    assert {reference.removeprefix("#/$defs/") for reference in references(whole)} <= set(whole["$defs"])


def test_a_provider_s_settings_depend_on_its_plugin(whole: dict[str, Any]) -> None:
    unloadable, stub = whole["$defs"]["ProviderEntry"]["oneOf"]
    assert (unloadable["properties"]["plugin"], stub["properties"]["plugin"]) == (
        {"const": "aws"},
        {"const": "libvirt"},
    )
    assert "additionalProperties" not in unloadable
    assert (set(stub["properties"]), stub["additionalProperties"]) == ({"plugin", "uri", "zones"}, False)


def test_a_machine_has_the_keys_that_a_user_writes(whole: dict[str, Any]) -> None:
    machines = whole["$defs"]["GroupEntry"]["properties"]["machine"]["anyOf"]
    assert "data-disk" in machines[1]["properties"]


def test_the_usual_flavor_needs_no_kind(whole: dict[str, Any]) -> None:
    (vanilla,) = whole["$defs"]["FlavorEntry"]["oneOf"]
    assert set(vanilla["properties"]) == {"kind", "tags", "user_data", "drain"}
    assert "kind" not in vanilla["required"]


def test_a_duration_has_a_pattern_and_examples_and_may_be_a_variable(whole: dict[str, Any]) -> None:
    interval = whole["$defs"]["HealthEntry"]["properties"]["interval"]
    assert interval["examples"]
    assert interval["default"] == "5s"
    assert [sorted(form) for form in interval["anyOf"]] == [["pattern", "type"], ["$ref"]]


def test_every_key_is_accepted_and_described(whole: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(whole)
    assert [error.message for error in Draft202012Validator(whole).iter_errors(yaml.safe_load(EVERY_KEY))] == []
    for entry in ("HealthEntry", "HttpEntry", "RolloutEntry", "WindowEntry", "HealingEntry", "BudgetEntry"):
        for key, property_ in whole["$defs"][entry]["properties"].items():
            assert property_["description"], f"{entry}.{key}"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("budget: {max_unavailable: 2}", "budget: {max_unavailable: -1}"),
        ("status: [200-299, 304]", "status: [20]"),
        ("status: [200-299, 304]", "status: []"),
        ("scheme: https", "scheme: ftp"),
        ("port: 8443", "verify: true"),
        ("path: /healthz?full=1", "path: healthz"),
        ("[/usr/local/bin/check, --strict]", "/usr/local/bin/check"),
        ("strategy: rolling", "strategy: canary"),
        ("steps: [1, 25%, 50%]", "steps: [0, 25%]"),
        ("steps: [1, 25%, 50%]", "steps: [1, 0%]"),
        ("failure_limit: 2", "failure_limit: 0%"),
        ("on_failure: rollback", "on_failure: stop"),
        ("days: fri-mon", "days: weekend"),
        ('start: "7:30"', 'start: "24:00"'),
        ("paused: true", "paused: 1"),
        ("back_off: 20s", "back_off: 20"),
        ("scale_down: oldest", "scale_down: random"),
        ("max_age: 30d", "max_age: 30"),
    ],
)
def test_a_mistake_is_refused_that_loading_refuses(whole: dict[str, Any], right: str, wrong: str) -> None:
    assert right in EVERY_KEY
    document = yaml.safe_load(EVERY_KEY.replace(right, wrong))
    assert list(Draft202012Validator(whole).iter_errors(document))


@pytest.mark.parametrize(
    ("right", "other"),
    [
        ("status: [200-299, 304]", "status: 200"),
        ("status: [200-299, 304]", 'status: "${env:STATUS}"'),
        ("days: fri-mon", "days: [fri, sat-mon]"),
        ("max_age: 30d", "max_age: null"),
        ("failure_limit: 2", 'failure_limit: "5%"'),
        ("strategy: rolling", 'strategy: "${env:STRATEGY}"'),
        ("body: ^ok$", "body: (?P<name>ok)(?i:x)"),
    ],
)
def test_what_loading_accepts_is_accepted(whole: dict[str, Any], right: str, other: str) -> None:
    assert right in EVERY_KEY
    document = yaml.safe_load(EVERY_KEY.replace(right, other))
    assert [error.message for error in Draft202012Validator(whole).iter_errors(document)] == []


def test_defaults_are_told_as_they_are_written(whole: dict[str, Any]) -> None:
    told = {
        entry: {
            key: value["default"] for key, value in whole["$defs"][entry]["properties"].items() if "default" in value
        }
        for entry in ("HttpEntry", "RolloutEntry", "HealingEntry")
    }
    assert told == {
        "HttpEntry": {"path": "/", "scheme": "http", "verify": True, "status": "200-399"},
        "RolloutEntry": {
            "strategy": "rolling",
            "steps": [],
            "bake": "0s",
            "min_ready": "0s",
            "failure_limit": "5%",
            "on_failure": "pause",
            "order": "oldest",
            "windows": [],
            "paused": False,
            "keep_old": "0s",
            "drain_timeout": "30s",
            "progress_deadline": "10m",
        },
        "HealingEntry": {
            "back_off": "10s",
            "max_back_off": "5m",
            "max_unhealthy": "50%",
            "max_failed_launches": 5,
            "retry": "30m",
            "max_alike": 3,
        },
    }
