"""What a user may write about the publishing of images, and which images can be published at all."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from infrakit_providers.cloud.fields import Form, Strict, listing, unique
from infrakit_providers.gcp.fields import KmsKey, Labels, ResourceName
from infrakit_providers.gcp.machine import Machine
from infrakit_py.model.spec import AMD64, Image, ImageForm
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.images import DiskFormat

UEFI: Final = "UEFI_COMPATIBLE"
_DISKS: Final = frozenset(one.value for one in DiskFormat)

Bucket = Annotated[
    str,
    Form(
        r"^[a-z0-9]([a-z0-9._-]{1,220}[a-z0-9])$",
        "be a bucket's name: lowercase letters, digits, hyphens, underscores and dots, without gs://",
    ),
]
"""Cloud Storage documentation, "Bucket names"."""
Prefix = Annotated[
    str, Form(r"^([A-Za-z0-9._-]+/)+$", "be one or more folders, such as infrakit/, and end with a slash")
]
Feature = Literal[
    "GVNIC",
    "IDPF",
    "MULTI_IP_SUBNET",
    "SEV_CAPABLE",
    "SEV_LIVE_MIGRATABLE_V2",
    "SEV_SNP_CAPABLE",
    "SUSPEND_SAFE_FPR",
    "TDX_CAPABLE",
    "UEFI_COMPATIBLE",
    "VIRTIO_SCSI_MULTIQUEUE",
]
"""API reference, GuestOsFeature: what a Linux image may have."""
Location = Annotated[str, Form(r"^[a-z]+(-[a-z]+[0-9]+)?$", "be a region, such as europe-west1, or eu, us or asia")]
Member = Annotated[
    str,
    Form(
        r"^(allAuthenticatedUsers|(user|serviceAccount|group):[^@\s]+@[^@\s]+|domain:[^@\s]+)$",
        "look like serviceAccount:NAME@PROJECT.iam.gserviceaccount.com, user:EMAIL, group:EMAIL or domain:DOMAIN",
    ),
]
_Features = Annotated[Sequence[Feature], BeforeValidator(listing), AfterValidator(unique)]
_Locations = Annotated[
    Sequence[Location], Field(min_length=1, max_length=1), BeforeValidator(listing), AfterValidator(unique)
]
_Members = Annotated[Sequence[Member], BeforeValidator(listing), AfterValidator(unique)]


class PublishSettings(Strict):
    """How images come into the project: through a bucket, as images of its own.

    `bucket` is one that is there; nothing of ours stays in it. `guest_os_features` are those of the disks; UEFI is
    never claimed of a disk that was made of a kernel, which a BIOS boots. `share_with` may use them, too.
    """

    bucket: Bucket
    prefix: Prefix = "infrakit/"
    family: ResourceName | None = None
    guest_os_features: _Features = ()
    storage_locations: _Locations | None = None
    kms_key: KmsKey | None = None
    labels: Labels = Field(default_factory=dict)
    share_with: _Members = ()

    def features_of(self, image: Image) -> tuple[str, ...]:
        """Return the features that a published image is given."""
        return tuple(one for one in self.guest_os_features if one != UEFI or image.form is ImageForm.DISK)


def must_be_published(image: Image) -> bool:
    """Tell whether an image is made here before machines boot from it."""
    return image.form is not ImageForm.REFERENCE


def image_complaints(image: Image, machine: Machine, publish: PublishSettings | None) -> Iterator[Complaint]:
    """Find out why machines could not boot from an image that must be published."""
    about = f"image {image.name}"
    if image.form is ImageForm.DISK and image.disk_format not in _DISKS:
        yield Complaint((), f"{about}: Compute Engine boots no {image.disk_format}; give a raw, qcow2 or gcp disk")
    elif image.form is ImageForm.KERNEL and image.architecture != AMD64:
        text = (
            f"disks of a kernel boot by BIOS, which {image.architecture} has not; give a disk that was made elsewhere"
        )
        yield Complaint((), f"{about}: {text}")
    elif publish is None:
        text = "it must be published to GCP, through a bucket; give the provider one (publish: {bucket: NAME})"
        yield Complaint((), f"{about}: {text}, or use an image that is there (reference: ...)")
    if image.form is ImageForm.KERNEL:
        for key in _what_needs_uefi(machine):
            yield Complaint((key,), f"{key} needs UEFI, and {about} becomes a disk that boots by BIOS; leave it out")


def _what_needs_uefi(machine: Machine) -> Iterator[str]:
    needed: Mapping[str, bool] = {
        "shielded_vm": machine.shielded_vm is not None,
        "confidential": machine.confidential is not None,
    }
    yield from (key for key, is_needed in needed.items() if is_needed)
