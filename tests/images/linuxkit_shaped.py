"""NAME-kernel, NAME-initrd.img and NAME-cmdline, as `linuxkit build` names them, from Debian's kernel and busybox.

The guest's own behaviour is in `guest/`; here it is only packed. The same input gives the same bytes, and other
settings give another identity, so that a rollout has something to roll.
"""

import gzip
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.images.cpio import CpioArchive
from tests.images.debian import find_busybox, find_kernel, modules_in_load_order

GUEST = Path(__file__).parent / "guest"
CMDLINE = "console=ttyS0 panic=10"
VIRTIO_MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "isofs", "button", "evdev", "virtio-rng")
MODULES = (
    "virtio_pci", "virtio_net", "virtio_blk", "virtio_scsi", "sr_mod", "ata_piix", "isofs", "button", "evdev",
    "virtio-rng",
)  # fmt: skip
APPLETS = (
    "acpid", "awk", "cat", "cp", "dd", "echo", "grep", "head", "hostname", "httpd", "insmod", "ip", "ls", "mkdir",
    "mount", "poweroff", "printf", "rm", "sed", "sh", "sleep", "sync", "tr", "udhcpc", "umount",
)  # fmt: skip
HEALTH = re.compile(r"ok|never|(after|until):\d+")


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """The three files of an image."""

    prefix: Path
    kernel: Path
    initrd: Path
    cmdline: Path


def build_image(prefix: Path, *, settings: Mapping[str, str], health: str = "ok") -> BuiltImage:
    """Write an image's three files, named after prefix.

    settings are what the guest says about itself, `version` above all. health is `ok`, `never`, `after:SECONDS`
    (a slow start) or `until:SECONDS` (a machine that dies). Raise ValueError for any other health, and ImageError
    if the kernel or busybox is not to be had.
    """
    if not HEALTH.fullmatch(health):
        raise ValueError(f"health {health!r}: use ok, never, after:SECONDS or until:SECONDS")
    kernel = find_kernel()
    archive = CpioArchive()
    add_base(archive)
    _add_guest(archive, settings, health)

    image = BuiltImage(prefix, *(Path(f"{prefix}-{part}") for part in ("kernel", "initrd.img", "cmdline")))
    prefix.parent.mkdir(parents=True, exist_ok=True)
    image.kernel.write_bytes(kernel.file.read_bytes())
    image.initrd.write_bytes(gzip.compress(archive.content(), compresslevel=9, mtime=0))
    image.cmdline.write_text(CMDLINE)
    return image


def add_base(archive: CpioArchive, more_applets: Iterable[str] = (), modules: Iterable[str] = MODULES) -> None:
    """Add what every test machine has: empty mount points, the console, busybox, modules of the kernel."""
    for name in ("dev", "mnt", "proc", "run", "sys", "tmp"):
        archive.directory(name)
    archive.character_device("dev/console", 5, 1)
    archive.file("bin/busybox", find_busybox().read_bytes(), permissions=0o755)
    for applet in (*APPLETS, *more_applets):
        archive.link(f"bin/{applet}", "busybox")
    found = modules_in_load_order(find_kernel(), modules)
    for name, content in found.items():
        archive.file(f"lib/modules/{name}", content)
    archive.file("etc/modules", _lines(*found))


def _add_guest(archive: CpioArchive, settings: Mapping[str, str], health: str) -> None:
    archive.file("init", (GUEST / "init").read_bytes(), permissions=0o755)
    archive.file("bin/json-string", (GUEST / "json-string").read_bytes(), permissions=0o755)
    archive.file("etc/udhcpc.script", (GUEST / "udhcpc.script").read_bytes(), permissions=0o755)
    archive.file("etc/acpi/PWRF/00000080", (GUEST / "power-button").read_bytes(), permissions=0o755)
    archive.file("etc/httpd.conf", (GUEST / "httpd.conf").read_bytes())
    archive.file("etc/health", _lines(health))
    archive.file("etc/image.json", _lines(json.dumps(dict(settings), sort_keys=True)))
    archive.file("etc/version.json", _lines(json.dumps(settings.get("version"))))
    archive.link("etc/resolv.conf", "/run/resolvconf/resolv.conf")


def _lines(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
