"""What makes an image of Compute Engine one that was published here: its name and its labels. Pure.

The name follows from the image's content, so no two publishers make two of it: Compute Engine refuses the second. The
last label is set when nothing is left to be done, and it alone means that the image is `published`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from infrakit_providers.gcp import labels
from infrakit_providers.gcp.operations import time_of
from infrakit_providers.gcp.publish_settings import PublishSettings
from infrakit_py.model.spec import AMD64, Image, ImageForm

IDENTITY: Final = f"{labels.OWN}image"
"""Holds all of the image's identity; its name has no room for that."""
COMPLETE: Final = f"{labels.OWN}published"
READY: Final = "READY"
FAILED: Final = "FAILED"
_DIGITS: Final = 24
"""Of an identity in names: as many as tell all images apart."""
_NAME: Final = re.compile(rf"infrakit-(?P<digits>[0-9a-f]{{{_DIGITS}}})(-[0-9]+)?")
_OBJECT: Final = re.compile(rf"{_NAME.pattern}\.tar\.gz")
_ARCHITECTURES: Final = {AMD64: "X86_64"}


def name_of(image: Image) -> str:
    """Return the name of the Compute Engine image: the same whichever cluster publishes it, and what it calls it."""
    size = f"-{image.disk_size}" if image.form is ImageForm.KERNEL and image.disk_size else ""
    return f"infrakit-{image.identity[:_DIGITS]}{size}"


def reference_of(image: Image) -> str:
    """Return the path of what machines boot from, without its project where that is the provider's own."""
    return image.reference if image.form is ImageForm.REFERENCE else f"global/images/{name_of(image)}"


def object_name(name: str, prefix: str) -> str:
    """Return the name of the object that an image is made from."""
    return f"{prefix}{name}.tar.gz"


def digits_in_object(key: str, prefix: str) -> str | None:
    """Return the digits of the identity in an object's name; None for what is no object of ours."""
    match = _OBJECT.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
    return match["digits"] if match else None


def is_name(name: str) -> bool:
    """Tell whether we might have given an image this name."""
    return _NAME.fullmatch(name) is not None


def labels_of(image: Image, users: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of an image that is being published. Ours win over the user's."""
    return {**users, IDENTITY: labels.value_of(image.identity) or ""}


def body_of(image: Image, source: str, settings: PublishSettings) -> dict[str, Any]:
    """Return the Image to insert, which is made from an archive at the URL `source`."""
    body: dict[str, Any] = {
        "name": name_of(image),
        "description": f"published by infrakit as {image.name}: {image.identity}",
        "labels": labels_of(image, settings.labels),
        "raw_disk": {"source": source, "container_type": "TAR"},
        "architecture": architecture_of(image),
        "guest_os_features": [{"type_": one} for one in settings.features_of(image)],
    }
    if settings.family is not None:
        body["family"] = settings.family
    if settings.storage_locations is not None:
        body["storage_locations"] = list(settings.storage_locations)
    if settings.kms_key is not None:
        body["image_encryption_key"] = {"kms_key_name": settings.kms_key}
    return body


def architecture_of(image: Image) -> str:
    """Return an image's architecture in Compute Engine's words."""
    return _ARCHITECTURES.get(image.architecture, image.architecture.upper())


def least_size(image: Image) -> int:
    """Return how many bytes the image's disk has at least: a compressed one says no more."""
    return max(image.size, image.disk_size)


@dataclass(frozen=True, slots=True)
class Published:
    """An image that carries the label of those that are published here, whatever has become of it.

    `identity` is empty where somebody has changed the label. `size` in bytes, `created_at` in Unix time.
    """

    name: str
    id: str
    status: str
    identity: str
    is_complete: bool
    size: int
    created_at: float
    fingerprint: str
    labels: Mapping[str, str] = field(default_factory=dict)


def read(raw: Any) -> Published:
    """Read an image as the SDK gives it."""
    held = dict(raw.labels)
    return Published(
        name=raw.name,
        id=str(raw.id),
        status=raw.status,
        identity=identity_in(held),
        is_complete=raw.status == READY and COMPLETE in held,
        size=raw.archive_size_bytes,
        created_at=time_of(raw.creation_timestamp),
        fingerprint=raw.label_fingerprint,
        labels=held,
    )


def identity_in(held: Mapping[str, str]) -> str:
    """Return the identity that an image's labels name; nothing where they name none."""
    identity = labels.read_value(held.get(IDENTITY, ""))
    return identity if re.fullmatch("[0-9a-f]{64}", identity) else ""
