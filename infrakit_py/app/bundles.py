"""Sets of files that came by the API, kept on disk: what is declared in them may refer to others of them."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from infrakit_py.app.background_builds import Declaration
from infrakit_py.errors import Problem, SpecError, UsageError
from infrakit_py.model.fingerprint import canonical

_KEPT: Final = 50


@dataclass(frozen=True, slots=True)
class Bundle:
    """One set of files in a directory of its own."""

    directory: Path

    def load(self, main: Sequence[str], load: Callable[[Sequence[Path]], Declaration]) -> Declaration:
        """Return what `main` of the files declare. SpecError that names files as whoever sent them does."""
        if not main:
            raise UsageError("no file is named that declares clusters")
        for name in main:
            _check(name)
        try:
            return load([self.directory / name for name in main])
        except SpecError as exc:
            raise SpecError([self._as_sent(problem) for problem in exc.problems]) from exc

    def _as_sent(self, problem: Problem) -> Problem:
        here = f"{self.directory}/"
        return replace(problem, file=problem.file.replace(here, ""), message=problem.message.replace(here, ""))


class Bundles:
    """All of them, below one directory. `used` tells which source files are declared now: their sets stay."""

    def __init__(self, directory: Path, used: Callable[[], Sequence[str]]) -> None:
        self._directory = directory
        self._used = used

    @contextmanager
    def kept(self, files: Mapping[str, str], *, keep: bool) -> Iterator[Bundle]:
        """Write files, and keep them if all goes well and they shall be kept. UsageError for names that lead out."""
        for name in files:
            _check(name)
        digest = hashlib.sha256(canonical(dict(files)).encode(errors="replace")).hexdigest()[:24]
        place = self._directory / digest
        if keep and place.is_dir():
            yield Bundle(place)
            return
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = Path(tempfile.mkdtemp(dir=self._directory, prefix=".new-"))
        try:
            for name, text in files.items():
                file = scratch / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8", errors="replace")
            if not keep:
                yield Bundle(scratch)
                return
            scratch.rename(place)
            try:
                yield Bundle(place)
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self._prune()

    def _prune(self) -> None:
        used = {Path(source).parent for source in self._used()}
        old = sorted(self._directory.glob("[!.]*"), key=lambda place: place.stat().st_mtime, reverse=True)
        for place in old[_KEPT:]:
            if not any(place == directory or place in directory.parents for directory in used):
                shutil.rmtree(place, ignore_errors=True)


def _check(name: str) -> None:
    path = Path(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name or len(name) > 1000 or not path.parts:
        raise UsageError(f"file name {name[:100]!r} must be relative, and lead nowhere else")
