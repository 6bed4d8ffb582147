"""Between our words and libvirt's: domain XML, tags in its metadata, states. Pure: no connection, no clock.

Tags live in an element of our own namespace. A domain without it is somebody else's, whatever its name says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from xml.etree import ElementTree as ET

from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import InstanceState

NAMESPACE: Final = "https://infrakit-py.dev/xmlns/instance/1"
PREFIX: Final = "infrakit"
STARTED_NAMESPACE: Final = "https://infrakit-py.dev/xmlns/started/1"
STARTED_PREFIX: Final = "infrakit-started"

_INSTANCE: Final = f"{{{NAMESPACE}}}instance"
_TAG: Final = f"{{{NAMESPACE}}}tag"
_STARTED: Final = f"{{{STARTED_NAMESPACE}}}started"
_STATES: Final = ("no state", "running", "blocked", "paused", "shutting down", "shut off", "crashed", "suspended")
_RUNNING, _BLOCKED, _PAUSED, _SHUTOFF = 1, 2, 3, 5
_SHUTOFF_REASONS: Final = {
    1: "shut down by the guest", 2: "destroyed from outside", 3: "crashed", 5: "its state was saved to disk",
    6: "failed to start", 7: "reverted to a snapshot", 8: "lost by libvirtd",
}  # fmt: skip
_PAUSED_REASONS: Final = {
    1: "by a person", 2: "migrating", 3: "being saved", 4: "being dumped", 5: "disk I/O error, is the pool full?",
    6: "watchdog", 7: "from a snapshot", 8: "shutting down", 9: "for a snapshot", 10: "guest panicked",
    11: "starting up", 12: "post-copy migration", 13: "post-copy migration failed", 14: "libvirt API error",
}  # fmt: skip
_PAUSED_FOR_GOOD: Final = frozenset({5, 6, 10, 13, 14})
_PAUSED_STARTING_UP: Final = 11


@dataclass(frozen=True, slots=True)
class Record:
    """What we write into a domain's metadata: its tags, when and for which pool and image it was defined."""

    tags: Mapping[str, str]
    created: float
    pool: str
    image: str


@dataclass(frozen=True, slots=True)
class KernelBoot:
    """Direct kernel boot. Paths are the hypervisor's."""

    kernel: str
    initrd: str
    cmdline: str


@dataclass(frozen=True, slots=True)
class Disk:
    """A virtio disk, which the guest finds by its serial, never by its device name; or a CD-ROM, read-only."""

    path: str
    serial: str
    format: str = "qcow2"
    readonly: bool = False
    boots: bool = False
    cdrom: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """All that makes a persistent domain."""

    name: str
    uuid: str
    record: Record
    virt_type: str
    vcpus: int
    memory: int
    network: str
    mac: str
    console_log: str
    disks: tuple[Disk, ...]
    kernel: KernelBoot | None = None


@dataclass(frozen=True, slots=True)
class OwnDomain:
    """What a domain's XML says of a machine of ours. `started`: that it was started is noted in its metadata."""

    name: str
    uuid: str
    record: Record
    virt_type: str
    started: bool
    macs: tuple[str, ...]
    networks: tuple[str, ...]
    console_log: str


