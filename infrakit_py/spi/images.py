"""What providers and the rest know of each other where images are published: who makes disks, and what is there."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from infrakit_py.errors import ProviderError
from infrakit_py.model.spec import Image, ImageFile

IDENTITY_DIGITS: Final = 24
"""Digits of an image's identity that every provider remembers at least."""


class DiskFormat(StrEnum):
    """A disk as a provider takes it."""

    RAW = "raw"
    QCOW2 = "qcow2"
    GCP = "gcp"
    """A gzipped tar archive of `disk.raw`, whose size is a whole number of GiB: what Compute Engine imports."""


class Disks(Protocol):
    """Makes disks that boot an image. Safe for threads and processes."""

    def disk(self, image: Image, format: DiskFormat) -> ImageFile:
        """Return a disk that boots the image: the same bytes each time, made once and kept.

        Of a kernel a disk is made that a BIOS boots; a disk is converted where it has another format. ProviderError
        where that cannot be done: the files are not what they were, a program is missing, the image is a reference.
        """
        ...


class NoDisks:
    """Where nobody makes disks."""

    def disk(self, image: Image, format: DiskFormat) -> ImageFile:
        raise ProviderError(f"image {image.name}: nobody is here to make a {format.value} disk of it")


@dataclass(frozen=True, slots=True)
class Publication:
    """An image that was published at a provider by this program, for whichever cluster.

    `id` is for the provider; `identity` is the image's, or at least its first 24 digits. `in_use`: some machine, of
    any cluster, was made from it and is not gone. One that is not `complete` was cut short by a crash, or is being
    published right now. Sizes in bytes and Unix times in seconds, 0 where nobody knows.
    """

    id: str
    identity: str
    name: str
    size: int = 0
    created_at: float = 0.0
    in_use: bool = False
    complete: bool = True
