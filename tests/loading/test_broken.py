"""Golden files: each broken YAML file gives exactly the problems in the `.expected` file beside it."""

from pathlib import Path

import pytest

from infrakit_py.errors import SpecError
from infrakit_py.images import read_image
from infrakit_py.loading import load
from tests.loading.stubs import StubCatalog

BROKEN = Path(__file__).parent / "broken"
ENVIRONMENT = {"TWO": "2", "SECRET": "s3cr3t"}


@pytest.mark.parametrize("file", sorted(path.name for path in BROKEN.glob("*.yml")))
def test_every_mistake_is_reported_at_its_place(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BROKEN)
    with pytest.raises(SpecError) as raised:
        load([Path(file)], StubCatalog(), ENVIRONMENT, read_image)
    assert str(raised.value).splitlines() == Path(file).with_suffix(".expected").read_text().splitlines()


def test_all_files_are_read_before_anything_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BROKEN)
    with pytest.raises(SpecError) as raised:
        load([Path("tab.yml"), Path("nul.yml"), Path("sizes.yml")], StubCatalog(), {}, read_image)
    assert [(problem.file, problem.line) for problem in raised.value.problems][:3] == [
        ("nul.yml", 2),
        ("sizes.yml", 9),
        ("sizes.yml", 10),
    ]
    assert raised.value.problems[-1].file == "tab.yml"


def test_a_variable_s_value_never_appears_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BROKEN)
    with pytest.raises(SpecError) as raised:
        load([Path("variables.yml")], StubCatalog(), ENVIRONMENT, read_image)
    assert "s3cr3t" not in str(raised.value)
