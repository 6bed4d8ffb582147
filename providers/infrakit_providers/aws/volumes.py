"""EBS volumes as a user writes them, and what EBS allows for each type.

Numbers are those of the EC2 API Reference (EbsBlockDevice, CreateVolume) and, for the ratios, of the EBS User Guide
("Amazon EBS volume types"), as of 2025.
"""

from typing import Annotated, ClassVar, Final, Literal, NamedTuple, Self

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from infrakit_providers.aws.fields import Device, KmsKey, SnapshotId
from infrakit_providers.cloud.fields import Size, Strict
from infrakit_py.model.quantities import format_size

GIB: Final = 2**30

VolumeType = Literal["gp3", "gp2", "io1", "io2", "st1", "sc1", "standard"]


class _Allowed(NamedTuple):
    """GiB, and IOPS where they may be chosen: from, to, and at most for each GiB."""

    least_gib: int
    most_gib: int
    iops: tuple[int, int, int] | None = None


_ALLOWED: Final = {
    "gp3": _Allowed(1, 65_536, (3000, 80_000, 500)),
    "gp2": _Allowed(1, 16_384),
    "io1": _Allowed(4, 16_384, (100, 64_000, 50)),
    "io2": _Allowed(4, 65_536, (100, 256_000, 1000)),
    "st1": _Allowed(125, 16_384),
    "sc1": _Allowed(125, 16_384),
    "standard": _Allowed(1, 1024),
}
_THROUGHPUT: Final = (125, 2000)
_IOPS_FOR_EACH_MIB: Final = 4
_BASE_IOPS: Final = 3000
"""What a gp3 volume has of any size: both the default and the least."""
_NOT_BOOTABLE: Final = ("st1", "sc1")


class Volume(Strict):
    """One EBS volume. `throughput` is in MiB/s. `encrypted` is the account's default where it is not written."""

    type: VolumeType = "gp3"
    size: Size | None = None
    iops: int | None = None
    throughput: int | None = None
    encrypted: bool | None = None
    kms_key: KmsKey | None = None

    size_needed: ClassVar[str] = ""
    """What to say where there is no size; empty where none is needed."""

    @property
    def size_gib(self) -> int | None:
        return None if self.size is None else self.size // GIB

    @field_validator("size")
    @classmethod
    def _must_be_a_size_of_ebs(cls, size: int | None, info: ValidationInfo) -> int | None:
        if size is None or "type" not in info.data:
            return size
        if size % GIB:
            raise ValueError(f"EBS volumes have whole GiB; write {max(1, -(-size // GIB))}GiB")
        kind = info.data["type"]
        least, most, _ = _ALLOWED[kind]
        if not least <= size // GIB <= most:
            raise ValueError(f"{kind} volumes have {least}GiB to {most}GiB, not {format_size(size)}")
        return size

    @field_validator("iops")
    @classmethod
    def _must_be_iops_of_the_type(cls, iops: int | None, info: ValidationInfo) -> int | None:
        if iops is None or "type" not in info.data:
            return iops
        kind = info.data["type"]
        limits = _ALLOWED[kind].iops
        if limits is None:
            raise ValueError(f"only gp3, io1 and io2 volumes have iops to choose; leave it out for {kind}")
        least, most, each_gib = limits
        if not least <= iops <= most:
            raise ValueError(f"{kind} volumes have {least} to {most} iops")
        if (size := info.data.get("size")) and iops > max(least, size // GIB * each_gib):
            raise ValueError(
                f"{kind} volumes have at most {each_gib} iops a GiB; {iops} need {-(-iops // each_gib)}GiB"
            )
        return iops

    @field_validator("throughput")
    @classmethod
    def _must_be_throughput_of_gp3(cls, throughput: int | None, info: ValidationInfo) -> int | None:
        if throughput is None or not {"type", "iops"} <= info.data.keys():
            return throughput
        if info.data["type"] != "gp3":
            raise ValueError(f"only gp3 volumes have a throughput to choose; leave it out for {info.data['type']}")
        least, most = _THROUGHPUT
        if not least <= throughput <= most:
            raise ValueError(f"gp3 volumes have a throughput of {least} to {most} MiB/s")
        if throughput * _IOPS_FOR_EACH_MIB > (info.data["iops"] or _BASE_IOPS):
            raise ValueError(
                f"a throughput of {throughput} MiB/s needs iops: {throughput * _IOPS_FOR_EACH_MIB} or more"
            )
        return throughput

    @field_validator("kms_key")
    @classmethod
    def _must_be_encrypted(cls, key: str | None, info: ValidationInfo) -> str | None:
        if key is not None and info.data.get("encrypted") is False:
            raise ValueError("kms_key is for encrypted volumes; leave it or encrypted: false out")
        return key

    @model_validator(mode="after")
    def _must_be_complete(self) -> Self:
        if self.type in ("io1", "io2") and self.iops is None:
            raise ValueError(f"{self.type} volumes need iops, such as iops: 3000")
        if self.size is None and self.size_needed and getattr(self, "snapshot", None) is None:
            raise ValueError(self.size_needed)
        return self


class RootDisk(Volume):
    """The machine's first disk. `size` is the image's own where it is not written, `device` the image's root."""

    device: Device | None = None

    @field_validator("type")
    @classmethod
    def _must_be_bootable(cls, kind: str) -> str:
        if kind in _NOT_BOOTABLE:
            raise ValueError(f"machines cannot boot from {kind} volumes; write gp3")
        return kind


class Disk(Volume):
    """A disk that is made with the machine, empty or from a snapshot, and goes with it unless told otherwise."""

    device: Device
    snapshot: SnapshotId | None = None
    delete_on_termination: bool = True

    size_needed: ClassVar[str] = "a disk needs a size, such as size: 100GiB, or a snapshot"


class DataDisk(Volume):
    """A volume of a named member that outlives its machines. `name` tells it from the member's others."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
    device: Device
    size: Size = Field()

    @property
    def gib(self) -> int:
        return self.size // GIB


def same_device(device: str) -> str:
    """Return what two names of one device have in common: /dev/sdf, /dev/xvdf and xvdf are the same to a machine."""
    bare = device.removeprefix("/dev/")
    return bare.removeprefix("xvd" if bare.startswith("xvd") else "sd")
