"""Cluster files with all that they refer to, as texts by relative paths: what is sent to be declared elsewhere.

What it means is judged where it is declared. Of parts that belong to plugins nothing is known here: a value there
that is the name of a text file beside the cluster file takes that file along.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infrakit_py.errors import Problem, SpecError
from infrakit_py.loading import sources
from infrakit_py.loading.interpolation import MARKER
from infrakit_py.loading.linuxkit_fields import PACKAGE
from infrakit_py.loading.linuxkit_rules import CONTAINERS, items
from infrakit_py.loading.linuxkit_scalars import resolve_as_linuxkit
from infrakit_py.loading.references import mapping
from infrakit_py.loading.yaml_documents import Document, Place, documents
from infrakit_py.loading.yaml_nodes import MAX_BYTES, decode
from infrakit_py.loading.yaml_scalars import Scalar, resolve

_IMAGE_FILES: Final = ("kernel", "initrd", "cmdline", "disk")
_KEYS: Final = ("verify", "signature")
_LONGEST_NAME: Final = 255
_NOT_SENT: Final = (
    "files of images are not sent: name one of the server's own by its absolute path, or use a reference"
)
_PACKAGE_NOT_SENT: Final = "a local package is not sent: build and push it, and name it by its digest"


@dataclass(frozen=True, slots=True)
class Bundle:
    """Texts by their paths below one directory; `main` declare clusters. `names`: what their user calls them here."""

    files: Mapping[str, str]
    main: tuple[str, ...]
    names: Mapping[str, str]


def bundle(paths: Sequence[Path]) -> Bundle:
    """Read the cluster files that `paths` stand for, and what they refer to by relative paths.

    SpecError where one cannot be read, or refers to something that cannot be sent as text. A file that is not there
    is left out: where the bundle is loaded, that is reported at the place that names it.
    """
    files, problems = sources.find(paths)
    packing = _Packing()
    for file in files:
        packing.cluster_file(file)
    if problems := [*problems, *packing.problems]:
        raise SpecError(problems)
    return packing.bundle()


class _Packing:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._texts: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._main: list[str] = []

    def bundle(self) -> Bundle:
        root = os.path.commonpath([os.path.dirname(path) for path in self._texts])
        short = {path: Path(os.path.relpath(path, root)).as_posix() for path in self._texts}
        return Bundle(
            {short[path]: text for path, text in self._texts.items()},
            tuple(short[path] for path in self._main),
            {short[path]: name for path, name in self._names.items()},
        )

    def cluster_file(self, file: Path) -> None:
        try:
            source = sources.read(file)
            text, found = _read(source, resolve)
        except SpecError as exc:
            self.problems.extend(exc.problems)
            return
        self._main.append(self._add(Path(source.name), text))
        for document in found:
            self.problems.extend(document.problems)
            self._images(document, source.directory)
            self._parts_of_plugins(document, source.directory)

    def _images(self, document: Document, directory: Path) -> None:
        for name, entry in mapping(document.data, "images").items():
            place: Place = ("images", name)
            image = mapping(entry)
            for key in _IMAGE_FILES:
                if _relative(image.get(key)):
                    self._complain(document, (*place, key), _NOT_SENT)
            if recipe := _relative(image.get("linuxkit")):
                self._linuxkit(directory / recipe)
                if "verify" in image and "signature" not in image:
                    self._required(document, (*place, "verify"), directory / f"{recipe}.sig")
            for key in _KEYS:
                if file := _relative(image.get(key)):
                    self._required(document, (*place, key), directory / file)

    def _linuxkit(self, file: Path) -> None:
        """Take a LinuxKit YAML along, and what it reads. What is wrong with it is reported where it is loaded."""
        if os.path.abspath(file) in self._texts or not file.is_file():
            return
        try:
            text, found = _read(sources.read_file(file), resolve_as_linuxkit)
        except SpecError as exc:
            self.problems.extend(exc.problems)
            return
        self._add(file, text)
        for document in found:
            data = mapping(document.data)
            for place, item in items(data, "files"):
                if name := _relative(mapping(item).get("source")):
                    self._required(document, (*place, "source"), file.parent / name)
            for place, written in _components(data):
                if written.startswith(PACKAGE) and _relative(written.removeprefix(PACKAGE).strip()):
                    self._complain(document, place, _PACKAGE_NOT_SENT)

    def _parts_of_plugins(self, document: Document, directory: Path) -> None:
        parts: list[Any] = list(mapping(document.data, "providers").values())
        for group in mapping(document.data, "groups").values():
            parts += [mapping(group, "machine"), mapping(group, "flavor")]
        for written in _texts_in(parts):
            if len(written) <= _LONGEST_NAME and "\n" not in written and _relative(written):
                with suppress(OSError, ValueError):  # it may well be no file's name at all
                    self._optional(directory / written)

    def _required(self, document: Document, place: Place, file: Path) -> None:
        """Take a file along if it is there; complain where it is not text."""
        try:
            self._optional(file)
        except (OSError, ValueError) as exc:
            no_text = isinstance(exc, UnicodeDecodeError)
            why = "is not text, and only text is sent" if no_text else f"cannot be sent: {_why(exc)}"
            self._complain(document, place, f"{file} {why}")

    def _optional(self, file: Path) -> None:
        if file.is_file():
            self._add(file, _text(file))

    def _add(self, file: Path, text: str) -> str:
        path = os.path.abspath(file)
        self._texts[path] = text
        self._names.setdefault(path, os.path.normpath(file))
        return path

    def _complain(self, document: Document, place: Place, message: str) -> None:
        self.problems.append(document.problem(document.value_mark(place), place, message))


def _read(source: sources.Source, plain: Callable[[str], Scalar]) -> tuple[str, list[Document]]:
    """Return a file's text and its documents, in which no variable is filled in."""
    text = decode(source.content, source.name)
    return text, list(documents(text, source.name, None, plain))


def _relative(written: object) -> str:
    """Return the name of a file that is looked for beside the one that names it; "" for anything else.

    One that holds a variable is for the environment where it is loaded to tell.
    """
    if not isinstance(written, str) or not written or written.startswith(("/", "~/")) or MARKER in written:
        return ""
    return "" if "\0" in written else written


def _components(data: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    """Yield the references of a LinuxKit YAML that may be local packages."""
    found: list[tuple[Place, Any]] = [
        (("kernel", "image"), mapping(data, "kernel").get("image")),
        *items(data, "init"),
    ]
    for part in (*CONTAINERS, "volumes"):
        found += [((*place, "image"), mapping(item).get("image")) for place, item in items(data, part)]
    yield from ((place, written) for place, written in found if isinstance(written, str))


def _texts_in(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _texts_in(item)
        case list():
            for item in value:
                yield from _texts_in(item)


def _text(file: Path) -> str:
    """Return a file's text. OSError, or ValueError where it is none or too large."""
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES // 2**20} MiB")
    return content.decode()


def _why(exc: OSError | ValueError) -> str:
    return getattr(exc, "strerror", None) or str(exc)
