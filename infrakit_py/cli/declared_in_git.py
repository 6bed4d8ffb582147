"""What a range of commits declares: the clusters that its end declares otherwise than its beginning."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from infrakit_py.errors import InfrakitError, UsageError
from infrakit_py.model.fingerprint import spec_digest
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.sources.git import Repository

if TYPE_CHECKING:
    from infrakit_py.app import App


@dataclass(frozen=True, slots=True)
class Declared:
    """The clusters of the range's end that changed, and the names of those that did not, and of those that left."""

    changed: tuple[ClusterSpec, ...]
    unchanged: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@contextmanager
def declared_in(app: "App", written: str, paths: Sequence[Path]) -> Iterator[Declared]:
    """Read what a range declares in these files, and stand in its end's files as long as the context is open.

    SpecError for mistakes at its end; those at its beginning make every cluster one that changed.
    """
    for path in paths:
        if path.is_absolute() or str(path) == "-":
            raise UsageError(f"{path} lies in no commit", hint="name files by where they lie, seen from here")
    repository = Repository.around(Path.cwd())
    commits = repository.range(written)
    with TemporaryDirectory(prefix="infra-plan-") as scratch:
        before = _loaded_or_none(app, repository.export(commits.base, _made(Path(scratch, "base"))), paths)
        tree = repository.export(commits.head, _made(Path(scratch, "head")))
        with _standing_in(tree):
            yield _compared(before, app.load(_named(paths)))


def _loaded_or_none(app: "App", tree: Path, paths: Sequence[Path]) -> tuple[ClusterSpec, ...]:
    try:
        with _standing_in(tree):
            there = [path for path in _named(paths) if path.exists()]
            return app.load(there, unsigned=True) if there else ()
    except InfrakitError:
        return ()


def _compared(before: Sequence[ClusterSpec], after: Sequence[ClusterSpec]) -> Declared:
    digests = {spec.name: spec_digest(spec) for spec in before}
    changed = tuple(spec for spec in after if digests.get(spec.name) != spec_digest(spec))
    names = {spec.name for spec in after}
    return Declared(
        changed,
        tuple(spec.name for spec in after if spec not in changed),
        tuple(name for name in digests if name not in names),
    )


def _named(paths: Sequence[Path]) -> Sequence[Path]:
    """Return the files to read: those that were named, else ./cluster.yml."""
    return paths or [Path("cluster.yml")]


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


@contextmanager
def _standing_in(directory: Path) -> Iterator[None]:
    if not directory.is_dir():
        raise UsageError(f"there is no such directory in that commit: {directory.name}")
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)
