"""The schema for editors: it knows the installed plugins, and stands by itself."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from infrakit_py.loading import schema
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
