"""Which shared libraries a program needs, read from the file itself: it may be of a package that is not installed."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tests.images.debian import ImageError

_LOADED, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS = 1, 5


@dataclass(frozen=True, slots=True)
class Needs:
    """The loader of a program (None for a library), and the names of the libraries that it needs itself."""

    loader: str | None
    libraries: tuple[str, ...]


def read_needs(content: bytes) -> Needs:
    """Return what an x86-64 ELF file needs. Raise ImageError for any other file."""
    if content[:6] != b"\x7fELF\x02\x01":
        raise ImageError("no 64-bit ELF file")
    segments = list(_segments(content))
    loader = next((_text(content, offset) for kind, offset, _, _ in segments if kind == _INTERPRETER), None)
    dynamic = next(((offset, size) for kind, offset, _, size in segments if kind == _DYNAMIC), None)
    if dynamic is None:
        return Needs(loader, ())
    offset, size = dynamic
    entries = list(struct.iter_unpack("<QQ", content[offset : offset + size]))
    strings = _place(segments, next(value for tag, value in entries if tag == _STRINGS))
    return Needs(loader, tuple(_text(content, strings + value) for tag, value in entries if tag == _NEEDED))


def _segments(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield kind, place in the file, address and size of each segment."""
    (table,) = struct.unpack_from("<Q", content, 32)
    width, count = struct.unpack_from("<HH", content, 54)
    for index in range(count):
        kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", content, table + index * width)
        yield kind, offset, address, size


def _place(segments: list[tuple[int, int, int, int]], address: int) -> int:
    for kind, offset, start, size in segments:
        if kind == _LOADED and start <= address < start + size:
            return offset + address - start
    raise ImageError("a damaged ELF file: its names are in no segment")


def _text(content: bytes, offset: int) -> str:
    return content[offset : content.index(b"\0", offset)].decode()
