"""Reads a LinuxKit YAML: mistakes at their places, components and how firmly they are named, files that it reads."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from infrakit_py.errors import Problem, SpecError
from infrakit_py.loading import sources
from infrakit_py.loading.findings import Findings
from infrakit_py.loading.linuxkit_models import LinuxKitFile
from infrakit_py.loading.references import mapping
from infrakit_py.loading.yaml_documents import Document, Place, documents
from infrakit_py.loading.yaml_nodes import decode
from infrakit_py.model.spec import Json

_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}\Z")
_TREE_HASH: Final = re.compile(r":(?:[\w.]+-)?[0-9a-f]{40}(?:-(?:amd64|arm64|riscv64|s390x))?\Z")
"""LinuxKit's own packages are tagged with the git tree hash of what they are built from; `-dirty` is not."""
_LOCAL: Final = "@pkg:"
_CONTAINERS: Final = ("onboot", "onshutdown", "services")


class Pin(StrEnum):
    """How firmly a component is named: the first two name the same bytes for ever."""

    DIGEST = "digest"
    TREE_HASH = "tree-hash"
    TAG = "tag"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Reference:
    """A component: where it is written (`services[redis]`), as what, and how firmly."""

    place: str
    text: str
    pin: Pin

    @property
    def is_pinned(self) -> bool:
        return self.pin in (Pin.DIGEST, Pin.TREE_HASH)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file, or a directory of a local package, that goes into the build. `name` as the YAML has it."""

    name: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class LinuxKitDocument:
    """A LinuxKit YAML that holds no mistake. `data` may hold secrets."""

    file: str
    data: Mapping[str, Json] = field(repr=False)
    references: tuple[Reference, ...] = ()
    sources: tuple[SourceFile, ...] = ()

    @property
    def unpinned(self) -> tuple[str, ...]:
        """The components that may be something else tomorrow, each once."""
        return tuple(dict.fromkeys(r.text for r in self.references if not r.is_pinned and r.pin is not Pin.LOCAL))


def read_linuxkit(path: Path) -> LinuxKitDocument:
    """Read a file. SpecError with every mistake in it, and with every file that it names and that is not there.

    Relative names start at the file's directory: LinuxKit is run there.
    """
    source = sources.read(path)
    found = list(documents(decode(source.content, source.name), source.name, None))
    if len(found) != 1:
        raise SpecError([Problem(source.name, 0, 0, f"holds {len(found)} YAML documents; LinuxKit reads one")])
    return _Reading(found[0], path).read()


class _Reading:
    """One document, checked part by part."""

    def __init__(self, document: Document, path: Path) -> None:
        self._findings = Findings(document)
        self._data = document.data
        self._path = path

    def read(self) -> LinuxKitDocument:
        if not isinstance(self._data, dict):
            self._findings.at_value((), "a LinuxKit file is a mapping with kernel, init, onboot, services and files")
            raise SpecError(self._findings.problems)
        try:
            LinuxKitFile.model_validate(self._data)
        except ValidationError as exc:
            self._findings.invalid((), exc, LinuxKitFile)
        self._unique("services", "service")
        self._unique("volumes", "volume")
        references = tuple(self._references())
        files = tuple(self._sources(references))
        if self._findings.problems:
            raise SpecError(self._findings.problems)
        return LinuxKitDocument(os.path.abspath(self._path), self._data, references, files)

    def _unique(self, part: str, word: str) -> None:
        """Note names that are taken already: LinuxKit refuses them."""
        first: dict[str, int] = {}
        for index, item in self._items(part):
            name = mapping(item).get("name")
            if not isinstance(name, str):
                continue
            if first.setdefault(name, index) != index:
                self._findings.at_value((part, index, "name"), f"another {word} is called {name!r}, too")

    def _references(self) -> Iterator[Reference]:
        kernel = mapping(self._data, "kernel").get("image")
        written: list[tuple[str, Any]] = [("kernel.image", kernel)]
        written += [(f"init[{index}]", item) for index, item in self._items("init")]
        for part in (*_CONTAINERS, "volumes"):
            for _, item in self._items(part):
                written.append((f"{part}[{mapping(item).get('name')}].image", mapping(item).get("image")))
        for place, text in written:
            if isinstance(text, str):
                yield Reference(place, text, _pin(text))

    def _sources(self, references: Sequence[Reference]) -> Iterator[SourceFile]:
        for index, item in self._items("files"):
            name = mapping(item).get("source")
            if isinstance(name, str) and name:
                optional = mapping(item).get("optional") is True
                yield from self._source(("files", index, "source"), name, self._located(name), optional=optional)
        for name in dict.fromkeys(r.text for r in references if r.pin is Pin.LOCAL):
            path = self._located(name.removeprefix(_LOCAL))
            place = next(p for p, text in self._written() if text == name)
            yield from self._source(place, name, path, optional=False)

    def _source(self, place: Place, name: str, path: Path, *, optional: bool) -> Iterator[SourceFile]:
        try:
            digest = _tree_digest(path) if path.is_dir() else _digest(path)
            yield SourceFile(name, os.path.abspath(path), digest)
        except (OSError, ValueError) as exc:  # ValueError: the name holds a NUL
            if not (optional and isinstance(exc, FileNotFoundError)):
                self._findings.at_value(place, f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}")

    def _written(self) -> Iterator[tuple[Place, Any]]:
        yield ("kernel", "image"), mapping(self._data, "kernel").get("image")
        yield from ((("init", index), item) for index, item in self._items("init"))
        for part in (*_CONTAINERS, "volumes"):
            yield from (((part, index, "image"), mapping(item).get("image")) for index, item in self._items(part))

    def _located(self, name: str) -> Path:
        if name.startswith("~/"):
            return Path.home() / name[2:]
        return self._path.parent / name

    def _items(self, part: str) -> Sequence[tuple[int, Any]]:
        items = self._data.get(part)
        return list(enumerate(items)) if isinstance(items, list) else []


def _pin(text: str) -> Pin:
    if text.startswith(_LOCAL):
        return Pin.LOCAL
    if _DIGEST.search(text):
        return Pin.DIGEST
    return Pin.TREE_HASH if _TREE_HASH.search(text) else Pin.TAG


def _digest(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _tree_digest(directory: Path) -> str:
    """Return the sha256 over all files below a directory, their names and whether they may be run."""
    total = sha256()
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        if path.is_symlink():
            total.update(f"link {name} {os.readlink(path)}\n".encode())
        elif path.is_file():
            total.update(f"file {name} {path.stat().st_mode & 0o111:o} {_digest(path)}\n".encode())
    return total.hexdigest()
