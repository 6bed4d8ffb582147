"""Reads a LinuxKit YAML: mistakes at their places, components and how firmly they are named, files that it reads.

Nothing is filled in: what looks like a variable of a cluster file is LinuxKit's own text.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from infrakit_py.errors import Problem, SpecError
from infrakit_py.loading.findings import Findings
from infrakit_py.loading.linuxkit_fields import PACKAGE
from infrakit_py.loading.linuxkit_models import LinuxKitFile
from infrakit_py.loading.linuxkit_rules import CONTAINERS, items, note_broken_rules
from infrakit_py.loading.linuxkit_scalars import resolve_as_linuxkit
from infrakit_py.loading.linuxkit_sources import SourceError, SourceFile, file_source, package_source
from infrakit_py.loading.references import mapping
from infrakit_py.loading.sources import read_file
from infrakit_py.loading.yaml_documents import Document, Place, documents
from infrakit_py.loading.yaml_nodes import decode
from infrakit_py.model.spec import Json

_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}\Z")
_TREE_HASH: Final = re.compile(r":(?:[\w.-]+-)?[0-9a-f]{40}(?:-(?:amd64|arm64|riscv64|s390x))?\Z")
"""LinuxKit's own packages are tagged with the git tree hash of what they are built from; `-dirty` is not."""
_SECRET: Final = ("contents", "env")
_WANTED: Final = "a LinuxKit file is a mapping with kernel, init, onboot, services and files"


class Pin(StrEnum):
    """How firmly a component is named: the first two name the same bytes for ever."""

    DIGEST = "digest"
    TREE_HASH = "tree-hash"
    TAG = "tag"
    """Or no tag at all."""
    LOCAL = "local"
    """A package of this machine, whose files are sources of the build."""


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
class LinuxKitDocument:
    """A LinuxKit YAML that holds no mistake. `file` is absolute; `text` and `data` may hold secrets.

    With `uses_metadata` the YAML itself, as LinuxKit writes it, is a file of the image.
    """

    file: str
    text: str = field(repr=False)
    data: Mapping[str, Json] = field(repr=False)
    references: tuple[Reference, ...]
    sources: tuple[SourceFile, ...]
    uses_metadata: bool

    @property
    def unpinned(self) -> tuple[str, ...]:
        """The components that may be something else tomorrow, each once."""
        return tuple(dict.fromkeys(r.text for r in self.references if r.pin is Pin.TAG))


def read_linuxkit(path: Path) -> LinuxKitDocument:
    """Read a file. SpecError with every mistake in it, and with every file that it names and that is not there.

    Relative names start at the file's directory: LinuxKit is run there.
    """
    source = read_file(path)
    found = list(documents(decode(source.content, source.name), source.name, None, resolve_as_linuxkit))
    if not found:
        raise SpecError([Problem(source.name, 0, 0, f"is empty; {_WANTED}")])
    if len(found) > 1:
        mark = found[1].values[()].start
        raise SpecError([Problem(source.name, mark.line, mark.column, "another YAML document; LinuxKit reads one")])
    return _Reading(found[0], path).read()


class _Reading:
    """One document, checked part by part."""

    def __init__(self, document: Document, path: Path) -> None:
        self._document = document
        self._findings = Findings(document, _SECRET)
        self._data = document.data
        self._path = path

    def read(self) -> LinuxKitDocument:
        if not isinstance(self._data, dict):
            self._findings.at_value((), _WANTED)
            raise SpecError(self._findings.problems)
        try:
            LinuxKitFile.model_validate(self._data)
        except ValidationError as exc:
            self._findings.invalid((), exc, LinuxKitFile)
        note_broken_rules(self._findings, self._data)
        sources = tuple(self._sources())
        if self._findings.problems:
            raise SpecError(self._findings.problems)
        return LinuxKitDocument(
            file=os.path.abspath(self._path),
            data=self._data,
            text=self._document.text,
            references=tuple(Reference(shown, text, _pin(text)) for shown, _, text in self._components()),
            sources=sources,
            uses_metadata=any(mapping(item).get("metadata") for _, item in items(self._data, "files")),
        )

    def _components(self) -> Iterator[tuple[str, Place, str]]:
        """Yield each reference with its place, for people and in the data."""
        written: list[tuple[str, Place, Any]] = [
            ("kernel.image", ("kernel", "image"), mapping(self._data, "kernel").get("image")),
            *((f"init[{place[-1]}]", place, item) for place, item in items(self._data, "init")),
        ]
        for part in (*CONTAINERS, "volumes"):
            for place, item in items(self._data, part):
                component = mapping(item)
                written.append((f"{part}[{component.get('name')}]", (*place, "image"), component.get("image")))
        yield from ((shown, place, text) for shown, place, text in written if isinstance(text, str))

    def _sources(self) -> Iterator[SourceFile]:
        """Yield what goes into the build from this machine; note what is missing."""
        for place, item in items(self._data, "files"):
            written = mapping(item)
            if isinstance(name := written.get("source"), str) and name:
                optional = written.get("optional") is True
                reading = partial(file_source, name, path := self._located(name), optional=optional)
                yield from self._read((*place, "source"), path, reading)
        packages: dict[str, Place] = {}
        for _, place, text in self._components():
            if _pin(text) is Pin.LOCAL:
                packages.setdefault(text, place)
        for name, place in packages.items():
            path = self._path.parent / name.removeprefix(PACKAGE).strip()
            yield from self._read(place, path, partial(package_source, name, path))

    def _read(self, place: Place, path: Path, reading: Callable[[], SourceFile | None]) -> Iterator[SourceFile]:
        try:
            found = reading()
        except SourceError as exc:
            name = str(path)
            self._findings.at_value(place, f"{name if name.isprintable() else repr(name)} {exc}")
            return
        if found is not None:
            yield found

    def _located(self, name: str) -> Path:
        if name.startswith("~/") and name != "~/":
            return Path.home() / name.removeprefix("~/")
        return self._path.parent / name


def _pin(text: str) -> Pin:
    if text.startswith(PACKAGE):
        return Pin.LOCAL
    if _DIGEST.search(text):
        return Pin.DIGEST
    return Pin.TREE_HASH if _TREE_HASH.search(text) else Pin.TAG
