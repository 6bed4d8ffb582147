"""Disks that boot an image, in the formats that providers take. Each is made once, from the image's own files.

A disk is a derived thing: the image's identity is that of its kernel, and the same image gives the same bytes.
"""

import json
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from gzip import BadGzipFile, GzipFile
from hashlib import file_digest, sha256
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO, Final

from infrakit_py.errors import InfrakitError, ProviderError
from infrakit_py.images.bios_disk import MODIFIED_AT, make_bios_disk
from infrakit_py.images.cache import DISKS, Cache, explained
from infrakit_py.images.tools import run_tool
from infrakit_py.model.spec import AMD64, Image, ImageFile, ImageForm
from infrakit_py.spi.images import DiskFormat

GIB: Final = 2**30
_SUFFIX: Final = {DiskFormat.RAW: "raw", DiskFormat.QCOW2: "qcow2", DiskFormat.GCP: "tar.gz"}
_IN_ARCHIVE: Final = "disk.raw"
_BLOCK: Final = 2**20
_LEVEL: Final = 1
"""Of gzip: kernels and initrds are compressed already, and zeros are as small at any level, and slower."""


class DiskMaker:
    """Makes disks and keeps them in the cache. Safe for threads and processes."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def disk(self, image: Image, format: DiskFormat) -> ImageFile:
        """Return a disk that boots the image; see `infrakit_py.spi.images.Disks`."""
        try:
            if image.form is ImageForm.REFERENCE:
                raise ProviderError(f"image {image.name}: {image.reference} is there already; no disk is made of it")
            if image.form is ImageForm.DISK and image.disk_format == format.value:
                return image.files["disk"]
            return self._kept(image, format)
        except ProviderError:
            raise
        except InfrakitError as exc:
            raise ProviderError(f"image {image.name}: {exc}", hint=exc.hint) from exc

    def _kept(self, image: Image, format: DiskFormat) -> ImageFile:
        name = f"{image.identity}-{image.disk_size}.{_SUFFIX[format]}"
        if (known := self._known(name)) is not None:
            return known
        # The way to any other format is a raw disk. It is made before the lock is taken: two locks, one order.
        raw = None if format is DiskFormat.RAW else Path(self.disk(image, DiskFormat.RAW).path)
        with self._cache.held(f"disk-{name}"):
            if (known := self._known(name)) is not None:
                return known
            with explained(self._cache.directory), self._cache.scratch() as scratch:
                out = scratch / name
                self._make(image, format, raw, out, scratch)
                with out.open("rb") as file:
                    digest, size = file_digest(file, "sha256").hexdigest(), file.tell()
                self._cache.keep(out, DISKS, name)
            # The note comes last: what has none is made again.
            self._cache.write(json.dumps({"sha256": digest, "size": size}), DISKS, f"{name}.json")
        known = self._known(name)
        if known is None:
            raise ProviderError(f"the disk {name} went away while it was made")
        return known

    def _known(self, name: str) -> ImageFile | None:
        """Return a disk that is there, and as long as it was when it was made."""
        path = self._cache.path(DISKS, name)
        try:
            note = json.loads(self._cache.path(DISKS, f"{name}.json").read_text())
            if path.stat().st_size != note["size"]:
                return None
            return ImageFile(str(path), str(note["sha256"]), int(note["size"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _make(self, image: Image, format: DiskFormat, raw: Path | None, out: Path, scratch: Path) -> None:
        if raw is not None:
            _CONVERSIONS[format](raw, out)
        elif image.form is ImageForm.KERNEL:
            _from_kernel(image, out, scratch)
        else:
            _raw_of(image, out, scratch)


def convert(raw: Path, out: Path, format: str, *options: str) -> None:
    """Convert a raw disk with qemu-img. ToolError where that fails."""
    run_tool("qemu-img", "convert", "-q", "-f", "raw", "-O", format, *options, str(raw), str(out))


def checked_copy(file: ImageFile, out: Path) -> Path:
    """Copy one of an image's files. ProviderError unless it still is what the image was made of."""
    digest = sha256()
    with out.open("wb") as target:
        for block in _blocks(Path(file.path)):
            digest.update(block)
            target.write(block)
    if digest.hexdigest() != file.sha256:
        raise ProviderError(
            f"image file {file.path} has changed since it was read",
            hint="run the command again; `infra image build --rebuild` repairs an image that was built here",
        )
    return out


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as source:
            while block := source.read(_BLOCK):
                yield block
    except OSError as exc:
        raise ProviderError(f"cannot read image file {path}: {exc.strerror or exc}") from exc


