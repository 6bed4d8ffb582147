"""What a user may write for libvirt: its settings, a group's `machine` mapping, and what is wrong with it."""

from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from infrakit_py.model.quantities import format_size, parse_duration, parse_size
from infrakit_py.model.spec import AMD64, Image, ImageForm
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.provider import MachineReview

MIB: Final = 2**20
OVERLAID: Final = ("raw", "qcow2")
"""Formats of disks that machines lay an overlay over."""
CDROM: Final = "iso"
PUBLISHED_AS: Final = {"raw": "raw", "qcow2": "qcow2", "gcp": "qcow2", CDROM: CDROM}
"""What becomes of an image that is a disk, by its format."""


def _size(written: object) -> int:
    if isinstance(written, str):
        return parse_size(written)
    raise ValueError(f"not a size: {written!r} (write it with its unit: 192MiB, 2GiB or 10GB)")


def _duration(written: object) -> float:
    if isinstance(written, str):
        return parse_duration(written)
    raise ValueError(f"not a duration: {written!r} (write it with its unit: 500ms, 90s or 5m)")


Duration = Annotated[float, BeforeValidator(_duration, json_schema_input_type=str)]
Size = Annotated[int, BeforeValidator(_size, json_schema_input_type=str)]
ObjectName = Annotated[
    str, StringConstraints(pattern=r"^[^/\s\x00-\x1f](?:[^/\x00-\x1f]*[^/\s\x00-\x1f])?$", max_length=200)
]
Uri = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(\+[a-z0-9]+)?://\S*$")]


class Settings(BaseModel):
    """One hypervisor, reached over a libvirt URI.

    `virt_type` is a setting and never guessed: a `/dev/kvm` that opens need not work. `test` is for libvirt's own
    test driver, which boots nothing.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    uri: Uri = "qemu:///system"
    virt_type: Literal["kvm", "qemu", "test"] = "kvm"
    pool: ObjectName = "default"
    parallel_calls: int = Field(default=4, ge=1, le=16)
    open_timeout: Duration = Field(default=30.0, gt=0, le=600)


class Machine(BaseModel):
    """One machine's shape. Sizes are bytes once validated.

    `root_disk` is an empty scratch disk for an image that boots from its kernel or a CD-ROM, and the size to grow to
    for an image that is a disk.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    vcpus: int = Field(default=1, ge=1, le=512)
    memory: Size = Field(default=512 * MIB, ge=16 * MIB)
    network: ObjectName = "default"
    root_disk: Annotated[Size, Field(ge=MIB)] | None = None
    data_disk: Annotated[Size, Field(ge=MIB)] | None = None


def complaints(review: MachineReview) -> Iterable[Complaint]:
    """Find the mistakes that the models cannot see."""
    machine = Machine.model_validate(review.machine)
    if machine.data_disk is not None and not review.named:
        yield Complaint(
            ("data_disk",), "only members with logical_ids keep a data disk; a group with a size has none"
        )
    if review.image is not None:
        yield from _image_complaints(review.image, machine)


def _image_complaints(image: Image, machine: Machine) -> Iterable[Complaint]:
    if image.form is ImageForm.DISK and image.disk_format not in PUBLISHED_AS:
        formats = ", ".join(PUBLISHED_AS)
        yield Complaint((), f"image {image.name}: libvirt boots disks of format {formats}, not {image.disk_format}")
    if image.form is ImageForm.REFERENCE and ("/" in image.reference or not image.reference):
        yield Complaint(
            (), f"image {image.name}: a reference is the name of a volume in the storage pool, not a path"
        )
    if image.as_disk and image.architecture != AMD64:
        yield Complaint(
            (), f"image {image.name}: disks are made for {AMD64} only; boot its kernel (format: kernel+initrd)"
        )
    least = _least_root_disk(image)
    if machine.root_disk is not None and machine.root_disk < least:
        text = f"smaller than the disk of image {image.name}, which has {format_size(least)}"
        yield Complaint(("root_disk",), text)


def _least_root_disk(image: Image) -> int:
    """Return how large the disk is that machines overlay, in bytes; 0 where there is none, or nobody knows yet."""
    if image.form is ImageForm.DISK and image.disk_format == "raw":
        return image.files["disk"].size
    return image.disk_size if image.as_disk else 0
