"""Archives as Compute Engine takes them: made once in a session, or so quickly that each test has its own."""

import tarfile
import zlib
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from infrakit_py.images import read_image
from infrakit_py.model.spec import Image, ImageForm

GIB: Final = 2**30
_PIECE: Final = 2**24


def write_archive(path: Path, seed: int, *, size: int = GIB, noise: int = 300_000, member: str = "disk.raw") -> Path:
    """Write a disk of a little noise and zeros for the rest. Nothing boots from it."""
    path.write_bytes(_archive(seed, size, noise, member))
    return path


@cache
def _archive(seed: int, size: int, noise: int, member: str) -> bytes:
    """What is compressed of a run of zeros is the same wherever it stands, so it is compressed once."""
    entry = tarfile.TarInfo(member)
    entry.size = size
    head = entry.tobuf(tarfile.GNU_FORMAT) + Random(seed).randbytes(noise)
    zeros = size - noise + 1024  # and two empty blocks, which end a tar
    pieces, rest = divmod(zeros, _PIECE)
    empty = bytes(_PIECE)
    compressed = [_deflated(head), _deflated(empty) * pieces, _deflated(bytes(rest), last=True)]
    checksum = zlib.crc32(head)
    for _ in range(pieces):
        checksum = zlib.crc32(empty, checksum)
    checksum = zlib.crc32(bytes(rest), checksum)
    length = (len(head) + zeros) % 2**32
    trailer = checksum.to_bytes(4, "little") + length.to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"".join(compressed) + trailer


def archive_image(path: Path, seed: int = 1, name: str = "web", *, noise: int = 300_000) -> Image:
    """Return the image of a disk that needs no making: it is such an archive."""
    return read_image(name, ImageForm.DISK, {"disk": write_archive(path, seed, noise=noise)}, disk_format="gcp")


def _deflated(data: bytes, *, last: bool = False) -> bytes:
    """Compress what stands alone, so that anything of that kind may come before and after it."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH)