def _from_kernel(image: Image, out: Path, scratch: Path) -> None:
    if not image.files:
        raise ProviderError(f"image {image.name} is not built yet", hint=f"infra image build --image {image.name}")
    if image.architecture != AMD64:
        raise ProviderError(
            f"image {image.name} is for {image.architecture}: disks are made for {AMD64} only",
            hint="boot its kernel directly (libvirt), or declare a disk that was made elsewhere",
        )
    kernel = checked_copy(image.files["kernel"], scratch / "kernel")
    initrd = checked_copy(image.files["initrd"], scratch / "initrd.img")
    make_bios_disk(kernel, initrd, image.cmdline, out, identity=image.identity, least_size=image.disk_size)


def _raw_of(image: Image, out: Path, scratch: Path) -> None:
    """Turn a disk of another format into a raw one."""
    disk = checked_copy(image.files["disk"], scratch / "given")
    if image.disk_format == DiskFormat.GCP.value:
        _unpack(disk, out)
    elif image.disk_format in (DiskFormat.QCOW2.value,):
        run_tool("qemu-img", "convert", "-q", "-f", image.disk_format, "-O", "raw", str(disk), str(out))
    else:
        raise ProviderError(f"image {image.name}: no disk is made of a file of format {image.disk_format}")


def _unpack(archive: Path, out: Path) -> None:
    try:
        with tarfile.open(archive) as tar, out.open("wb") as target:
            member = tar.extractfile(_IN_ARCHIVE)
            if member is None:
                raise ProviderError(f"the archive's {_IN_ARCHIVE} is no file")
            shutil.copyfileobj(member, target, _BLOCK)
            while tar.fileobj is not None and tar.fileobj.read(_BLOCK):
                pass  # to its end, where the archive's own checksum is
    except (tarfile.TarError, KeyError, EOFError, BadGzipFile, zlib.error) as exc:
        raise ProviderError(f"no archive of {_IN_ARCHIVE}, as Compute Engine takes them: {exc}") from exc


def _pack(raw: Path, out: Path) -> None:
    """Write a GNU tar of `disk.raw`, padded with zeros to whole GiB and without a time of its own.

    Source: cloud.google.com/compute/docs/images/import-existing-image, "Compress the image".
    """
    size = -(-raw.stat().st_size // GIB) * GIB
    entry = tarfile.TarInfo(_IN_ARCHIVE)
    entry.size, entry.mtime, entry.mode = size, MODIFIED_AT, 0o644
    with (
        out.open("wb") as target,
        GzipFile("", "wb", _LEVEL, target, mtime=0) as packed,
        tarfile.TarFile(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT, copybufsize=_BLOCK) as tar,
        raw.open("rb") as source,
    ):
        tar.addfile(entry, _Padded(source, size))


class _Padded(RawIOBase):
    """A file followed by zeros, as tarfile reads it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, count: int = -1, /) -> bytes:
        count = self._left if count < 0 else min(count, self._left)
        self._left -= count
        return self._file.read(count).ljust(count, b"\0")


def _to_qcow2(raw: Path, out: Path) -> None:
    convert(raw, out, "qcow2")


_CONVERSIONS: Final[Mapping[DiskFormat, Callable[[Path, Path], None]]] = {
    DiskFormat.QCOW2: _to_qcow2,
    DiskFormat.GCP: _pack,
}
