"""Whatever is in the file: a spec or problems with places, and never anything else."""

import contextlib
import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infrakit_py.errors import SpecError
from infrakit_py.images import read_image
from infrakit_py.loading import load
from infrakit_py.loading.yaml_documents import Document, documents
from infrakit_py.loading.yaml_nodes import decode
from infrakit_py.loading.yaml_scalars import resolve
from tests.loading.documents import EVERY_KEY, group
from tests.loading.stubs import StubCatalog

YAML_PIECES = [
    "a", "b: ", "- ", "? ", ": ", "\n", "  ", "\t", "&x ", "*x", "<<: ", "[", "]", "{", "}", ",", '"', "'", "|", ">",
    "|+2\n", "#", "---\n", "...\n", "%YAML 1.1\n", "!", "!!str ", "!<tag:x> ", "~", "1e999", "9" * 40, "\\",
    "${env:", "${env:A}", "$${env:A}", "\u2028", "\x85", "\r", "\ufeff", "\0", "\U0001f600",
]  # fmt: skip
PIECES_OF_VALUES = [
    "0", "-1", "1%", "0%", "101%", "5s", "0s", "9d", "99999999d", "null", "true", "200-299", "999-100", "mon-fri",
    "22:00", "24:00", "Europe/Berln", "../..", "(", "[[", "{9999999999}", "(?P<x>", "rolling", "recreate",
    "blue_green", "newest",
]  # fmt: skip
GOOD = group("size: 1, health: {tcp: 80}, rollout: {max_surge: 1}, flavor: {user_data: '{{ group.name }}'}").encode()


def read(text: str) -> list[Document]:
    return list(documents(text, "f.yml", {"A": "1: [", "B": "\x00"}))


def check(text: str) -> None:
    try:
        found = [problem for document in read(text) for problem in document.problems]
    except SpecError as exc:
        found = list(exc.problems)
    assert all(problem.line >= 1 and problem.column >= 1 for problem in found)


@given(st.text())
@settings(deadline=None)
@example("\ud800")
@example("\ufeffa: 1")
def test_any_text(text: str) -> None:
    check(text)


@given(st.lists(st.sampled_from(YAML_PIECES), max_size=40).map("".join))
@settings(max_examples=500, deadline=None)
def test_any_mix_of_yaml(text: str) -> None:
    check(text)


@given(st.lists(st.sampled_from(YAML_PIECES), max_size=30).map("".join))
@settings(deadline=None)
def test_any_mix_of_yaml_without_libyaml(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(yaml, "CSafeLoader")
        check(text)


@given(st.binary())
@settings(deadline=None)
def test_any_bytes(content: bytes) -> None:
    try:
        text = decode(content, "f.yml")
    except SpecError as exc:
        (problem,) = exc.problems
        assert (problem.line, problem.column) >= (1, 1)
    else:
        check(text)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_change_of_a_good_file(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from([GOOD, EVERY_KEY.encode()]), "good")
    at = data.draw(st.integers(0, len(good)), "at")
    removed = data.draw(st.integers(0, 20), "removed")
    added = data.draw(st.sampled_from(YAML_PIECES + PIECES_OF_VALUES) | st.text(max_size=5), "added")
    file = tmp_path_factory.getbasetemp() / "changed.yml"
    file.write_bytes(good[:at] + added.encode(errors="surrogatepass") + good[at + removed :])
    with contextlib.suppress(SpecError):
        load([file], StubCatalog(), {"A": "1"}, read_image)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_other_values_of_a_good_file(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    lines = EVERY_KEY.splitlines()
    written = st.sampled_from(PIECES_OF_VALUES) | st.text(max_size=5).map(json.dumps)
    values = written | st.lists(written, max_size=3).map(lambda items: f"[{', '.join(items)}]")
    for at in data.draw(st.lists(st.integers(0, len(lines) - 1), min_size=1, max_size=5, unique=True), "at"):
        key, colon, _ = lines[at].partition(": ")
        lines[at] = f"{key}{colon}{data.draw(values, key)}"
    file = tmp_path_factory.getbasetemp() / "other.yml"
    file.write_text("\n".join(lines))
    with contextlib.suppress(SpecError):
        load([file], StubCatalog(), {"A": "1"}, read_image)


@pytest.mark.parametrize(
    "make",
    [
        lambda count: "[" * count,
        lambda count: "{a: " * count,
        lambda count: "- " * count,
        lambda count: "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}}}\n" for n in range(1, count)),
        lambda count: "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, count)),
        lambda count: "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)),
        lambda count: "? " * count,
    ],
    ids=["lists", "mappings", "dashes", "merges", "aliases", "bomb", "keys"],
)
def test_depth_is_limited(make: Callable[[int], str]) -> None:
    with pytest.raises(SpecError, match=r"levels deep|more than 100000 values|not YAML"):
        read(make(20_000))


def test_a_wide_file_is_read() -> None:
    (document,) = read("\n".join(f"- {{a: {n}}}" for n in range(20_000)))
    assert len(document.data) == 20_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("", None),
        ("~", None),
        ("null", None),
        ("10", 10),
        ("-0", 0),
        ("010", "010"),
        ("0o10", 8),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("01.5", "01.5"),
        ("2024-01-01", "2024-01-01"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_plain_scalar_is_what_it_looks_like(text: str, value: object) -> None:
    resolved = resolve(text)
    assert resolved == value
    assert type(resolved) is type(value)
