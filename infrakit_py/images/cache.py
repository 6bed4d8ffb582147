"""Where built images and the disks that were made of them lie on this machine. All of it can be made again.

```
images/IDENTITY/{kernel,initrd,cmdline[,sbom.spdx.json]}   what LinuxKit built, by content
builds/KEY.json                                            which recipe gave which image
disks/NAME.{raw,qcow2,tar.gz} and NAME.….json              disks, and the digests of their bytes
logs/KEY.log                                               what the last build of a recipe said
```
A file or directory appears under its name complete, or not at all; whoever makes one holds its lock.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from infrakit_py.errors import InfrakitError

IMAGES: Final = "images"
BUILDS: Final = "builds"
DISKS: Final = "disks"
LOGS: Final = "logs"
SCRATCH: Final = ".scratch-"
_LOOK_SECONDS: Final = 0.5


class CacheError(InfrakitError):
    """The cache of images cannot be used."""


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Return where images are kept: $INFRAKIT_CACHE_DIR, else below $XDG_CACHE_HOME, else ~/.cache."""
    if own := environment.get("INFRAKIT_CACHE_DIR"):
        return Path(own)
    base = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "infrakit-py"


class Cache:
    """The directory, its locks, and how things come into it. Safe for threads and processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, *parts: str) -> Path:
        return self.directory.joinpath(*parts)

    @contextmanager
    def held(self, name: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold what is called `name` against whoever else would make it. The hold ends with the process.

        `waiting` is called once a while as long as another process holds it; what it raises ends the waiting.
        """
        with explained(self.directory):
            locks = self._made() / "locks"
            locks.mkdir(exist_ok=True)
            lock = FileLock(locks / f"{name}.lock", thread_local=False)
            _acquire(lock, waiting)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make a fresh directory on the file system of the cache; it is gone afterwards."""
        with explained(self.directory):
            scratch = Path(tempfile.mkdtemp(dir=self._made(), prefix=SCRATCH))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _made(self) -> Path:
        """Make the directory where there is none, its owner's alone: images may hold secrets."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.directory

    def keep(self, made: Path, *parts: str) -> Path:
        """Move a file or directory that is complete to its place, unless that is taken. Return the place.

        What is content-addressed is the same already; a file takes the place of the one before.
        """
        place = self.path(*parts)
        with explained(self.directory):
            place.parent.mkdir(parents=True, exist_ok=True)
            if made.is_dir():
                try:
                    made.rename(place)
                except OSError:
                    if not place.is_dir():
                        raise
            else:
                made.replace(place)
        return place

    def write(self, text: str, *parts: str, private: bool = False) -> Path:
        """Write a small file, whole or not at all; `private` to whoever runs this."""
        with self.scratch() as scratch:
            made = scratch / "file"
            made.touch(0o600 if private else 0o666)
            made.write_text(text)
            return self.keep(made, *parts)


def _acquire(lock: FileLock, waiting: Callable[[], None]) -> None:
    while True:
        try:
            lock.acquire(timeout=_LOOK_SECONDS)
        except Timeout:
            waiting()
        else:
            return


@contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a CacheError that says what to do."""
    try:
        yield
    except OSError as exc:
        where = os.fspath(exc.filename) if exc.filename else directory
        raise CacheError(
            f"cannot keep images in {where}: {exc.strerror or exc}",
            hint="set INFRAKIT_CACHE_DIR to a directory that can be written to",
        ) from exc
