"""Between our words and libvirt's XML of volumes and pools. Pure."""

from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

_POOLS_OF_FILES: Final = ("dir", "fs", "netfs")


@dataclass(frozen=True, slots=True)
class Backing:
    """What an overlay lies over. The format is said, never probed: a guest could write another into a raw disk."""

    path: str
    format: str
    capacity: int


@dataclass(frozen=True, slots=True)
class VolumeShape:
    """What a volume is. `capacity` is what a guest would see, in bytes."""

    capacity: int
    format: str
    backing_path: str


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """A volume as a file: its bytes, when it was last written (Unix time; 0 where nobody says), what it lies over."""

    name: str
    size: int
    written_at: float
    backing_path: str


def volume_xml(
    name: str, *, capacity: int, format: str = "raw", mode: str = "0600", backing: Backing | None = None
) -> str:
    """Write the XML that creates a sparse volume."""
    volume = ET.Element("volume")
    ET.SubElement(volume, "name").text = name
    ET.SubElement(volume, "capacity", unit="bytes").text = str(capacity)
    ET.SubElement(volume, "allocation", unit="bytes").text = "0"
    target = ET.SubElement(volume, "target")
    ET.SubElement(target, "format", type=format)
    ET.SubElement(ET.SubElement(target, "permissions"), "mode").text = mode
    if backing is not None:
        below = ET.SubElement(volume, "backingStore")
        ET.SubElement(below, "path").text = backing.path
        ET.SubElement(below, "format", type=backing.format)
    return ET.tostring(volume, encoding="unicode")


def parse_volume(xml: str) -> VolumeShape:
    """Read a volume's XML."""
    volume = ET.fromstring(xml)
    format = volume.find("target/format")
    return VolumeShape(
        capacity=int(volume.findtext("capacity", "0")),
        format="" if format is None else format.get("type", ""),
        backing_path=volume.findtext("backingStore/path", ""),
    )


def parse_file(xml: str) -> VolumeFile:
    """Read what a volume's XML says of its file. `physical` is the file's size; `capacity` is what a guest sees."""
    volume = ET.fromstring(xml)
    return VolumeFile(
        name=volume.findtext("name", ""),
        size=int(volume.findtext("physical") or volume.findtext("capacity") or 0),
        written_at=float(volume.findtext("target/timestamps/mtime", "0")),
        backing_path=volume.findtext("backingStore/path", ""),
    )


def parse_pool_directory(xml: str) -> str | None:
    """Return the directory of a pool that keeps volumes as files, None for any other pool."""
    pool = ET.fromstring(xml)
    return pool.findtext("target/path") if pool.get("type") in _POOLS_OF_FILES else None
