"""Whatever is in the file: a spec or problems with places, and never anything else."""

import contextlib
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
from tests.loading.documents import group
from tests.loading.stubs import StubCatalog

YAML_PIECES = [
    "a", "b: ", "- ", "? ", ": ", "\n", "  ", "\t", "&x ", "*x", "<<: ", "[", "]", "{", "}", ",", '"', "'", "|", ">",
    "|+2\n", "#", "---\n", "...\n", "%YAML 1.1\n", "!", "!!str ", "!<tag:x> ", "~", "1e999", "9" * 40, "\\",
    "${env:", "${env:A}", "$${env:A}", "\u2028", "\x85", "\r", "\ufeff", "\0", "\U0001f600",
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
    at = data.draw(st.integers(0, len(GOOD)), "at")
    removed = data.draw(st.integers(0, 20), "removed")
    added = data.draw(st.sampled_from(YAML_PIECES) | st.text(max_size=5), "added")
    file = tmp_path_factory.getbasetemp() / "changed.yml"
    file.write_bytes(GOOD[:at] + added.encode(errors="surrogatepass") + GOOD[at + removed :])
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
