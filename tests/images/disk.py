"""An image's three files as one disk that a BIOS boots: raw or qcow2, the same bytes each time.

One active FAT partition holds the kernel, the initrd and syslinux. No root, no loop device, no helper machine.
"""

import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

from tests.images.cpio import MODIFIED_AT
from tests.images.debian import ImageError
from tests.images.linuxkit_shaped import BuiltImage

BOOT_CODE = (
    Path("/usr/lib/syslinux/mbr/mbr.bin"),
    Path("/usr/lib/SYSLINUX/mbr.bin"),
    Path("/usr/lib/EXTLINUX/mbr.bin"),
)
MIB = 2**20
FIRST_SECTOR = MIB // 512
FAT32_LBA = 0x0C
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
TOOLS = {"mkfs.vfat": "dosfstools", "mcopy": "mtools", "syslinux": "syslinux", "qemu-img": "qemu-utils"}


def build_disk(image: BuiltImage, out: Path, *, format: Literal["raw", "qcow2"]) -> Path:
    """Write a bootable disk to out and return out. Raise ImageError if a tool is missing or fails."""
    cmdline = image.cmdline.read_text().strip()
    digest = hashlib.sha256(image.kernel.read_bytes() + image.initrd.read_bytes() + cmdline.encode()).digest()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        filesystem = _filesystem(image, cmdline, digest[:4].hex(), Path(scratch))
        raw = Path(scratch) / "raw"
        _write_disk(raw, filesystem, signature=digest[4:8])
        if format == "raw":
            raw.rename(out)
        else:
            _run("qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", str(raw), str(out))
    return out


def missing_disk_tools() -> list[str]:
    """Return one sentence for each program that build_disk lacks here."""
    return [
        f"the program {tool} is not installed (Debian package {package})"
        for tool, package in TOOLS.items()
        if shutil.which(tool, path=PATH) is None
    ]


def _filesystem(image: BuiltImage, cmdline: str, volume_id: str, scratch: Path) -> Path:
    filesystem, config = scratch / "fat", scratch / "syslinux.cfg"
    config.write_text(
        "SERIAL 0 115200\nDEFAULT linux\nPROMPT 0\n"
        f"LABEL linux\n KERNEL /kernel\n INITRD /initrd.img\n APPEND {cmdline}\n"
    )
    mebibytes = (image.kernel.stat().st_size + image.initrd.stat().st_size) // MIB + 6
    geometry = ("-n", "LINUXKIT", "-i", volume_id, "-h", str(FIRST_SECTOR))
    _run("mkfs.vfat", "--invariant", *geometry, "-C", str(filesystem), str(mebibytes * 1024))
    for name, file in (("kernel", image.kernel), ("initrd.img", image.initrd), ("syslinux.cfg", config)):
        _run("mcopy", "-i", str(filesystem), str(file), f"::/{name}")
    _run("syslinux", "--install", str(filesystem))
    return filesystem


def _write_disk(disk: Path, filesystem: Path, signature: bytes) -> None:
    boot_code = next((path for path in BOOT_CODE if path.exists()), None)
    if boot_code is None:
        raise ImageError("no boot code for the disk: install syslinux-common")
    active, any_chs = 0x80, b"\xfe\xff\xff"
    sectors = filesystem.stat().st_size // 512
    with disk.open("wb") as target, filesystem.open("rb") as source:
        target.write(boot_code.read_bytes()[:440] + signature + b"\0\0")
        target.write(struct.pack("<B3sB3sII", active, any_chs, FAT32_LBA, any_chs, FIRST_SECTOR, sectors))
        target.seek(510)
        target.write(b"\x55\xaa")
        target.seek(MIB)
        while block := source.read(64 * 1024):
            if block.strip(b"\0"):
                target.write(block)
            else:  # leave a hole
                target.seek(len(block), os.SEEK_CUR)
        target.truncate(MIB + filesystem.stat().st_size)


def _run(*argv: str) -> None:
    fixed = {"SOURCE_DATE_EPOCH": str(MODIFIED_AT), "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True, env={**os.environ, **fixed, "PATH": PATH})
    except FileNotFoundError as exc:
        raise ImageError(f"cannot make a disk: {'; '.join(missing_disk_tools()) or exc}") from exc
    except subprocess.CalledProcessError as exc:
        raise ImageError(f"{argv[0]} failed: {exc.stderr.strip() or exc.stdout.strip()}") from exc
