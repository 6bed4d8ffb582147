"""A raw disk that a BIOS boots, from a kernel, an initrd and a command line: the same bytes each time.

One active FAT partition holds them beside SYSLINUX. No root, no loop device, no helper machine.
"""

import os
import struct
from pathlib import Path
from typing import Final

from infrakit_py.images.tools import ToolError, run_tool

MODIFIED_AT: Final = 1492533000
"""The time that everything in a disk bears, in Unix time: LinuxKit's first announcement."""

_MIB: Final = 2**20
_SECTOR: Final = 512
_FIRST_SECTOR: Final = _MIB // _SECTOR
_BOOT_CODE: Final = (
    Path("/usr/lib/syslinux/mbr/mbr.bin"),
    Path("/usr/lib/SYSLINUX/mbr.bin"),
    Path("/usr/lib/EXTLINUX/mbr.bin"),
)
"""Where distributions keep SYSLINUX's boot code."""
_BOOT_CODE_SIZE: Final = 440
_SIGNATURE_AT: Final = 510
_ACTIVE, _FAT32_LBA, _ANY_CHS = 0x80, 0x0C, b"\xfe\xff\xff"
_SPARE_MIB: Final = 6
"""For the FATs, the directory, SYSLINUX itself and rounding."""
_LOADER_LINE_LIMIT: Final = 2000
"""Characters of a command line that SYSLINUX passes on to the kernel (2047 on x86), with some to spare."""


def make_bios_disk(
    kernel: Path, initrd: Path, cmdline: str, out: Path, *, identity: str, least_size: int = 0
) -> None:
    """Write the disk, of at least `least_size` bytes. `identity` (hex) gives it its serial numbers.

    ToolError where a program is missing or fails. Scratch files lie beside `out`.
    """
    if len(cmdline) > _LOADER_LINE_LIMIT:
        raise ToolError(f"the kernel's command line has {len(cmdline)} characters; SYSLINUX passes on some 2000")
    files = kernel.stat().st_size + initrd.stat().st_size
    mebibytes = max(-(-files // _MIB) + _SPARE_MIB, -(-least_size // _MIB) - 1)
    filesystem = out.with_name(f"{out.name}.fat")
    _make_filesystem(filesystem, kernel, initrd, cmdline, volume_id=identity[:8], mebibytes=mebibytes)
    _assemble(filesystem, out, signature=bytes.fromhex(identity[8:16]))
    filesystem.unlink()


def _make_filesystem(
    filesystem: Path, kernel: Path, initrd: Path, cmdline: str, *, volume_id: str, mebibytes: int
) -> None:
    config = filesystem.with_name("syslinux.cfg")
    config.write_text(
        "SERIAL 0 115200\nDEFAULT linux\nPROMPT 0\n"
        f"LABEL linux\n KERNEL /kernel\n INITRD /initrd.img\n APPEND {cmdline}\n"
    )
    geometry = ("-n", "LINUXKIT", "-i", volume_id, "-h", str(_FIRST_SECTOR))
    run_tool("mkfs.vfat", "--invariant", *geometry, "-C", str(filesystem), str(mebibytes * 1024), epoch=MODIFIED_AT)
    for name, file in (("kernel", kernel), ("initrd.img", initrd), ("syslinux.cfg", config)):
        run_tool("mcopy", "-i", str(filesystem), str(file), f"::/{name}", epoch=MODIFIED_AT)
    run_tool("syslinux", "--install", str(filesystem), epoch=MODIFIED_AT)


def _assemble(filesystem: Path, disk: Path, *, signature: bytes) -> None:
    boot_code = next((path for path in _BOOT_CODE if path.exists()), None)
    if boot_code is None:
        raise ToolError("SYSLINUX's boot code is not installed", hint="Debian: apt-get install syslinux-common")
    sectors = filesystem.stat().st_size // _SECTOR
    with disk.open("wb") as target, filesystem.open("rb") as source:
        target.write(boot_code.read_bytes()[:_BOOT_CODE_SIZE] + signature + b"\0\0")
        target.write(struct.pack("<B3sB3sII", _ACTIVE, _ANY_CHS, _FAT32_LBA, _ANY_CHS, _FIRST_SECTOR, sectors))
        target.seek(_SIGNATURE_AT)
        target.write(b"\x55\xaa")
        target.seek(_MIB)
        while block := source.read(64 * 1024):
            if block.strip(b"\0"):
                target.write(block)
            else:  # leave a hole
                target.seek(len(block), os.SEEK_CUR)
        target.truncate(_MIB + filesystem.stat().st_size)
