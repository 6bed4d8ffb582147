"""What of the cache nobody needs any more: images and disks that no kept version and no file names."""

import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infrakit_py.errors import InfrakitError
from infrakit_py.images.builds import Builds
from infrakit_py.images.cache import BUILDS, DISKS, IMAGES, LOGS, SCRATCH, Cache

_ABANDONED_SECONDS: Final = 86_400.0
"""How old a scratch directory is when nobody works in it any more: no build may take so long."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Something in the cache. `size` in bytes, on the disk where it lies."""

    path: Path
    kind: str
    identity: str
    size: int


def prunable(cache: Cache, builds: Builds, wanted: Collection[str], now: float) -> Sequence[Kept]:
    """Return what may go: all that belongs to no wanted identity, and what crashes left behind."""
    return [*_by_identity(cache, wanted), *_records(cache, builds, wanted), *_scratch(cache, now)]


def prune(kept: Kept) -> None:
    """Delete something of the cache. Gone already is fine. CacheError where it cannot be deleted."""
    try:
        if kept.path.is_dir():
            shutil.rmtree(kept.path)
        else:
            kept.path.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise InfrakitError(f"cannot delete {kept.path}: {exc.strerror or exc}") from exc


def _by_identity(cache: Cache, wanted: Collection[str]) -> Iterator[Kept]:
    for kind, folder in (("image", IMAGES), ("disk", DISKS)):
        for path in _below(cache.path(folder)):
            identity = path.name.split("-")[0]
            if identity not in wanted:
                yield Kept(path, kind, identity, _size(path))


def _records(cache: Cache, builds: Builds, wanted: Collection[str]) -> Iterator[Kept]:
    keys = {build.key for build in builds.all() if build.identity in wanted}
    for folder in (BUILDS, LOGS):
        for path in _below(cache.path(folder)):
            begins = path.name.split("-")[0].split(".")[0]
            if not any(key.startswith(begins) for key in keys):
                yield Kept(path, "record" if folder == BUILDS else "log", "", _size(path))


def _scratch(cache: Cache, now: float) -> Iterator[Kept]:
    for path in _below(cache.directory):
        try:
            if path.name.startswith(SCRATCH) and now - path.stat().st_mtime > _ABANDONED_SECONDS:
                yield Kept(path, "scratch", "", _size(path))
        except FileNotFoundError:
            continue


def _below(directory: Path) -> Sequence[Path]:
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _size(path: Path) -> int:
    """Return what a file or directory takes up, holes left out."""
    found = path.rglob("*") if path.is_dir() else [path]
    total = 0
    for file in found:
        try:
            total += file.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total
