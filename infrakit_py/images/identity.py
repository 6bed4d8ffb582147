"""What an image is, told by its bytes alone: the same bytes are the same image, whatever the files are called."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from infrakit_py.errors import InfrakitError
from infrakit_py.images.signatures import SignatureFault, verify
from infrakit_py.model.spec import Image, ImageFile, ImageForm, Signed
from infrakit_py.spi.complaint import Complaint

PARTS: Final[Mapping[ImageForm, tuple[str, ...]]] = {
    ImageForm.KERNEL: ("kernel", "initrd", "cmdline"),
    ImageForm.DISK: ("disk",),
    ImageForm.REFERENCE: (),
}
"""The files of each form, in the order in which they enter the identity."""

_CMDLINE_LIMIT: Final = 64 * 1024
_QCOW2_HEADER: Final = 104
_EXTERNAL_DATA: Final = 0b100


class ImageError(InfrakitError):
    """An image's files cannot be used. Each complaint's path is the part that it is about: `kernel`, `disk`, ..."""

    def __init__(self, name: str, complaints: Sequence[Complaint]) -> None:
        super().__init__(f"image {name!r}: " + "; ".join(complaint.message for complaint in complaints))
        self.complaints = tuple(complaints)


def read_image(
    name: str,
    form: ImageForm,
    paths: Mapping[str, Path],
    *,
    reference: str = "",
    disk_format: str = "raw",
    signed: Signed | None = None,
) -> Image:
    """Read an image's files, each once, and return the image. ImageError with everything that is wrong with them.

    `paths` maps each part of `PARTS[form]` to its file. Where the image must be `signed`, its signature is checked.
    """
    files: dict[str, ImageFile] = {}
    texts: dict[str, str] = {}
    complaints: list[Complaint] = []
    for part in PARTS[form]:
        try:
            files[part], texts[part] = _read(part, paths[part])
        except _Unusable as exc:
            complaints.append(Complaint((part,), str(exc)))
    if complaints:
        raise ImageError(name, complaints)
    image = Image(name, "", form, files, disk_format, reference, texts.get("cmdline", ""))
    image = replace(image, identity=hashlib.sha256(manifest(image).encode()).hexdigest())
    if signed is not None:
        check_signature(image, signed)
    return image


def manifest(image: Image) -> str:
    """Return the text whose sha256 is the image's identity: a line for each part, with its digest."""
    return "".join(f"{line}\n" for line in _manifest_lines(image))


def check_signature(image: Image, signed: Signed) -> None:
    """Raise ImageError unless the key has signed the image's manifest."""
    try:
        verify(image.identity, signed)
    except SignatureFault as fault:
        raise ImageError(image.name, [Complaint((fault.about,), str(fault))]) from fault


def resolved(image: Image, reference: str) -> Image:
    """Return the image that a reference stood for when its provider was asked, of that image's own identity."""
    found = read_image(image.name, ImageForm.REFERENCE, {}, reference=reference)
    return replace(found, written=image.reference)


class _Unusable(Exception):
    """Why one file is no part of an image."""


def _manifest_lines(image: Image) -> Iterator[str]:
    match image.form:
        case ImageForm.KERNEL:
            for part in PARTS[ImageForm.KERNEL]:
                yield f"{part} {image.files[part].sha256}"
        case ImageForm.DISK:
            yield f"disk {image.disk_format} {image.files['disk'].sha256}"
        case ImageForm.REFERENCE:
            yield f"reference {image.reference}"


def _read(part: str, path: Path) -> tuple[ImageFile, str]:
    """Return a part's file, and what it says if it is the command line."""
    text = ""
    try:
        if path.exists() and not path.is_file():
            raise _Unusable(f"{path} is {'a directory' if path.is_dir() else 'a device or pipe'}, not a file")
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            if part == "cmdline" and size <= _CMDLINE_LIMIT:
                file.seek(0)
                text = _cmdline(path, file.read(_CMDLINE_LIMIT))
            if part == "disk":
                file.seek(0)
                _refuse_parts_elsewhere(path, file.read(_QCOW2_HEADER))
    except FileNotFoundError as exc:
        raise _Unusable(f"{path} does not exist (has the image been built?)") from exc
    except (OSError, ValueError) as exc:  # ValueError: the name holds a NUL
        raise _Unusable(f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    if size == 0 and part != "cmdline":  # a kernel may do without one
        raise _Unusable(f"{path} is empty: a `linuxkit build` that fails leaves such a file; build the image again")
    if part == "cmdline" and size > _CMDLINE_LIMIT:
        raise _Unusable(f"{path} is no kernel command line: {size} bytes")
    return ImageFile(os.path.abspath(path), sha256, size), text


def _refuse_parts_elsewhere(path: Path, header: bytes) -> None:
    """Refuse a qcow2 disk that is not whole: its digest would say nothing of what machines boot.

    Source: QEMU's docs/interop/qcow2.txt: backing file at byte 8, incompatible features at byte 72, of which bit 2 is
    an external data file.
    """
    if not header.startswith(b"QFI\xfb"):
        return
    version = int.from_bytes(header[4:8], "big")
    features = int.from_bytes(header[72:80], "big") if version >= 3 else 0
    if int.from_bytes(header[8:16], "big") or features & _EXTERNAL_DATA:
        raise _Unusable(f"{path} lies over another file: make one of both, as `qemu-img convert -O qcow2` does")


def _cmdline(path: Path, content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        raise _Unusable(f"{path} is no kernel command line: it is not text (byte {exc.start + 1})") from exc
    if "\0" in text or len(text.strip("\n").splitlines()) > 1:
        raise _Unusable(f"{path} is no kernel command line: it must be a single line of text")
    return text.strip()
