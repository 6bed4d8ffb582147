"""Images in the pool: one volume a file, named by what was published, and an empty one that says they are complete.

The last volume is made when all others are written, and removed before any other: it alone means `published`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from infrakit_providers.libvirt import faults
from infrakit_providers.libvirt.names import IMAGE_COMPLETE, published_name
from infrakit_providers.libvirt.settings import CDROM, OVERLAID, PUBLISHED_AS
from infrakit_providers.libvirt.storage import Pool
from infrakit_providers.libvirt.volume_xml import Backing
from infrakit_providers.libvirt.wire import KernelBoot
from infrakit_py.errors import ImageMissing, ProviderError
from infrakit_py.model.quantities import format_size
from infrakit_py.model.spec import Image, ImageFile, ImageForm
from infrakit_py.spi.images import DiskFormat, Disks

_BLOCK: Final = 2**18
_LOOK_SECONDS: Final = 2.0
_OTHERS_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Boot:
    """How machines boot from an image: its kernel, an overlay of their own on a disk, or a CD-ROM that all share."""

    kernel: KernelBoot | None = None
    below: Backing | None = None
    cdrom: str = ""


def name_in_records(image: Image) -> str:
    """Return what a domain's record calls its image: by this the domain's XML shows that it uses the image."""
    return image.reference if image.form is ImageForm.REFERENCE else published_name(image)


def is_published(pool: Pool, image: Image) -> bool:
    """Tell whether machines can boot from the image right now."""
    if image.form is ImageForm.REFERENCE:
        return pool.find(image.reference) is not None
    return all(pool.find(_volume(image, part)) is not None for part in (IMAGE_COMPLETE, *_parts(image)))


def files_to_publish(image: Image, disks: Disks) -> Mapping[str, ImageFile]:
    """Return an image's files by the volumes that they become. A disk that it needs is made. Of a reference: none."""
    if image.form is ImageForm.REFERENCE:
        return {}
    if not image.is_built:
        raise ProviderError(f"libvirt: image {image.name} is not built yet", hint="infra image build")
    return {_volume(image, part): _file(image, part, disks) for part in _parts(image)}


def publish(pool: Pool, image: Image, files: Mapping[str, ImageFile], progress: Callable[[int, int], None]) -> None:
    """Write the image's `files_to_publish`. Safe to repeat and to run twice at once: each writes the same bytes.

    libvirt lets only one write to a volume at a time, so the others wait for it, and then find it written.
    """
    if image.form is ImageForm.REFERENCE:
        if is_published(pool, image):
            return
        raise ProviderError(
            f"libvirt: image {image.name}: no volume {image.reference} in pool {pool.name}",
            hint=f"virsh vol-list {pool.name} shows what is there; an image by reference is never uploaded",
        )
    for attempt in Retrying(
        retry=retry_if_exception(faults.is_in_use),
        wait=wait_exponential(multiplier=0.1, max=_LOOK_SECONDS),
        stop=stop_after_delay(_OTHERS_SECONDS),
        reraise=True,
    ):
        with attempt:
            _publish_files(pool, image, files, progress)


def _publish_files(
    pool: Pool, image: Image, files: Mapping[str, ImageFile], progress: Callable[[int, int], None]
) -> None:
    total = sum(file.size for file in files.values())
    if is_published(pool, image):  # by another, meanwhile
        progress(total, total)
        return
    pool.delete(_volume(image, IMAGE_COMPLETE))
    done = 0
    for volume, file in files.items():
        sent = partial(_report, progress, done, total)
        pool.write(volume, file.size, _blocks(file, sent), private=False)
        done += file.size
    pool.refresh()  # libvirt looks at the content, and so at the size of a qcow2 disk, only now
    if missing := [volume for volume in files if pool.find(volume) is None]:
        raise ImageMissing(f"libvirt: image {image.name}: {', '.join(missing)} went away while it was published")
    pool.ensure_empty(_volume(image, IMAGE_COMPLETE))


def boot_from(pool: Pool, image: Image) -> Boot:
    """Return how a machine boots from the image. ImageMissing if it is not published."""
    require_published(pool, image)
    if image.form is ImageForm.REFERENCE:
        return Boot(below=_backing(pool, image, image.reference))
    if image.form is ImageForm.KERNEL and not image.as_disk:
        kernel, initrd = (pool.path(_volume(image, part)) for part in _parts(image))
        return Boot(KernelBoot(kernel, initrd, image.cmdline))
    (part,) = _parts(image)
    volume = _volume(image, part)
    return Boot(cdrom=pool.path(volume)) if part == CDROM else Boot(below=_backing(pool, image, volume))


def require_published(pool: Pool, image: Image) -> None:
    """Raise ImageMissing unless machines can boot from the image right now."""
    if not is_published(pool, image):
        raise ImageMissing(f"libvirt: image {image.name} ({image.short}) is not in pool {pool.name}")


def _backing(pool: Pool, image: Image, volume: str) -> Backing:
    shape = pool.find(volume)
    if shape is None:
        raise ImageMissing(f"libvirt: image {image.name}: volume {volume} is gone")
    if image.form is not ImageForm.REFERENCE and volume.endswith(".raw"):
        return Backing(pool.path(volume), "raw", shape.capacity)  # whatever its first bytes look like
    if shape.format not in OVERLAID:
        raise ProviderError(f"libvirt: image {image.name}: volume {volume} is {shape.format or 'of no known format'}")
    return Backing(pool.path(volume), shape.format, shape.capacity)


def _volume(image: Image, part: str) -> str:
    return f"{published_name(image)}.{part}"


def _parts(image: Image) -> tuple[str, ...]:
    """Return the parts to upload. A kernel's command line goes into each domain instead, or into the disk."""
    if image.form is ImageForm.KERNEL:
        return (image.as_disk,) if image.as_disk else ("kernel", "initrd")
    try:
        return (PUBLISHED_AS[image.disk_format],)
    except KeyError:
        raise ProviderError(f"libvirt: image {image.name}: cannot boot a {image.disk_format} disk") from None


def _file(image: Image, part: str, disks: Disks) -> ImageFile:
    if part in image.files:
        return image.files[part]
    if image.form is ImageForm.DISK and image.disk_format == part:
        return image.files["disk"]
    return disks.disk(image, DiskFormat(part))


def _blocks(file: ImageFile, sent: Callable[[int], None]) -> Iterator[bytes]:
    """Read a file, and refuse it at its end if it is not the one that the image was made of."""
    digest, size = sha256(), 0
    try:
        with Path(file.path).open("rb") as source:
            if os.fstat(source.fileno()).st_size != file.size:
                raise ProviderError(_changed(file))
            while block := source.read(_BLOCK):
                digest.update(block)
                size += len(block)
                yield block
                sent(size)
    except OSError as exc:
        raise ProviderError(f"libvirt: cannot read image file {file.path}: {exc.strerror or exc}") from exc
    if digest.hexdigest() != file.sha256:
        raise ProviderError(_changed(file))


def _report(progress: Callable[[int, int], None], before: int, total: int, sent: int) -> None:
    progress(before + sent, total)


def _changed(file: ImageFile) -> str:
    return f"libvirt: image file {file.path} ({format_size(file.size)}) was changed after it was read: plan again"
