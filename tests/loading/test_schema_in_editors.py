"""What `infra schema` prints accepts what is shipped and documented, as an editor would judge it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from infrakit_py.loading import schema
from infrakit_py.plugins import InstalledPlugins

ROOT = Path(__file__).parents[2]
WHOLE = [
    block for page in ("README.md",) for block in re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.S)
]
EXAMPLES = [path.read_text() for path in sorted((ROOT / "examples").rglob("cluster.yml"))]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    made: dict[str, Any] = schema(InstalledPlugins())
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


@pytest.mark.parametrize("text", [*EXAMPLES, *WHOLE])
def test_examples_are_accepted(text: str, validator: Draft202012Validator) -> None:
    for document in yaml.safe_load_all(text):
        assert [error.message for error in validator.iter_errors(document)] == []


def test_one_boot_time_and_a_spread_are_both_accepted(validator: Draft202012Validator) -> None:
    document = yaml.safe_load(EXAMPLES[1])
    for boot_time in ("2s", {"min": "1s", "max": "3s"}, {"mean": "2s", "stddev": "500ms"}):
        document["providers"]["local"] = {"plugin": "simulated", "boot_time": boot_time}
        assert [error.message for error in validator.iter_errors(document)] == []


def test_a_mistake_is_refused(validator: Draft202012Validator) -> None:
    document = yaml.safe_load(EXAMPLES[1])
    document["groups"]["web"]["sise"] = 3
    assert list(validator.iter_errors(document))
