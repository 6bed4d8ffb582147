"""An image as a file for somewhere else: disks as other hypervisors take them, and an ISO that boots."""

import shutil
from pathlib import Path
from typing import Final

from infrakit_py.errors import UsageError
from infrakit_py.images.bios_disk import MODIFIED_AT
from infrakit_py.images.cache import Cache
from infrakit_py.images.disks import DiskMaker, checked_copy, convert
from infrakit_py.images.tools import ToolError, run_tool
from infrakit_py.model.spec import AMD64, Image, ImageForm
from infrakit_py.spi.images import DiskFormat

FORMATS: Final = ("raw", "qcow2", "gcp", "vmdk", "vhd", "iso")
_DISKS: Final = {format.value: format for format in DiskFormat}
_ISOLINUX: Final = (Path("/usr/lib/ISOLINUX/isolinux.bin"), Path("/usr/lib/syslinux/isolinux.bin"))
_LOADER: Final = (
    Path("/usr/lib/syslinux/modules/bios/ldlinux.c32"),
    Path("/usr/lib/syslinux/bios/ldlinux.c32"),
)
_HYBRID: Final = (Path("/usr/lib/ISOLINUX/isohdpfx.bin"), Path("/usr/lib/syslinux/isohdpfx.bin"))
_DATE: Final = "2017041816300000"
"""MODIFIED_AT as xorriso takes it: year to hundredths of a second, in GMT."""


def export(cache: Cache, image: Image, format: str, out: Path) -> Path:
    """Write an image as `out`, whole or not at all. ProviderError, ToolError or CacheError where that fails.

    raw, qcow2, gcp and iso are the same bytes each time; vmdk and vhd hold identifiers of their own.
    """
    if image.form is ImageForm.REFERENCE:
        raise UsageError(f"image {image.name} is {image.reference} of its provider: there is nothing here to export")
    with cache.scratch() as scratch:
        made = scratch / "out"
        if format == "iso":
            _iso(image, made, scratch)
        else:
            _disk(DiskMaker(cache), image, format, made)
        return _delivered(made, out)


def _disk(maker: DiskMaker, image: Image, format: str, made: Path) -> None:
    if format in _DISKS:
        checked_copy(maker.disk(image, _DISKS[format]), made)
        return
    raw = Path(maker.disk(image, DiskFormat.RAW).path)
    if format == "vhd":
        convert(raw, made, "vpc", "-o", "subformat=fixed,force_size=on")
    else:
        convert(raw, made, "vmdk", "-o", "subformat=streamOptimized")


def _iso(image: Image, made: Path, scratch: Path) -> None:
    """Write a hybrid ISO 9660 image, which boots from a CD-ROM and from a USB stick, in the way of ISOLINUX."""
    if image.form is ImageForm.DISK and image.disk_format == "iso":
        checked_copy(image.files["disk"], made)
        return
    if image.form is not ImageForm.KERNEL:
        raise UsageError(f"image {image.name} is a disk: an ISO is made of kernel, initrd and cmdline only")
    if image.architecture != AMD64:
        raise ToolError(f"image {image.name} is for {image.architecture}: an ISO is made for {AMD64} only")
    tree = scratch / "tree"
    tree.mkdir()
    checked_copy(image.files["kernel"], tree / "kernel")
    checked_copy(image.files["initrd"], tree / "initrd.img")
    (tree / "isolinux.bin").write_bytes(_found(_ISOLINUX, "isolinux").read_bytes())
    (tree / "ldlinux.c32").write_bytes(_found(_LOADER, "syslinux-common").read_bytes())
    (tree / "isolinux.cfg").write_text(
        "SERIAL 0 115200\nDEFAULT linux\nPROMPT 0\n"
        f"LABEL linux\n KERNEL /kernel\n INITRD /initrd.img\n APPEND {image.cmdline}\n"
    )
    run_tool(
        "xorriso", "-as", "mkisofs", "-quiet", "-o", str(made), "-V", "LINUXKIT", "-R",
        "-c", "boot.cat", "-b", "isolinux.bin", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
        "-isohybrid-mbr", str(_found(_HYBRID, "isolinux")),
        f"--modification-date={_DATE}", "--set_all_file_dates", _DATE, str(tree),
        epoch=MODIFIED_AT,
    )  # fmt: skip


def _found(places: tuple[Path, ...], package: str) -> Path:
    found = next((path for path in places if path.exists()), None)
    if found is None:
        raise ToolError(f"{places[0].name} is not installed", hint=f"Debian: apt-get install {package}")
    return found


def _delivered(made: Path, out: Path) -> Path:
    """Move a file to where it was asked for, over whatever file system lies between."""
    beside = out.with_name(f".{out.name}.part")
    try:
        shutil.move(made, beside)
        beside.replace(out)
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise ToolError(f"cannot write {out}: {exc.strerror or exc}") from exc
    return out
