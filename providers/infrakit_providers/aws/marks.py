"""How a published image is known again: by the tags of its AMI and snapshots, and by its AMI's name. Pure.

A machine bears `infrakit.image` as well, and backups of machines may copy its tags. So what was published bears a tag
of its own (`KEY`), by which alone it is looked for.
"""

from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from infrakit_providers.aws.places import NAME, PREFIX
from infrakit_py.model import tags
from infrakit_py.model.spec import AMD64, ARM64, Image, ImageFile, ImageForm

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef, TagSpecificationTypeDef, TagTypeDef

KEY: Final = f"{PREFIX}image"
"""What an image is published as: its identity, and how large its disk is to be at least."""
BYTES: Final = f"{PREFIX}bytes"
"""The sha256 of the disk that a snapshot is made from: disks of one image differ by the programs that made them."""
IMAGE_NAME: Final = "infrakit.image.name"
ROOT: Final = "/dev/sda1"
ARCHITECTURES: Final[Mapping[str, tuple[str, str]]] = {AMD64: ("x86_64", "legacy-bios"), ARM64: ("arm64", "uefi")}
"""What EC2 calls an architecture, and how its machines boot: EC2 User Guide, "Boot modes" (Graviton has no BIOS)."""
GIB: Final = 2**30
_MIB: Final = 2**20
_NAME_DIGITS: Final = 24
_NAME_LETTERS: Final = 64

Raw = Mapping[str, Any]


def key_of(image: Image) -> str:
    """Return what an image is published as. The same kernel on larger disks is another thing to boot from."""
    if image.form is ImageForm.KERNEL and image.disk_size:
        return f"{image.identity}-{image.disk_size}"
    return image.identity


def ami_name(image: Image) -> str:
    """Return the name by which an AMI of the image can be registered once in an account and region.

    It tells the content alone, so that whoever has the same image under another name comes to the same AMI.
    """
    size = f"-{-(-image.disk_size // _MIB)}m" if key_of(image) != image.identity else ""
    return f"infrakit-{image.identity[:_NAME_DIGITS]}{size}"


def title(image: Image) -> str:
    """Return what EC2's console shows."""
    return f"infrakit-{image.name[:_NAME_LETTERS]}-{image.identity[:_NAME_DIGITS]}"


def tags_of(image: Image, disk: ImageFile | None = None) -> "list[TagTypeDef]":
    """Return the tags of an image's AMI, and with a disk those of its snapshot."""
    held = {NAME: title(image), tags.IMAGE: image.identity, IMAGE_NAME: image.name, KEY: key_of(image)}
    if disk is not None:
        held[BYTES] = disk.sha256
    return [{"Key": key, "Value": value} for key, value in sorted(held.items())]


def specification(resource: str, image: Image, disk: ImageFile | None = None) -> "TagSpecificationTypeDef":
    return {
        "ResourceType": resource,  # type: ignore[typeddict-item]  # text here, a Literal there
        "Tags": tags_of(image, disk),
    }


def published_as(keys: Collection[str]) -> "list[FilterTypeDef]":
    """Return the filters that let through what was published as any of these."""
    return [{"Name": f"tag:{KEY}", "Values": sorted(keys)}]


def published() -> "list[FilterTypeDef]":
    """Return the filters that let through all that was ever published."""
    return [{"Name": "tag-key", "Values": [KEY]}]


def client_token(image: Image, disk: ImageFile, what: str, attempt: int = 0) -> str:
    """Return a token of 64 characters, the same for all who make the same of the same bytes."""
    return sha256(f"{key_of(image)}/{disk.sha256}/{what}/{attempt}".encode()).hexdigest()


def snapshots_in(ami: Raw) -> list[str]:
    """Return the snapshots that an AMI is made of."""
    devices = (one.get("Ebs", {}) for one in ami.get("BlockDeviceMappings", ()))
    return [ebs["SnapshotId"] for ebs in devices if ebs.get("SnapshotId")]
