"""The EBS volumes of named members: made once, attached to one machine after another, never shrunk.

Only a sweep deletes them. It knows nothing of what is on them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.kept import (
    KEY,
    Member,
    Promises,
    check_ours,
    made_once,
    of_cluster,
    of_member,
    tag_specification,
    tags_of,
    vendor_code,
)
from infrakit_providers.aws.launch_parameters import is_encrypted
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.places import NAME, PREFIX
from infrakit_providers.aws.volumes import DataDisk
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.model import tags
from infrakit_py.spi.provider import Leftover, ProvisionRequest

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import CreateVolumeRequestTypeDef, VolumeAttachmentTypeDef, VolumeTypeDef

DISK: Final = f"{PREFIX}disk"
"""On a volume: which of its member's data disks it is."""
DATA_DISK: Final = "data disk"

_GOING: Final = ("deleting", "deleted")
_TOO_EARLY: Final = frozenset({"IncorrectState", "IncorrectInstanceState", "VolumeInUse"})
_log: Final = structlog.get_logger("infrakit.aws")


class DataVolumes:
    """Safe for threads."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def of(self, member: Member) -> "dict[str, VolumeTypeDef]":
        """Return a member's volumes by the names of its disks. Of two with one name it is the older."""
        found = self._listed(of_member(member, DISK), f"find the data disks of {member.name}")
        found.sort(key=lambda one: (one["CreateTime"], one["VolumeId"]), reverse=True)
        return {tags_of(one)[DISK]: one for one in found}

    def made(
        self, request: ProvisionRequest, member: Member, machine: Machine, zone: str
    ) -> "Mapping[str, VolumeTypeDef]":
        """Return a machine's volumes by the names of its disks, after making those that are missing.

        ProviderError for one that is in another zone.
        """
        found = self.of(member)
        for disk in machine.data_disks:
            if (volume := found.get(disk.name)) is not None:
                _check(request, disk, volume, zone)
        for disk in machine.data_disks:
            if disk.name not in found:
                found[disk.name] = self._make(request, member, machine, disk, zone)
                _check(request, disk, found[disk.name], zone)
        return {disk.name: found[disk.name] for disk in machine.data_disks}

    def attach(self, request: ProvisionRequest, disk: DataDisk, volume: "VolumeTypeDef", instance_id: str) -> None:
        """Attach a volume to a machine that runs. Idempotent. Transient while somebody else has it."""
        if _is_with(request, disk, volume, instance_id):
            return
        volume_id = volume["VolumeId"]
        doing = f"attach data disk {disk.name} ({volume_id}) to {instance_id}"
        try:
            self._caller.act(
                Kind.MUTATE, "ec2", "attach_volume", doing,
                VolumeId=volume_id, InstanceId=instance_id, Device=disk.device,
            )  # fmt: skip
        except ProviderError as exc:
            if vendor_code(exc) not in _TOO_EARLY:
                raise
            now = self._by_id(volume_id)
            if now is not None and _is_with(request, disk, now, instance_id):
                return  # an earlier call did it, or somebody else did it at the same time
            raise Transient(str(exc)) from exc
        _log.info("data disk attached", disk=disk.name, volume=volume_id, instance=instance_id)

    def attached(self, cluster: str) -> Mapping[tuple[str, str], str]:
        """Return the states of a cluster's attachments, by instance and disk."""
        states: dict[tuple[str, str], str] = {}
        for volume in self._listed(of_cluster(cluster, DISK), f"list the data disks of {cluster}"):
            for one in volume.get("Attachments", ()):
                states[one["InstanceId"], tags_of(volume)[DISK]] = one["State"]
        return states

    def leftovers(self, cluster: str) -> list[Leftover]:
        """Return all data disks of a cluster."""
        left = []
        for volume in self._listed(of_cluster(cluster, DISK), f"list the data disks of {cluster}"):
            held = tags_of(volume)
            if tags.owned_by(held, cluster) and KEY in held:
                name = f"{held[KEY]}: {held[DISK]}"
                left.append(Leftover(volume["VolumeId"], DATA_DISK, name, held[tags.GROUP], holds_data=True))
        return sorted(left, key=lambda one: (one.group, one.name, one.id))

    def remove(self, cluster: str, volume_id: str, promised: Promises) -> None:
        """Delete a cluster's volume that nobody has or will get. Gone already is fine."""
        volume = self._by_id(volume_id)
        if volume is None:
            return
        held = tags_of(volume)
        check_ours(cluster, held, volume_id)
        user = holder_of(volume) or promised.get((held[tags.GROUP], held[KEY], held.get(DISK, "")))
        if user is not None:
            raise ProviderError(f"aws: data disk {volume_id} is in use by {user}")
        try:
            self._caller.act(Kind.MUTATE, "ec2", "delete_volume", f"delete data disk {volume_id}", VolumeId=volume_id)
        except ProviderError as exc:
            if vendor_code(exc) != "InvalidVolume.NotFound":
                raise
        _log.info("data disk deleted", volume=volume_id)

    def _listed(self, filters: Any, doing: str) -> "list[VolumeTypeDef]":
        pages = self._caller.pages("ec2", "describe_volumes", doing, Filters=filters)
        return [volume for page in pages for volume in page["Volumes"] if volume["State"] not in _GOING]

    def _by_id(self, volume_id: str) -> "VolumeTypeDef | None":
        filters = [{"Name": "volume-id", "Values": [volume_id]}]  # no error where there is none
        return next(iter(self._listed(filters, f"look at {volume_id}")), None)

    def _make(
        self, request: ProvisionRequest, member: Member, machine: Machine, disk: DataDisk, zone: str
    ) -> "VolumeTypeDef":
        def make(token: str) -> "VolumeTypeDef":
            parameters = _parameters(member, machine, disk, zone, token)
            volume: VolumeTypeDef = self._caller.once(
                Kind.MUTATE, "ec2", "create_volume", f"make data disk {disk.name} of {request.name}", **parameters
            )
            return volume

        volume = made_once(request, f"data disk {disk.name}", make, lambda: self.of(member).get(disk.name))
        _log.info("data disk made", disk=disk.name, member=member.name, volume=volume["VolumeId"], zone=zone)
        return volume


