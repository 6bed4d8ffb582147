"""Images small enough to make thousands of, and caches to keep them in."""

from pathlib import Path
from random import Random

from infrakit_py.images import read_image
from infrakit_py.model.spec import Image, ImageForm

CMDLINE = "console=ttyS0 panic=10"


def kernel_image(directory: Path, name: str = "web", *, seed: int = 1, cmdline: str = CMDLINE) -> Image:
    """Return an image of a kernel and an initrd of random bytes. Nothing boots from it."""
    chance = Random(seed)
    directory.mkdir(parents=True, exist_ok=True)
    paths = {part: directory / f"{name}-{part}" for part in ("kernel", "initrd", "cmdline")}
    paths["kernel"].write_bytes(chance.randbytes(300_000))
    paths["initrd"].write_bytes(chance.randbytes(200_000))
    paths["cmdline"].write_text(f"{cmdline}\n")
    return read_image(name, ImageForm.KERNEL, paths)


def disk_image(file: Path, form: str, name: str = "disk") -> Image:
    """Return the image that a disk is."""
    return read_image(name, ImageForm.DISK, {"disk": file}, disk_format=form)
