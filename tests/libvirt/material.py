"""Images, requests and settings that the tests of the libvirt provider share. Knows the SPI, not libvirt."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from infrakit_py.images.identity import read_image
from infrakit_py.model import tags
from infrakit_py.model.spec import Image, ImageForm, Json
from infrakit_py.spi.provider import ProvisionRequest
from tests.images import BuiltImage


def image_of(name: str, built: BuiltImage) -> Image:
    """Describe a built image as the loader would."""
    files = {"kernel": built.kernel, "initrd": built.initrd, "cmdline": built.cmdline}
    return read_image(name, ImageForm.KERNEL, files)


def image_of_disk(name: str, disk: Path, disk_format: str) -> Image:
    """Describe a disk image as the loader would."""
    return read_image(name, ImageForm.DISK, {"disk": disk}, disk_format=disk_format)


def fake_image(directory: Path, content: str) -> Image:
    """Return a kernel image that no machine could boot; other content is another image."""
    directory.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(content.encode()).hexdigest()[:12]
    files = {}
    for part in ("kernel", "initrd", "cmdline"):
        files[part] = directory / f"{name}-{part}"
        files[part].write_text(f"{part} of {content}")
    return image_of("fake", BuiltImage(directory / name, files["kernel"], files["initrd"], files["cmdline"]))


def request_for(
    image: Image,
    cluster: str,
    slot: str,
    *,
    group: str = "web",
    incarnation: int = 0,
    machine: Mapping[str, Json] | None = None,
    user_data: bytes | None = None,
    named: bool = False,
) -> ProvisionRequest:
    """Return a request as the engine makes them."""
    token = tags.token(cluster, group, slot, incarnation)
    owned = {
        tags.CLUSTER: cluster,
        tags.GROUP: group,
        tags.SLOT: slot,
        tags.INCARNATION: str(incarnation),
        tags.TOKEN: token,
        tags.IMAGE: image.identity,
        tags.CONFIG_HASH: "v1-" + "0123456789" * 4,
    }
    if named:
        owned[tags.LOGICAL_ID] = slot
    name = slot if named else f"{group}-{slot}"
    data_key = slot if named else None
    return ProvisionRequest(token, name, owned, image, machine or {}, user_data=user_data, data_key=data_key)
