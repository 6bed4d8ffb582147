"""Images in the pool: one volume a file, named by the image's identity, and an empty one that says they are complete.

The last volume is made when all others are written, and removed before any other: it alone means `published`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from infrakit_providers.libvirt import faults
from infrakit_providers.libvirt.names import IMAGE_COMPLETE, image_base
from infrakit_providers.libvirt.settings import DISK_FORMATS
from infrakit_providers.libvirt.storage import Pool
from infrakit_providers.libvirt.volume_xml import Backing
from infrakit_providers.libvirt.wire import KernelBoot
from infrakit_py.errors import ImageMissing, ProviderError
from infrakit_py.model.quantities import format_size
from infrakit_py.model.spec import Image, ImageFile, ImageForm

_BLOCK: Final = 2**18
_LOOK_SECONDS: Final = 2.0
_OTHERS_SECONDS: Final = 300.0


def volume_prefix(image: Image) -> str:
    """Return what the image's volumes are called: by this a domain's XML shows that it uses the image."""
    return image.reference if image.form is ImageForm.REFERENCE else image_base(image)


def is_published(pool: Pool, image: Image) -> bool:
    """Tell whether machines can boot from the image right now."""
    if image.form is ImageForm.REFERENCE:
        return pool.find(image.reference) is not None
    return all(pool.find(volume) is not None for volume in (_complete(image), *_files(image)))


def publish(pool: Pool, image: Image, progress: Callable[[int, int], None]) -> None:
    """Write the image's volumes. Safe to repeat and to run twice at once: each writes the same bytes.

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
            _publish_files(pool, image, progress)


def _publish_files(pool: Pool, image: Image, progress: Callable[[int, int], None]) -> None:
    if is_published(pool, image):
        progress(image.size, image.size)
        return
    pool.delete(_complete(image))
    files = _files(image)
    total = sum(file.size for file in files.values())
    done = 0
    for volume, file in files.items():
        sent = partial(_report, progress, done, total)
        pool.write(volume, file.size, _blocks(file, sent), private=False)
        done += file.size
    pool.refresh()  # libvirt looks at the content, and so at the size of a qcow2 disk, only now
    if missing := [volume for volume in files if pool.find(volume) is None]:
        raise ImageMissing(f"libvirt: image {image.name}: {', '.join(missing)} went away while it was published")
    pool.ensure_empty(_complete(image))


def kernel_boot(pool: Pool, image: Image) -> KernelBoot:
    """Return how a machine boots from the image's kernel. ImageMissing if it is not published."""
    require_published(pool, image)
    base = image_base(image)
    return KernelBoot(pool.path(f"{base}.kernel"), pool.path(f"{base}.initrd"), image.cmdline)


def backing(pool: Pool, image: Image) -> Backing:
    """Return what a machine's root disk lies over. ImageMissing if it is not published."""
    require_published(pool, image)
    volume = image.reference if image.form is ImageForm.REFERENCE else f"{image_base(image)}.{image.disk_format}"
    shape = pool.find(volume)
    if shape is None:
        raise ImageMissing(f"libvirt: image {image.name}: volume {volume} is gone")
    if image.form is ImageForm.DISK and image.disk_format == "raw":
        return Backing(pool.path(volume), "raw", image.files["disk"].size)
    if shape.format not in DISK_FORMATS:
        raise ProviderError(f"libvirt: image {image.name}: volume {volume} is {shape.format or 'of no known format'}")
    return Backing(pool.path(volume), shape.format, shape.capacity)


def require_published(pool: Pool, image: Image) -> None:
    """Raise ImageMissing unless machines can boot from the image right now."""
    if not is_published(pool, image):
        raise ImageMissing(f"libvirt: image {image.name} ({image.short}) is not in pool {pool.name}")


def _complete(image: Image) -> str:
    return f"{image_base(image)}.{IMAGE_COMPLETE}"


def _files(image: Image) -> Mapping[str, ImageFile]:
    """Return the files to upload by volume name. A kernel's command line goes into each domain instead."""
    if image.form is ImageForm.KERNEL:
        parts = {"kernel": image.files["kernel"], "initrd": image.files["initrd"]}
    elif image.disk_format in DISK_FORMATS:
        parts = {image.disk_format: image.files["disk"]}
    else:
        raise ProviderError(f"libvirt: image {image.name}: cannot boot a {image.disk_format} disk")
    return {f"{image_base(image)}.{part}": file for part, file in parts.items()}


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