def _parameters(
    member: Member, machine: Machine, disk: DataDisk, zone: str, token: str
) -> "CreateVolumeRequestTypeDef":
    user = {NAME: f"{member.name}/{disk.name}", **machine.tags.volumes}
    parameters: CreateVolumeRequestTypeDef = {
        "AvailabilityZone": zone,
        "Size": disk.gib,
        "VolumeType": disk.type,
        "ClientToken": token,
        "TagSpecifications": [tag_specification("volume", member, user, {DISK: disk.name})],
    }
    if disk.iops is not None:
        parameters["Iops"] = disk.iops
    if disk.throughput is not None:
        parameters["Throughput"] = disk.throughput
    if (encrypted := is_encrypted(disk)) is not None:
        parameters["Encrypted"] = encrypted
    if disk.kms_key is not None:
        parameters["KmsKeyId"] = disk.kms_key
    return parameters


def _check(request: ProvisionRequest, disk: DataDisk, volume: "VolumeTypeDef", zone: str) -> None:
    where = volume["AvailabilityZone"]
    if where != zone:
        raise ProviderError(
            f"{request.name}: data disk {disk.name} ({volume['VolumeId']}) is in {where}, and the machine in {zone}",
            hint="a volume never leaves its zone: let the machine be there, or move the data by a snapshot",
        )
    if volume["State"] == "error":
        raise ProviderError(
            f"{request.name}: data disk {disk.name} ({volume['VolumeId']}) has failed at EBS",
            hint="look at it in the console, and delete it if its data can be lost",
        )
    if (volume["Size"], volume["VolumeType"]) != (disk.gib, disk.type):
        _log.debug(
            "data disk is not as written, and stays as it is",
            volume=volume["VolumeId"], size_gib=volume["Size"], type=volume["VolumeType"],
        )  # fmt: skip


def _is_with(request: ProvisionRequest, disk: DataDisk, volume: "VolumeTypeDef", instance_id: str) -> bool:
    """Tell whether a machine has a volume. Transient while somebody has it who must give it up first."""
    what = f"{request.name}: data disk {disk.name} ({volume['VolumeId']})"
    attachment = _attachment(volume)
    if attachment is None:
        if volume["State"] != "available":
            raise Transient(f"{what} is {volume['State']}")
        return False
    if attachment["InstanceId"] != instance_id:
        raise Transient(f"{what} is still attached to {attachment['InstanceId']}")
    if attachment["State"] == "detaching":
        raise Transient(f"{what} is being detached from {instance_id}")
    return True


def _attachment(volume: "VolumeTypeDef") -> "VolumeAttachmentTypeDef | None":
    return next((one for one in volume.get("Attachments", ()) if one["State"] != "detached"), None)


def holder_of(volume: "VolumeTypeDef") -> str | None:
    """Return the instance that has a volume."""
    attachment = _attachment(volume)
    return attachment["InstanceId"] if attachment else None
