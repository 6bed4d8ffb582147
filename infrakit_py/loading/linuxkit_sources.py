"""Files of this machine that go into a build: their digests, so that a change of one is a change of the image."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import file_digest, sha256
from pathlib import Path

_EXECUTABLE = 0o111


class SourceError(Exception):
    """A source cannot be read. The text says why, without the file's name."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file, or the directory of a local package. `name` as the YAML has it, `path` absolute, `size` in bytes.

    The digest of a directory is over the names, contents and links below it, and over which files may be run.
    """

    name: str
    path: str
    sha256: str
    size: int


def file_source(name: str, path: Path, *, optional: bool) -> SourceFile | None:
    """Return a file; None for an optional one that is not there. SourceError where LinuxKit could not read it.

    LinuxKit takes an optional file that it cannot look at, for whatever reason, for one that is not there.
    """
    try:
        path.stat()
    except (OSError, ValueError) as exc:
        if optional:
            return None
        raise _error(exc) from exc
    digest, size = _digest(path)
    return SourceFile(name, os.path.abspath(path), digest, size)


def package_source(name: str, directory: Path) -> SourceFile:
    """Return the directory of a local package. SourceError where it cannot be read."""
    total, size = sha256(), 0
    try:
        if not directory.is_dir():
            raise SourceError("is no directory" if directory.exists() else "does not exist")
        for path in _below(directory):
            inside = os.fsencode(path.relative_to(directory))
            if path.is_symlink():
                total.update(b"link %b %b\0" % (inside, os.fsencode(os.readlink(path))))
            elif path.is_file():
                digest, length = _digest(path)
                runs = b"program" if path.stat().st_mode & _EXECUTABLE else b"file"
                total.update(b"%b %b\0%b" % (runs, inside, digest.encode()))
                size += length
    except (OSError, ValueError) as exc:
        raise _error(exc) from exc
    return SourceFile(name, os.path.abspath(directory), total.hexdigest(), size)


def _below(directory: Path) -> Iterator[Path]:
    """Yield all that is below a directory, in the same order everywhere. OSError where a part cannot be listed."""

    def fail(exc: OSError) -> None:
        raise exc

    for root, directories, files in os.walk(directory, onerror=fail):
        directories.sort(key=os.fsencode)
        for name in sorted((*directories, *files), key=os.fsencode):
            yield Path(root, name)


def _digest(path: Path) -> tuple[str, int]:
    """Return a file's digest and size. What nobody touched since is not read again: a controller asks often."""
    found = path.stat()
    mark = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return _digest_of(path, mark)


@lru_cache(maxsize=4096)
def _digest_of(path: Path, mark: tuple[int, ...]) -> tuple[str, int]:
    del mark
    try:
        if not path.is_file():
            raise SourceError("is no file")
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest(), file.tell()
    except (OSError, ValueError) as exc:
        raise _error(exc) from exc


def _error(exc: OSError | ValueError) -> SourceError:
    return SourceError(f"cannot be read: {getattr(exc, 'strerror', None) or exc}")
