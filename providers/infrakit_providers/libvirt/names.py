"""Names of domains and volumes, and MAC addresses. Pure.

Names are the ownership of everything that is not a domain: volumes carry no tags, so their names say whose they
are. The names of clusters, groups and slots hold no dots, so each can be taken apart again.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from infrakit_py.errors import ProviderError
from infrakit_py.model.spec import Image

ROOT: Final = "root.qcow2"
SEED: Final = "seed.iso"
CONSOLE: Final = "console.log"
DATA: Final = "data.qcow2"
IMAGE_PREFIX: Final = "infrakit-image-"
IMAGE_COMPLETE: Final = "ok"
"""Suffix of the empty volume that is made once all files of an image are there, and removed first."""

_DIGITS: Final = 24
"""Of an image's identity in the names of its volumes: as many as tell all images apart, and names stay readable."""
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_VOLUME: Final = re.compile(
    r"infrakit\.(?P<cluster>[^.]+)\.(?P<group>[^.]+)\.(?P<member>[^.]+)\."
    rf"(?P<part>{re.escape(ROOT)}|{re.escape(SEED)}|{re.escape(CONSOLE)}(?:\.\d+)?|{re.escape(DATA)})"
)
_IMAGE: Final = re.compile(rf"{IMAGE_PREFIX}(?P<identity>[0-9a-f]{{{_DIGITS}}})(?:-disk-(?:raw|qcow2)-\d+)?")
_IMAGE_VOLUME: Final = re.compile(rf"(?P<published>{_IMAGE.pattern})\.(?P<part>kernel|initrd|raw|qcow2|iso|ok)")


def domain_name(cluster: str, group: str, slot: str) -> str:
    """Return the one domain name of a slot: libvirt refuses a second domain of that name."""
    for part in (cluster, group, slot):
        if not _PART.fullmatch(part):
            raise ProviderError(f"libvirt: {part!r} cannot be part of a domain's name")
    return f"{cluster}.{group}.{slot}"


def own_volume(domain: str, part: str) -> str:
    """Return the name of a volume that lives and dies with its domain."""
    return f"infrakit.{domain}.{part}"


def data_volume(cluster: str, group: str, data_key: str) -> str:
    """Return the name of the disk that outlives the machines of a named member."""
    return f"infrakit.{domain_name(cluster, group, data_key)}.{DATA}"


@dataclass(frozen=True, slots=True)
class MemberVolume:
    """What a volume's name says. `member` is a slot, or a data key where the volume `holds_data`."""

    cluster: str
    group: str
    member: str
    part: str

    @property
    def holds_data(self) -> bool:
        return self.part == DATA

    @property
    def domain(self) -> str:
        return f"{self.cluster}.{self.group}.{self.member}"


def parse_volume(name: str) -> MemberVolume | None:
    """Take the name of a member's volume apart; None for any other volume."""
    match = _VOLUME.fullmatch(name)
    return MemberVolume(**match.groupdict()) if match else None


def belongs_to_domain(volume: str, domain: str) -> bool:
    """Tell whether a volume dies with the domain. Its data disk never does."""
    parsed = parse_volume(volume)
    return parsed is not None and parsed.domain == domain and not parsed.holds_data


def published_name(image: Image) -> str:
    """Return the name that the volumes of an image begin with.

    An image's kernel and each disk that is made of it are published apart from one another, so that none of them is
    taken for another, and one may go while another is in use.
    """
    base = f"{IMAGE_PREFIX}{image.identity[:_DIGITS]}"
    return f"{base}-disk-{image.as_disk}-{image.disk_size}" if image.as_disk else base


@dataclass(frozen=True, slots=True)
class ImageVolume:
    """What the name of an image's volume says: what it was published as, and which part of that it is."""

    published: str
    part: str


def parse_image_volume(name: str) -> ImageVolume | None:
    """Take the name of an image's volume apart; None for any other volume."""
    match = _IMAGE_VOLUME.fullmatch(name)
    return ImageVolume(match["published"], match["part"]) if match else None


def identity_digits(published: str) -> str | None:
    """Return the first digits of the identity of a published image; None if that is not the name of one."""
    match = _IMAGE.fullmatch(published)
    return match["identity"] if match else None


def images_named_in(text: str) -> frozenset[str]:
    """Return what is named in a text that was published: the volumes of it, or itself."""
    return frozenset(match[0] for match in _IMAGE.finditer(text))


def mac_address(domain: str) -> str:
    """Return the slot's MAC address: the same for every machine that ever takes the slot, so that DHCP knows it.

    The first octet is that of QEMU's own addresses, locally administered and unicast; 40 bits come from the name.
    """
    digest = sha256(domain.encode()).digest()
    return ":".join(f"{octet:02x}" for octet in (0x52, *digest[:5]))
