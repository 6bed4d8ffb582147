"""Images that come and go: registered from snapshots, copied from another region, shared, deregistered."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Final

from tests.fakes.ec2.errors import AwsError, bad_value, missing
from tests.fakes.ec2.launching import find_image
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.snapshots import find_snapshot
from tests.fakes.ec2.tables import Image, Snapshot
from tests.fakes.ec2.tags import tags_for
from tests.fakes.ec2.tokens import once
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply

_NAME: Final = re.compile(r"[A-Za-z0-9()\[\] ./'@_-]{3,128}")
_HONOURED: Final = frozenset(
    {
        *("Name", "Description", "Architecture", "BootMode", "EnaSupport", "ImdsSupport", "VirtualizationType"),
        *("RootDeviceName", "BlockDeviceMappings", "TagSpecifications", "DryRun"),
    }
)


def register_image(world: World, asked: Asked) -> Reply:
    if unheeded := set(asked) - _HONOURED:
        raise AwsError("UnsupportedOperation", f"The fake does not honour {', '.join(sorted(unheeded))}")
    _check_name(world, asked["Name"])
    root = asked.get("RootDeviceName")
    devices = {one["DeviceName"]: one.get("Ebs", {}) for one in asked.get("BlockDeviceMappings", ())}
    if root is None or "SnapshotId" not in devices.get(root, {}):
        raise missing("BlockDeviceMapping of the root device, with a SnapshotId")
    snapshot = find_snapshot(world, devices[root]["SnapshotId"])
    if snapshot.state != "completed":
        raise AwsError("IncorrectState", f"Snapshot ({snapshot.id}) is {snapshot.state}, not completed")
    size = devices[root].get("VolumeSize", snapshot.gibibytes)
    if size < snapshot.gibibytes:
        raise bad_value(size, "VolumeSize")
    arch, boot_mode = asked.get("Architecture", "i386"), asked.get("BootMode")
    if arch == "arm64" and boot_mode == "legacy-bios":
        raise AwsError("InvalidParameterCombination", "arm64 images cannot boot in the mode legacy-bios")
    image = Image(
        world.new_id("ami"),
        asked["Name"],
        arch,
        snapshot.id,
        root,
        size,
        world.now(),
        tags=tags_for(asked, "image")["image"],
        boot_mode=boot_mode,
        volume_type=devices[root].get("VolumeType", "gp2"),
        ena=asked.get("EnaSupport", False),
        encrypted=snapshot.encrypted,
        description=asked.get("Description", ""),
        imds=asked.get("ImdsSupport"),
    )
    world.images[image.id] = image
    return {"ImageId": image.id}


def deregister_image(world: World, asked: Asked) -> Reply:
    if asked.get("DeleteAssociatedSnapshots"):
        raise AwsError("UnsupportedOperation", "The fake does not honour DeleteAssociatedSnapshots")
    image = find_image(world, asked["ImageId"])
    del world.images[image.id]
    return {"Return": True}


def copy_image(world: World, asked: Asked) -> Reply:
    """Begin to copy an image from another region. Its snapshot is copied with it."""
    region = asked["SourceRegion"]
    if region not in world.abroad:
        raise bad_value(region, "SourceRegion")
    there = world.abroad[region]
    source = find_image(there, asked["SourceImageId"])
    if source.state != "available":
        raise AwsError("InvalidAMIID.Unavailable", f"The image {source.id} is {source.state}")
    tags = tags_for(asked, "image", "snapshot")

    def make() -> str:
        _check_name(world, asked["Name"])
        image, snapshot = _copy(world, there, source, asked, tags)
        world.later(world.now() + world.settings.copy_seconds, partial(_arrive, world, image, snapshot))
        return image.id

    id_ = once(world, "CopyImage", asked, make)
    world.settle()
    return {"ImageId": id_}


def modify_image_attribute(world: World, asked: Asked) -> Reply:
    """Change who may launch an image."""
    image = find_image(world, asked["ImageId"])
    if set(asked) - {"ImageId", "LaunchPermission", "DryRun"}:
        raise AwsError("UnsupportedOperation", "The fake changes launch permissions only")
    if image.state != "available":
        raise AwsError("InvalidAMIID.Unavailable", f"The image {image.id} is {image.state}")
    changes = asked.get("LaunchPermission", {})
    added = {one["UserId"] for one in changes.get("Add", ())}
    snapshot = world.snapshots.get(image.snapshot)
    if added and snapshot is not None and snapshot.encrypted and snapshot.kms_key is None:
        raise AwsError("InvalidParameter", "Snapshots encrypted with the default key can't be shared")
    image.shared = (image.shared | added) - {one["UserId"] for one in changes.get("Remove", ())}
    return {}


def _check_name(world: World, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise AwsError("InvalidAMIName.Malformed", f"AMI names have 3 to 128 letters of few kinds, not '{name}'")
    taken = next((one for one in world.images.values() if one.name == name), None)
    if taken is not None:
        raise AwsError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {taken.id}")


def _copy(
    world: World, there: World, source: Image, asked: Asked, tags: Mapping[str, dict[str, str]]
) -> tuple[Image, Snapshot]:
    original = there.snapshots.get(source.snapshot)
    encrypted = bool(asked.get("Encrypted") or source.encrypted)
    snapshot = Snapshot(
        world.new_id("snap"),
        source.gibibytes,
        world.now(),
        tags=tags["snapshot"],
        encrypted=encrypted,
        kms_key=asked.get("KmsKeyId"),
        blocks=dict(original.blocks) if original else {},
    )
    image = Image(
        world.new_id("ami"),
        asked["Name"],
        source.arch,
        snapshot.id,
        source.root,
        source.gibibytes,
        world.now(),
        "pending",
        tags["image"],
        source.boot_mode,
        source.volume_type,
        source.ena,
        encrypted,
        asked.get("Description", ""),
        source.imds,
    )
    world.snapshots[snapshot.id], world.images[image.id] = snapshot, image
    return image, snapshot


def _arrive(world: World, image: Image, snapshot: Snapshot) -> None:
    if image.id in world.images and image.state == "pending":
        image.state, snapshot.state = "available", "completed"
