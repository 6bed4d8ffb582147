"""Machines made by hand on a private libvirtd, without any of the product's code, so that a test of the test images
or of the host itself depends on nothing else. Everything libvirt-python returns untyped ends here.
"""

import contextlib
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from xml.sax.saxutils import quoteattr

from tests.hosts import HttpReply, PrivateLibvirtd
from tests.images import BuiltImage

Seen = TypeVar("Seen")

BOOT_TIMEOUT_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk of a guest: read-only for user data, else writable."""

    file: Path
    format: str = "raw"
    serial: str = ""
    is_read_only: bool = False


class Guest:
    """A transient domain that was started, on the network `default`."""

    def __init__(self, host: PrivateLibvirtd, domain: Any) -> None:
        self._host = host
        self._domain = domain

    @property
    def name(self) -> str:
        return str(self._domain.name())

    def console(self) -> str:
        return (self._host.directory / f"{self.name}.console").read_text(errors="replace")

    def address(self) -> str | None:
        """Return the address of the newest lease, which is no proof that the guest is up."""
        for interface in self._domain.interfaceAddresses(0).values():
            for address in interface["addrs"]:
                return str(address["addr"])
        return None

    def get(self, path: str) -> HttpReply | None:
        """Return the guest's answer, or None while it gives none."""
        address = self.address()
        if address is None:
            return None
        try:
            return self._host.http_get(f"http://{address}:8080{path}", timeout_seconds=2)
        except OSError:
            return None

    def wait_for(self, path: str, *, status: int = 200) -> bytes:
        """Return the body once the path answers with the status; fail with the console's text if it never does."""

        def answered() -> bytes | None:
            reply = self.get(path)
            return reply.body if reply is not None and reply.status == status else None

        return wait_until(answered, f"{self.name} to answer {path} with {status}", self.console)

    def page(self) -> dict[str, Any]:
        page: dict[str, Any] = json.loads(self.wait_for("/"))
        return page

    def is_running(self) -> bool:
        import libvirt

        try:
            return bool(self._domain.isActive())
        except libvirt.libvirtError as exc:
            if exc.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return False
            raise

    def press_power_button(self) -> None:
        self._domain.shutdown()

    def destroy(self) -> None:
        if self.is_running():
            self._domain.destroy()


class Guests:
    """Starts guests and ends them all."""

    def __init__(self, host: PrivateLibvirtd) -> None:
        import libvirt

        libvirt.registerErrorHandler(lambda *_: None, None)  # errors are raised; printing them as well is noise
        self.host = host
        self._connection = libvirt.open(host.uri)
        self._started: list[Guest] = []

    def start(
        self,
        name: str,
        image: BuiltImage | None = None,
        *,
        user_data: str = "",
        disks: Sequence[Disk] = (),
    ) -> Guest:
        """Boot an image directly, or the first disk when there is none. The user data disk comes last."""
        iso = self.host.directory / f"{name}.iso"
        iso.write_bytes(user_data_iso(user_data, f"instance-id: {name}\nlocal-hostname: {name}\n"))
        all_disks = (*disks, Disk(iso, is_read_only=True))
        guest = Guest(self.host, self._connection.createXML(_domain_xml(self.host, name, image, all_disks), 0))
        self._started.append(guest)
        return guest

    def close(self) -> None:
        for guest in self._started:
            guest.destroy()
        self._connection.close()


@contextlib.contextmanager
def guests_on(host: PrivateLibvirtd) -> Iterator[Guests]:
    with contextlib.closing(Guests(host)) as guests:
        yield guests


def wait_until(seen: Callable[[], Seen | None], what: str, evidence: Callable[[], str] = str) -> Seen:
    """Return what seen() returns once it is not None. Real machines know no virtual time, so this sleeps."""
    deadline = time.monotonic() + BOOT_TIMEOUT_SECONDS
    while (result := seen()) is None:
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {BOOT_TIMEOUT_SECONDS:.0f} s for {what}\n{evidence()}")
        time.sleep(0.1)
    return result


def user_data_iso(user_data: str, meta_data: str) -> bytes:
    import pycdlib

    iso, result = pycdlib.PyCdlib(), io.BytesIO()
    iso.new(vol_ident="CIDATA", rock_ridge="1.09")
    for iso_name, name, text in (("USERDATA", "user-data", user_data), ("METADATA", "meta-data", meta_data)):
        content = text.encode()
        iso.add_fp(io.BytesIO(content), len(content), f"/{iso_name}.;1", rr_name=name)
    iso.write_fp(result)
    iso.close()
    return result.getvalue()


def _domain_xml(host: PrivateLibvirtd, name: str, image: BuiltImage | None, disks: Sequence[Disk]) -> str:
    boot = "<boot dev='hd'/>"
    if image is not None:
        boot = f"<kernel>{image.kernel}</kernel><initrd>{image.initrd}</initrd>"
        boot += f"<cmdline>{image.cmdline.read_text()}</cmdline>"
    devices = "".join(_disk_xml(disk, f"vd{letter}") for disk, letter in zip(disks, "abcdefgh", strict=False))
    return f"""
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type>{boot}</os>
  <features><acpi/></features>
  <on_reboot>destroy</on_reboot>
  <devices>
    {devices}
    <interface type='network'><source network='default'/><model type='virtio'/><rom enabled='no'/></interface>
    <serial type='file'><source path={quoteattr(str(host.directory / f"{name}.console"))}/></serial>
  </devices>
</domain>"""


def _disk_xml(disk: Disk, target: str) -> str:
    read_only = "<readonly/>" if disk.is_read_only else ""
    serial = f"<serial>{disk.serial}</serial>" if disk.serial else ""
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='{disk.format}'/>"
        f"<source file={quoteattr(str(disk.file))}/><target dev='{target}' bus='virtio'/>{serial}{read_only}</disk>"
    )
