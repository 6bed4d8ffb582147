"""Volumes: as parts of a launch, and by themselves."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from infrakit_py.model.instance import InstanceState
from tests.fakes.ec2.errors import AwsError, bad_combination, missing
from tests.fakes.ec2.filters import Fields, check_ids, page, selected
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.settings import ACCOUNT
from tests.fakes.ec2.tables import Instance, Tags, Volume
from tests.fakes.ec2.tags import tags_for, written
from tests.fakes.ec2.tokens import once
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply

_SIZES: Final = {
    "gp2": (1, 16384),
    "gp3": (1, 65536),
    "io1": (4, 16384),
    "io2": (4, 65536),
    "st1": (125, 16384),
    "sc1": (125, 16384),
    "standard": (1, 1024),
}
_IOPS: Final = {"gp3": (3000, 80000), "io1": (100, 64000), "io2": (100, 256000)}
_THROUGHPUT: Final = (125, 2000)
_DEVICE: Final = re.compile(r"/dev/(sd[a-z]\d*|xvd[a-z]{1,2}\d*)|xvd[a-z]{1,2}")


@dataclass(frozen=True, slots=True)
class Disk:
    """A volume to be made."""

    device: str
    gibibytes: int
    type: str
    iops: int | None = None
    throughput: int | None = None
    encrypted: bool = False
    kms_key: str | None = None
    snapshot: str = ""
    delete_on_termination: bool = False


def check_disk(device: str, ebs: Mapping[str, Any], of_image: Disk | None = None) -> Disk:
    """Return the volume that a launch asks for. `of_image` is what the image has on that device."""
    snapshot = ebs.get("SnapshotId", of_image.snapshot if of_image else "")
    size = ebs.get("VolumeSize", of_image.gibibytes if of_image else None)
    if size is None:
        raise missing("BlockDeviceMapping.Ebs.VolumeSize or SnapshotId")
    if of_image and size < of_image.gibibytes:
        raise AwsError(
            "InvalidBlockDeviceMapping",
            f"Volume of size {size}GB is smaller than snapshot '{snapshot}', expect size >= {of_image.gibibytes}GB",
        )
    doomed = ebs.get("DeleteOnTermination", True)  # what is made by a launch goes with it unless one says otherwise
    return _checked(device, ebs, size, snapshot, doomed=doomed)


def _checked(device: str, ebs: Mapping[str, Any], size: int, snapshot: str, *, doomed: bool) -> Disk:
    kind = ebs.get("VolumeType", "gp3" if device else "gp2")
    low, high = _SIZES[kind]
    if not low <= size <= high:
        raise AwsError(
            "InvalidParameterValue", f"Volume size of {size} GiB is invalid for {kind}: from {low} to {high}"
        )
    iops, throughput = ebs.get("Iops"), ebs.get("Throughput")
    if iops is not None and kind not in _IOPS:
        raise bad_combination(f"The parameter iops is not supported for {kind} volumes.")
    if iops is None and kind in ("io1", "io2"):
        raise missing("Iops")
    if iops is not None and not _IOPS[kind][0] <= iops <= _IOPS[kind][1]:
        raise AwsError("InvalidParameterValue", f"Iops of {iops} is invalid for {kind}: from {_IOPS[kind][0]} on")
    if throughput is not None and kind != "gp3":
        raise bad_combination(f"The parameter throughput is not supported for {kind} volumes.")
    if throughput is not None and not _THROUGHPUT[0] <= throughput <= _THROUGHPUT[1]:
        raise AwsError("InvalidParameterValue", f"Throughput of {throughput} is invalid: from 125 to 2000")
    if ebs.get("KmsKeyId") and not ebs.get("Encrypted"):
        raise AwsError(
            "InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set."
        )
    if kind == "gp3":
        iops, throughput = iops or 3000, throughput or 125
    if kind == "gp2":
        iops = max(100, min(16000, 3 * size))
    return Disk(
        device, size, kind, iops, throughput, ebs.get("Encrypted", False), ebs.get("KmsKeyId"), snapshot, doomed
    )


def make_volume(world: World, disk: Disk, zone: str, tags: Tags) -> Volume:
    volume = Volume(
        id=world.new_id("vol"),
        zone=zone,
        gibibytes=disk.gibibytes,
        type=disk.type,
        created_at=world.now(),
        iops=disk.iops,
        throughput=disk.throughput,
        encrypted=disk.encrypted,
        kms_key=disk.kms_key,
        snapshot=disk.snapshot,
        tags=dict(tags),
    )
    world.volumes[volume.id] = volume
    return volume


def attach(world: World, volume: Volume, instance: Instance, device: str, *, doomed: bool) -> None:
    volume.instance, volume.device, volume.attached_at = instance.id, device, world.now()
    volume.delete_on_termination = doomed
    instance.volumes.append(volume)
    instance.written = None


def create_volume(world: World, asked: Asked) -> Reply:
    zone = asked.get("AvailabilityZone")
    if zone is None:
        raise missing("AvailabilityZone")
    if zone not in world.zones:
        raise AwsError("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
    if "Size" not in asked:
        raise missing("Size or SnapshotId")
    disk = _checked("", asked, asked["Size"], asked.get("SnapshotId", ""), doomed=False)
    tags = tags_for(asked, "volume")["volume"]
    made = once(world, "CreateVolume", asked, lambda: make_volume(world, disk, zone, tags).id)
    if made not in world.volumes:
        raise AwsError("IdempotentParameterMismatch", f"The volume {made} of this client token has been deleted")
    return {name: value for name, value in _shown(world.volumes[made]).items() if name != "Attachments"}


def describe_volumes(world: World, asked: Asked) -> Reply:
    ids = asked.get("VolumeIds")
    check_ids(ids, world.volumes, "InvalidVolume.NotFound", "volume")
    found = [world.volumes[one] for one in ids] if ids else list(world.volumes.values())
    found = selected(found, asked, _fields, lambda volume: volume.tags)
    shown, token = page(found, asked, ids=ids)
    return {"Volumes": [_shown(one) for one in shown], "NextToken": token}


def attach_volume(world: World, asked: Asked) -> Reply:
    volume, device = _volume(world, asked["VolumeId"]), asked["Device"]
    instance = world.instances.get(asked["InstanceId"])
    if instance is None or (state := world.state(instance.id)) is InstanceState.GONE:
        raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{asked['InstanceId']}' does not exist")
    if not _DEVICE.fullmatch(device):
        raise AwsError("InvalidParameterValue", f"Value ({device}) for parameter device is invalid.")
    if state not in (InstanceState.RUNNING, InstanceState.STOPPED):
        raise AwsError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if volume.instance:
        raise AwsError("VolumeInUse", f"{volume.id} is already attached to an instance")
    if volume.zone != instance.subnet.zone:
        raise AwsError(
            "InvalidVolume.ZoneMismatch", f"The volume '{volume.id}' is not in the same availability zone as instance"
        )
    if any(one.device == device for one in instance.volumes):
        raise AwsError(
            "InvalidParameterValue",
            f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use",
        )
    attach(world, volume, instance, device, doomed=False)
    return _attachment(volume) | {"State": "attaching"}


def detach_volume(world: World, asked: Asked) -> Reply:
    volume = _volume(world, asked["VolumeId"])
    if not volume.instance or asked.get("InstanceId", volume.instance) != volume.instance:
        raise AwsError("IncorrectState", f"Volume '{volume.id}' is in the 'available' state.")
    instance = world.instances[volume.instance]
    root = volume.device == instance.image.root
    if root and world.state(instance.id) is not InstanceState.STOPPED:
        raise AwsError("OperationNotPermitted", f"Unable to detach root volume '{volume.id}' from instance")
    answer = _attachment(volume) | {"State": "detaching"}
    world.detach_volume(volume)
    return answer


def delete_volume(world: World, asked: Asked) -> Reply:
    volume = _volume(world, asked["VolumeId"])
    if volume.instance:
        raise AwsError("VolumeInUse", f"Volume {volume.id} is currently attached to {volume.instance}")
    del world.volumes[volume.id]
    return {}


def _volume(world: World, volume_id: str) -> Volume:
    if volume_id not in world.volumes:
        raise AwsError("InvalidVolume.NotFound", f"The volume '{volume_id}' does not exist.")
    return world.volumes[volume_id]


def _attachment(volume: Volume) -> dict[str, Any]:
    return {
        "VolumeId": volume.id,
        "InstanceId": volume.instance,
        "Device": volume.device,
        "State": "attached",
        "AttachTime": volume.attached_at,
        "DeleteOnTermination": volume.delete_on_termination,
    }


def _state(volume: Volume) -> str:
    return "in-use" if volume.instance else "available"


def _shown(volume: Volume) -> dict[str, Any]:
    return {
        "VolumeId": volume.id,
        "Size": volume.gibibytes,
        "SnapshotId": volume.snapshot,
        "AvailabilityZone": volume.zone,
        "State": _state(volume),
        "CreateTime": volume.created_at,
        "Attachments": [_attachment(volume)] if volume.instance else [],
        "Tags": written(volume.tags),
        "VolumeType": volume.type,
        "Iops": volume.iops,
        "Throughput": volume.throughput,
        "Encrypted": volume.encrypted,
        "KmsKeyId": volume.kms_key and f"arn:aws:kms:{volume.zone[:-1]}:{ACCOUNT}:key/{volume.kms_key}",
        "MultiAttachEnabled": False,
    }


_fields: Final[Fields[Volume]] = {
    "volume-id": lambda one: one.id,
    "availability-zone": lambda one: one.zone,
    "status": _state,
    "volume-type": lambda one: one.type,
    "size": lambda one: str(one.gibibytes),
    "snapshot-id": lambda one: one.snapshot,
    "attachment.instance-id": lambda one: one.instance or None,
    "attachment.device": lambda one: one.device or None,
    "attachment.status": lambda one: "attached" if one.instance else None,
    "attachment.delete-on-termination": lambda one: str(one.delete_on_termination).lower() if one.instance else None,
}
