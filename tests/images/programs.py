"""Real programs for test images: a file of a Debian package, with every shared library that it needs.

What this machine has installed is taken from it; the rest is downloaded, of the same release of Debian.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.images.debian import ImageError, unpacked_package
from tests.images.elf import Needs, read_needs

_DIRECTORIES: Final = (
    "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/systemd", "lib64", "usr/lib64",
    "usr/lib",
)  # fmt: skip
_PACKAGES: Final[Mapping[str, str]] = {
    "libatomic.so.1": "libatomic1",
    "libblkid.so.1": "libblkid1",
    "libcap.so.2": "libcap2",
    "libcom_err.so.2": "libcom-err2",
    "libcrypto.so.3": "libssl3",
    "libe2p.so.2": "libext2fs2",
    "libext2fs.so.2": "libext2fs2",
    "libgcc_s.so.1": "libgcc-s1",
    "libgcrypt.so.20": "libgcrypt20",
    "libgpg-error.so.0": "libgpg-error0",
    "libjemalloc.so.2": "libjemalloc2",
    "liblz4.so.1": "liblz4-1",
    "liblzf.so.1": "liblzf1",
    "liblzma.so.5": "liblzma5",
    "libssl.so.3": "libssl3",
    "libstdc++.so.6": "libstdc++6",
    "libsystemd.so.0": "libsystemd0",
    "libuuid.so.1": "libuuid1",
    "libzstd.so.1": "libzstd1",
}
"""Where Debian has the libraries that a machine may lack. libc6 is on every machine that has apt."""
LIBRARIES: Final = "lib/x86_64-linux-gnu"


@dataclass(frozen=True, slots=True)
class Program:
    """A program's own content, and its loader and libraries by where they go in an image."""

    content: bytes
    libraries: Mapping[str, bytes]


def find_program(package: str, *paths: str) -> Program:
    """Return the first of the paths that is here or in the package. ImageError for none, or a missing library."""
    tree = Path("/")
    file = _first(tree, paths)
    if file is None:
        tree = unpacked_package(package)
        file = _first(tree, paths)
    if file is None:
        raise ImageError(f"package {package} holds none of {', '.join(paths)}")
    content = file.read_bytes()
    return Program(content, dict(sorted(_libraries(read_needs(content)))))


def _first(tree: Path, paths: Sequence[str]) -> Path | None:
    return next((tree / path for path in paths if (tree / path).is_file()), None)


def _libraries(needs: Needs) -> Iterator[tuple[str, bytes]]:
    """Yield each library that is needed, those of libraries too, once."""
    if needs.loader is not None:
        yield needs.loader.lstrip("/"), _library(Path(needs.loader).name)
    wanted, seen = list(needs.libraries), {Path(needs.loader or "").name}
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        content = _library(name)
        wanted.extend(read_needs(content).libraries)
        yield f"{LIBRARIES}/{name}", content


def _library(name: str) -> bytes:
    for directory in _DIRECTORIES:
        if (file := Path("/", directory, name)).is_file():
            return file.read_bytes()
    if name in _PACKAGES:
        tree = unpacked_package(_PACKAGES[name])
        for directory in _DIRECTORIES:
            if (link := tree / directory / name).exists():
                return link.read_bytes()
    raise ImageError(f"the library {name} is neither on this machine nor in a known package")
