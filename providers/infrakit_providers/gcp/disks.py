"""Disks as a user writes them, and what Compute Engine allows for each type.

Numbers are those of the Compute Engine documentation ("Persistent Disk", "Hyperdisk", "Local SSD"), as of 2025.
"""

from typing import Final, Literal, NamedTuple, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from infrakit_providers.cloud.fields import Size, Strict
from infrakit_providers.gcp.fields import ImageReference, KmsKey, ResourceName
from infrakit_py.model.quantities import format_size

GIB: Final = 2**30
LOCAL_SSD: Final = "local-ssd"
LOCAL_SSD_GIB: Final = 375

BootableType = Literal["pd-standard", "pd-balanced", "pd-ssd", "pd-extreme", "hyperdisk-balanced"]
"""Of hyperdisks only the balanced ones boot everywhere: "About Hyperdisk Balanced"."""
PersistentType = Literal[BootableType, "hyperdisk-extreme", "hyperdisk-throughput", "hyperdisk-ml"]
DiskType = Literal[PersistentType, "local-ssd"]


class _Allowed(NamedTuple):
    """GiB, and IOPS and MiB/s where they may be chosen: from, to."""

    least_gib: int = 10
    most_gib: int = 65_536
    iops: tuple[int, int] | None = None
    throughput: tuple[int, int] | None = None


_ALLOWED: Final = {
    "pd-standard": _Allowed(),
    "pd-balanced": _Allowed(),
    "pd-ssd": _Allowed(),
    "pd-extreme": _Allowed(500, iops=(10_000, 120_000)),
    "hyperdisk-balanced": _Allowed(4, iops=(2000, 160_000), throughput=(140, 2400)),
    "hyperdisk-extreme": _Allowed(64, iops=(128, 350_000)),
    "hyperdisk-throughput": _Allowed(2048, 32_768, throughput=(20, 2400)),
    "hyperdisk-ml": _Allowed(4, throughput=(400, 1_200_000)),
    LOCAL_SSD: _Allowed(LOCAL_SSD_GIB, LOCAL_SSD_GIB),
}
_BALANCED: Final = "hyperdisk-balanced"
_BALANCED_IOPS_FOR_EACH_GIB: Final = 500
_BALANCED_IOPS_FOR_EACH_MIB: Final = 4
_LEAST_BOOT_GIB: Final = 10
"""API reference, AttachedDiskInitializeParams."""


class Storage(Strict):
    """One disk. `throughput` is in MiB/s.

    Without a `type` it is pd-balanced, or hyperdisk-balanced for machines that have no other.
    """

    type: DiskType | None = None
    size: Size | None = None
    iops: int | None = None
    throughput: int | None = None
    kms_key: KmsKey | None = None

    @property
    def size_gib(self) -> int | None:
        return None if self.size is None else self.size // GIB

    @field_validator("size")
    @classmethod
    def _must_be_a_size_of_the_type(cls, size: int | None, info: ValidationInfo) -> int | None:
        if size is None or "type" not in info.data:
            return size
        if size % GIB:
            raise ValueError(f"GCE's disks have whole GiB; write {max(1, -(-size // GIB))}GiB")
        kind = info.data["type"]
        if kind == LOCAL_SSD and size != LOCAL_SSD_GIB * GIB:
            raise ValueError(
                f"local SSDs have {LOCAL_SSD_GIB}GiB each; leave size out, and write as many as you need"
            )
        allowed = _ALLOWED[kind or "pd-balanced"]
        if not allowed.least_gib <= size // GIB <= allowed.most_gib:
            what = f"{kind} disks" if kind is not None else "disks"
            raise ValueError(f"{what} have {allowed.least_gib}GiB to {allowed.most_gib}GiB, not {format_size(size)}")
        return size

    @field_validator("iops", "throughput")
    @classmethod
    def _must_be_what_the_type_has(cls, number: int | None, info: ValidationInfo) -> int | None:
        if number is None or "type" not in info.data or info.field_name is None:
            return number
        kind = info.data["type"]
        if kind is None:
            raise ValueError(f"only some types of disks have a choice of {info.field_name}; write the type, too")
        limits = getattr(_ALLOWED[kind], info.field_name)
        if limits is None:
            raise ValueError(f"{kind} disks have no {info.field_name} to choose; leave it out")
        least, most = limits
        if not least <= number <= most:
            raise ValueError(f"{kind} disks have {info.field_name} of {least} to {most}")
        return number

    @model_validator(mode="after")
    def _must_perform_as_its_type_does(self) -> Self:
        if self.type == _BALANCED and self.iops is not None:
            if self.size_gib and self.iops > self.size_gib * _BALANCED_IOPS_FOR_EACH_GIB:
                gib = -(-self.iops // _BALANCED_IOPS_FOR_EACH_GIB)
                raise ValueError(f"hyperdisk-balanced disks have at most 500 iops a GiB; {self.iops} need {gib}GiB")
            if self.throughput is not None and self.throughput * _BALANCED_IOPS_FOR_EACH_MIB > self.iops:
                iops = self.throughput * _BALANCED_IOPS_FOR_EACH_MIB
                raise ValueError(f"a throughput of {self.throughput} MiB/s needs iops: {iops} or more")
        return self


class BootDisk(Storage):
    """The machine's first disk, made from the image. `size` is the image's own where it is not written."""

    type: BootableType | None = None

    @field_validator("size")
    @classmethod
    def _must_hold_an_image(cls, size: int | None) -> int | None:
        if size is not None and size < _LEAST_BOOT_GIB * GIB:
            raise ValueError(f"boot disks have {_LEAST_BOOT_GIB}GiB or more, not {format_size(size)}")
        return size


class Disk(Storage):
    """A disk that is made with the machine, empty or from an image, and goes with it.

    The machine finds it as /dev/disk/by-id/google-DEVICE_NAME.
    """

    device_name: ResourceName | None = None
    image: ImageReference | None = None
    interface: Literal["nvme", "scsi"] | None = None

    @property
    def is_local(self) -> bool:
        return self.type == LOCAL_SSD

    @model_validator(mode="after")
    def _must_fit_together(self) -> Self:
        if self.is_local:
            for key in ("device_name", "image", "kms_key"):
                if getattr(self, key) is not None:
                    raise ValueError(f"local SSDs have no {key}; leave it out")
        elif self.interface is not None:
            raise ValueError("interface is for local SSDs; leave it out")
        elif self.size is None and self.image is None:
            raise ValueError("a disk needs a size, such as size: 100GiB, or an image")
        return self


class DataDisk(Storage):
    """A disk of a named member that outlives its machines. `name` tells it from the member's others.

    The machine finds it as /dev/disk/by-id/google-NAME.
    """

    name: ResourceName
    type: PersistentType | None = None
    size: Size = Field()

    @property
    def gib(self) -> int:
        return self.size // GIB
