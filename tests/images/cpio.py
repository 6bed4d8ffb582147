"""The "newc" cpio archive that the Linux kernel unpacks as its first root file system."""

import io
import stat
from pathlib import PurePosixPath

MODIFIED_AT = 1492533000  # any fixed time: the same files give the same bytes


class CpioArchive:
    """An archive in memory, owned by root, with one modification time. Parent directories are added as needed."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._inode = 0
        self._directories: set[str] = set()

    def directory(self, name: str, *, permissions: int = 0o755) -> None:
        for path in (*reversed(PurePosixPath(name).parents), PurePosixPath(name)):
            if path.name and str(path) not in self._directories:
                self._directories.add(str(path))
                self._entry(str(path), stat.S_IFDIR | permissions)

    def file(self, name: str, content: bytes, *, permissions: int = 0o644) -> None:
        self.directory(str(PurePosixPath(name).parent))
        self._entry(name, stat.S_IFREG | permissions, content)

    def link(self, name: str, target: str) -> None:
        self.directory(str(PurePosixPath(name).parent))
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int) -> None:
        self.directory(str(PurePosixPath(name).parent))
        self._entry(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def content(self) -> bytes:
        """Close the archive and return its bytes. Nothing may be added afterwards."""
        self._entry("TRAILER!!!", 0)
        return self._buffer.getvalue()

    def _entry(self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        links = 2 if stat.S_ISDIR(mode) else 1
        path = name.encode() + b"\0"
        size, owner, on_device, checksum = len(content), (0, 0), (0, 0), 0
        fields = (
            self._inode, mode, *owner, links, MODIFIED_AT, size, *on_device, *device, len(path), checksum,
        )  # fmt: skip
        self._padded(b"070701" + b"".join(b"%08X" % field for field in fields) + path)
        self._padded(content)

    def _padded(self, data: bytes) -> None:
        self._buffer.write(data)
        self._buffer.write(b"\0" * (-self._buffer.tell() % 4))
