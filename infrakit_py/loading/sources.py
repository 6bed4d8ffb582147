"""The bytes of the files, directories and standard input that a user names."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infrakit_py.errors import Problem, SpecError
from infrakit_py.loading.yaml_nodes import MAX_BYTES

STANDARD_INPUT: Final = "<stdin>"
_SUFFIXES: Final = (".yml", ".yaml")


@dataclass(frozen=True, slots=True)
class Source:
    """One file's content, what people call it, and where relative paths in it start."""

    name: str
    directory: Path
    content: bytes


def find(paths: Sequence[Path]) -> tuple[list[Path], list[Problem]]:
    """Return the files that `paths` stand for, each once, and what is wrong with the others.

    A directory stands for the YAML files right in it, in the order of their names, without hidden ones;
    `-` for standard input.
    """
    files: dict[str, Path] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            found = list(_files(path))
        except OSError as exc:
            problems.append(Problem(str(path), 0, 0, f"cannot be read: {exc.strerror or exc}"))
            continue
        if not found:
            problems.append(Problem(str(path), 0, 0, f"no {' or '.join('*' + suffix for suffix in _SUFFIXES)} in it"))
        for file in found:
            files.setdefault(os.path.realpath(file), file)
    return list(files.values()), problems


def read(path: Path) -> Source:
    """Read one file, or standard input for `-`. SpecError if that is not possible."""
    if str(path) != "-":
        return read_file(path)
    try:
        return Source(STANDARD_INPUT, Path(), sys.stdin.buffer.read(MAX_BYTES + 1))
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def read_file(path: Path) -> Source:
    """Read one file, whatever it is called. SpecError if that is not possible."""
    try:
        with path.open("rb") as file:
            return Source(str(path), path.parent, file.read(MAX_BYTES + 1))
    except (OSError, ValueError) as exc:  # ValueError: the name holds a NUL
        raise _unreadable(path, exc) from exc


def _files(path: Path) -> Iterator[Path]:
    if str(path) == "-" or not path.is_dir():
        yield path
        return
    yield from sorted(_visible(path.iterdir()))


def _visible(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.suffix in _SUFFIXES and not path.name.startswith(".") and not path.is_dir():
            yield path


def _unreadable(path: Path, exc: OSError | ValueError) -> SpecError:
    return SpecError([Problem(str(path), 0, 0, f"cannot be read: {getattr(exc, 'strerror', None) or exc}")])