def domain_xml(wanted: Definition) -> str:
    """Write the XML that defines the domain, tags included."""
    domain = ET.Element("domain", type=wanted.virt_type)
    _text(domain, "name", wanted.name)
    _text(domain, "uuid", wanted.uuid)
    metadata = ET.SubElement(domain, "metadata")
    metadata.append(_record_element(wanted.record, f"{PREFIX}:instance", {f"xmlns:{PREFIX}": NAMESPACE}))
    _text(domain, "memory", str(-(-wanted.memory // 1024)), unit="KiB")
    _text(domain, "vcpu", str(wanted.vcpus))
    domain.append(_os(wanted.kernel))
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    if wanted.virt_type == "kvm":
        ET.SubElement(domain, "cpu", mode="host-passthrough")
    ET.SubElement(domain, "clock", offset="utc")
    for event, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        _text(domain, event, action)
    _add_devices(ET.SubElement(domain, "devices"), wanted)
    return ET.tostring(domain, encoding="unicode")


def record_xml(record: Record) -> str:
    """Write the element that `virDomainSetMetadata` puts into our namespace, with all that is in it."""
    return ET.tostring(_record_element(record, "instance", {}), encoding="unicode")


def started_xml() -> str:
    """Write the note that the domain was started. An element of its own, so that it never undoes a change of tags."""
    return ET.tostring(ET.Element("started"), encoding="unicode")


def parse_domain(xml: str) -> OwnDomain | None:
    """Read a domain's XML; None if it does not carry our metadata."""
    domain = ET.fromstring(xml)
    element = domain.find(f"metadata/{_INSTANCE}")
    if element is None:
        return None
    name = domain.findtext("name", "")
    interfaces = domain.findall("devices/interface")
    console = domain.find("devices/serial/source")
    return OwnDomain(
        name=name,
        uuid=domain.findtext("uuid", ""),
        record=_parse_record(element, name),
        virt_type=domain.get("type", ""),
        started=domain.find(f"metadata/{_STARTED}") is not None,
        macs=tuple(mac.get("address", "").lower() for i in interfaces if (mac := i.find("mac")) is not None),
        networks=tuple(source.get("network", "") for i in interfaces if (source := i.find("source")) is not None),
        console_log="" if console is None else console.get("path", ""),
    )


def retagged(record: Record, set_tags: Mapping[str, str], remove_tags: tuple[str, ...]) -> Record:
    """Return the record with tags set and removed."""
    kept = {key: value for key, value in record.tags.items() if key not in remove_tags}
    return replace(record, tags={**kept, **set_tags})


def instance_state(state: int, reason: int, *, was_started: bool) -> tuple[InstanceState, str]:
    """Translate libvirt's state and reason; the second value is for people, empty for a running machine.

    A pause that ends by itself, or that a person made, is no reason to take a machine for dead.
    """
    if state in (_RUNNING, _BLOCKED):
        return InstanceState.RUNNING, ""
    if state == _PAUSED:
        detail = f"paused: {_PAUSED_REASONS.get(reason, f'reason {reason}')}"
        if reason == _PAUSED_STARTING_UP:
            return InstanceState.PENDING, detail
        return (InstanceState.STOPPED if reason in _PAUSED_FOR_GOOD else InstanceState.RUNNING), detail
    if state == _SHUTOFF and not was_started:
        return InstanceState.INCOMPLETE, _SHUTOFF_REASONS.get(reason, "") or "defined, never started"
    name = _STATES[state] if state < len(_STATES) else f"state {state}"
    why = _SHUTOFF_REASONS.get(reason, "") if state == _SHUTOFF else ""
    return InstanceState.STOPPED, f"{name}: {why}" if why else name


def impairment(state: int, reason: int) -> str:
    """Return why the hypervisor itself takes a machine for broken: it was paused and will not go on. Empty if not."""
    if state != _PAUSED or reason not in _PAUSED_FOR_GOOD:
        return ""
    return f"paused: {_PAUSED_REASONS[reason]}"


def xml_text(text: str, what: str) -> str:
    """Return the text if XML can carry it, else raise ProviderError."""
    if any(ord(char) < 0x20 or 0xD800 <= ord(char) <= 0xDFFF or ord(char) in (0xFFFE, 0xFFFF) for char in text):
        raise ProviderError(f"{what} holds control characters, which libvirt cannot take")
    return text


def _record_element(record: Record, name: str, namespace: Mapping[str, str]) -> ET.Element:
    own = {"created": f"{record.created:.3f}", "pool": record.pool, "image": record.image}
    element = ET.Element(name, {**namespace, **own})
    for key, value in sorted(record.tags.items()):
        ET.SubElement(element, name.replace("instance", "tag"), key=_escaped(key), value=_escaped(value))
    return element


def _parse_record(element: ET.Element, domain: str) -> Record:
    return Record(
        tags={_unescaped(tag.get("key", "")): _unescaped(tag.get("value", "")) for tag in element.findall(_TAG)},
        created=_number(element.get("created"), domain),
        pool=element.get("pool", ""),
        image=element.get("image", ""),
    )


def _escaped(text: str) -> str:
    """XML 1.0 cannot carry every character, and attributes lose line ends."""
    return text.encode("unicode_escape").decode("ascii")


def _unescaped(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("unicode_escape")


def _number(text: str | None, domain: str) -> float:
    try:
        return float(text or "")
    except ValueError as exc:
        raise ProviderError(f"domain {domain}: its infrakit metadata is damaged ({text!r} is not a time)") from exc


def _os(kernel: KernelBoot | None) -> ET.Element:
    os = ET.Element("os")
    _text(os, "type", "hvm", machine="pc")
    if kernel is not None:
        _text(os, "kernel", kernel.kernel)
        _text(os, "initrd", kernel.initrd)
        _text(os, "cmdline", xml_text(kernel.cmdline, "the kernel command line"))
    return os


def _add_devices(devices: ET.Element, wanted: Definition) -> None:
    letters: dict[str, Iterator[str]] = {bus: iter("abcdefgh") for bus in ("hd", "vd")}
    for disk in wanted.disks:
        bus = "hd" if disk.cdrom else "vd"
        devices.append(_disk(disk, f"{bus}{next(letters[bus])}"))
    ET.SubElement(devices, "controller", type="usb", index="0", model="none")
    interface = ET.SubElement(devices, "interface", type="network")
    ET.SubElement(interface, "mac", address=wanted.mac)
    ET.SubElement(interface, "source", network=wanted.network)
    ET.SubElement(interface, "model", type="virtio")
    ET.SubElement(interface, "rom", enabled="no")
    serial = ET.SubElement(devices, "serial", type="file")
    ET.SubElement(serial, "source", path=wanted.console_log)
    ET.SubElement(serial, "target", port="0")
    rng = ET.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")


def _disk(disk: Disk, device: str) -> ET.Element:
    element = ET.Element("disk", type="file", device="cdrom" if disk.cdrom else "disk")
    ET.SubElement(element, "driver", name="qemu", type=disk.format)
    ET.SubElement(element, "source", file=disk.path)
    ET.SubElement(element, "target", dev=device, bus="ide" if disk.cdrom else "virtio")
    if disk.readonly or disk.cdrom:
        ET.SubElement(element, "readonly")
    if disk.serial:
        _text(element, "serial", disk.serial)
    if disk.boots:
        ET.SubElement(element, "boot", order="1")
    return element


def _text(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = text
