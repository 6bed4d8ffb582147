"""The data disks of named members: made with their first machine, attached to one after another, never shrunk.

A disk's name follows from its member's, so none is made twice in a zone. Only a sweep deletes them. It knows nothing
of what is on them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.disks import DataDisk
from infrakit_providers.gcp.families import default_disk_type
from infrakit_providers.gcp.faults import AlreadyThere, NotThere
from infrakit_providers.gcp.fields import region_of
from infrakit_providers.gcp.instance_body import Attachment
from infrakit_providers.gcp.kept import Member, Promises, labels_of, others, owner_in, scoped
from infrakit_providers.gcp.labels import filter_of, key_of
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.names import address_of, kept_name
from infrakit_providers.gcp.operations import Operation, last
from infrakit_providers.gcp.wire import Sighting
from infrakit_py.errors import NotOurs, ProviderError, Transient
from infrakit_py.spi.provider import Leftover, ProvisionRequest

DISK: Final = "infrakit.disk"
"""On a disk that is kept, and on nothing else: which of its member's data disks it is."""
DATA_DISK: Final = "data disk"

_FINISH_SECONDS: Final = 10.0
_DELETING: Final = "DELETING"
_FAILED: Final = "FAILED"
_log: Final = structlog.get_logger("infrakit.gcp")


@dataclass(frozen=True, slots=True)
class _Disk:
    """A disk as Compute Engine shows it. `used`: it was attached at least once, so there may be something on it."""

    zone: str
    name: str
    labels: Mapping[str, str]
    users: tuple[str, ...]
    status: str
    gib: int
    type: str
    used: bool

    @property
    def id(self) -> str:
        return f"{self.zone}/{self.name}"


class KeptDisks:
    """Safe for threads."""

    def __init__(self, caller: Caller, region: Callable[[], str]) -> None:
        self._caller = caller
        self._region = region

    def zone_of(self, member: Member, machine: Machine) -> str | None:
        """Return the zone that a member's disks are in, if it has any. ProviderError for more than one."""
        zones = {disk.zone: f"data disk {name} in {disk.zone}" for name, disk in self._of(member, machine).items()}
        if len(zones) > 1:
            raise ProviderError(
                f"gcp: what {member.name} keeps is in more than one zone: {', '.join(sorted(zones.values()))}",
                hint="move the data by a snapshot, and delete what is in the wrong zone",
            )
        return next(iter(zones), None)

    def attachments(
        self, request: ProvisionRequest, member: Member, machine: Machine, zone: str
    ) -> tuple[Attachment, ...]:
        """Return how a machine gets its disks: those that there are, and those that are made with it.

        Transient while a predecessor has one. ProviderError for one that is in another zone.
        """
        found = self._of(member, machine)
        attachments: list[Attachment] = []
        for disk in machine.data_disks:
            name = _name(member, disk.name)
            seen = found.get(disk.name) or self._look(zone, name)
            if seen is None:
                attachments.append(Attachment(disk, name, labels=_labels(member, machine, disk)))
            else:
                _check(request, member, disk, seen, zone)
                _require_free(request, disk, seen)
                attachments.append(Attachment(disk, name, source=self._path(seen)))
        return tuple(attachments)

    def attach(self, request: ProvisionRequest, member: Member, machine: Machine, seen: Sighting) -> None:
        """Attach what a machine that runs is without; a disk that somebody has deleted is made anew. Idempotent.

        Transient while somebody else has a disk.
        """
        for disk in machine.data_disks:
            if has_disk(seen, member, disk.name):
                continue
            name = _name(member, disk.name)
            found = self._look(seen.zone, name)
            if found is None:
                found = self._made(request, member, machine, disk, seen)
            _check(request, member, disk, found, seen.zone)
            _require_free(request, disk, found)
            if not found.users:  # else it is attached by now
                self._attach(disk, found, seen)

    def leftovers(self, cluster: str) -> list[Leftover]:
        """Return all data disks of a cluster in the region."""
        left = []
        for disk in self._listed(_kept_by(cluster), f"list the data disks of {cluster}"):
            owner, what = owner_in(disk.labels), disk.labels.get(_label(), "")
            if owner is not None and owner.cluster == cluster:
                name = f"{owner.key}: {what}"
                left.append(Leftover(disk.id, DATA_DISK, name, owner.group, holds_data=True))
        return sorted(left, key=lambda one: (one.group, one.name, one.id))

    def remove(self, cluster: str, disk_id: str, promised: Promises) -> Operation | None:
        """Begin to delete a cluster's disk that nobody has or will get. None: it is gone already."""
        address = address_of(disk_id)
        disk = self._look(address.zone, address.name) if address is not None else None
        if disk is None or disk.status == _DELETING:
            return None
        owner, what = owner_in(disk.labels), disk.labels.get(_label())
        if owner is None or owner.cluster != cluster or what is None:
            raise NotOurs(f"gcp: disk {disk_id} is nothing that cluster {cluster} keeps")
        user = last(disk.users[0]) if disk.users else promised.get((owner.group, owner.key, what))
        if user is not None:
            raise ProviderError(f"gcp: data disk {disk_id} is in use by {user}")
        try:
            operation = self._caller.act(
                "disks", "delete", f"delete data disk {disk_id}", zone=disk.zone, disk=disk.name
            )
        except NotThere:
            return None
        _log.info("data disk deleted", disk=disk_id)
        return operation

    def _of(self, member: Member, machine: Machine) -> dict[str, _Disk]:
        """Return a member's disks in the region by the names that the user wrote.

        Of two with one name (in two zones) it is that which has been used: the other came of a machine that was not
        to be had there, and nothing is on it. Of two like that, that in the first zone.
        """
        names = {_name(member, disk.name): disk.name for disk in machine.data_disks}
        if not names:
            return {}
        wanted = " OR ".join(f'(name="{name}")' for name in names)
        listed = self._listed(wanted, f"find the data disks of {member.name}")
        found: dict[str, _Disk] = {}
        for disk in sorted(listed, key=lambda one: (not one.used, one.zone)):
            known = found.setdefault(names[disk.name], disk)
            if known is not disk and disk.used:
                raise ProviderError(
                    f"gcp: data disk {names[disk.name]} of {member.name} is in two zones: {known.id} and {disk.id}",
                    hint="keep the one whose data is wanted, and delete the other",
                )
        return found

    def _listed(self, filter_: str, doing: str) -> Iterator[_Disk]:
        for page in self._caller.pages("disks", "aggregated_list", doing, filter=filter_):
            for scope, raw in scoped(page, "disks"):
                if raw.zone and region_of(scope) == self._region() and raw.status != _DELETING:
                    yield _disk(raw)

    def _look(self, zone: str, name: str) -> _Disk | None:
        try:
            return _disk(self._caller.ask("disks", "get", f"look at disk {zone}/{name}", zone=zone, disk=name))
        except NotThere:
            return None

    def _made(
        self, request: ProvisionRequest, member: Member, machine: Machine, disk: DataDisk, seen: Sighting
    ) -> _Disk:
        name = _name(member, disk.name)
        doing = f"make data disk {disk.name} of {request.name}"
        try:
            operation = self._caller.act(
                "disks", "insert", doing, zone=seen.zone, disk_resource=_body(member, machine, disk, seen)
            )
            self._caller.finish(operation, doing, within_seconds=_FINISH_SECONDS)
            _log.info("data disk made", disk=f"{seen.zone}/{name}", member=member.name)
        except AlreadyThere:
            pass  # somebody else was quicker
        made = self._look(seen.zone, name)
        if made is None:
            raise Transient(f"{request.name}: data disk {disk.name} ({seen.zone}/{name}) is gone again")
        return made

    def _attach(self, disk: DataDisk, found: _Disk, seen: Sighting) -> None:
        doing = f"attach data disk {disk.name} ({found.id}) to {seen.name}"
        body = {"source": self._path(found), "device_name": disk.name, "auto_delete": False}
        operation = self._caller.act(
            "instances", "attach_disk", doing, zone=seen.zone, instance=seen.name, attached_disk_resource=body
        )
        self._caller.finish(operation, doing, within_seconds=_FINISH_SECONDS)
        _log.info("data disk attached", disk=found.id, instance=seen.id)

    def _path(self, disk: _Disk) -> str:
        return f"projects/{self._caller.project}/zones/{disk.zone}/disks/{disk.name}"


def has_disk(seen: Sighting, member: Member | None, name: str) -> bool:
    """Tell whether a machine has a disk: under its device's name, or by hand under another."""
    return name in seen.disks or (member is not None and _name(member, name) in seen.disks.values())


def _name(member: Member, disk: str) -> str:
    return kept_name(member.cluster, member.group, member.key, f"disk-{disk}")


def _label() -> str:
    return key_of(DISK) or DISK


def _labels(member: Member, machine: Machine, disk: DataDisk) -> Mapping[str, str]:
    return labels_of(member, machine.labels, DISK, disk.name)


def _kept_by(cluster: str) -> str:
    return f"({filter_of(cluster)}) (labels.{_label()}:*)"


def _disk(raw: Any) -> _Disk:
    return _Disk(
        zone=last(raw.zone),
        name=raw.name,
        labels=dict(raw.labels),
        users=tuple(raw.users),
        status=raw.status,
        gib=raw.size_gb,
        type=last(raw.type_),
        used=bool(raw.last_attach_timestamp or raw.users),
    )


def _body(member: Member, machine: Machine, disk: DataDisk, seen: Sighting) -> Mapping[str, Any]:
    """Describe a disk as it would have been made with its machine."""
    body: dict[str, Any] = {
        "name": _name(member, disk.name),
        "size_gb": disk.gib,
        "type_": f"zones/{seen.zone}/diskTypes/{disk.type or default_disk_type(seen.type)}",
        "labels": _labels(member, machine, disk),
    }
    if disk.iops is not None:
        body["provisioned_iops"] = disk.iops
    if disk.throughput is not None:
        body["provisioned_throughput"] = disk.throughput
    if disk.kms_key is not None:
        body["disk_encryption_key"] = {"kms_key_name": disk.kms_key}
    return body


def _check(request: ProvisionRequest, member: Member, disk: DataDisk, seen: _Disk, zone: str) -> None:
    what = f"{request.name}: data disk {disk.name} ({seen.id})"
    if owner_in(seen.labels) != member:
        raise ProviderError(
            f"{what} is not labelled as {member.name}'s",
            hint="if it is, label it: "
            + ", ".join(f"{key}={value}" for key, value in labels_of(member, {}, DISK, disk.name).items()),
        )
    if seen.zone != zone:
        raise ProviderError(
            f"{what} is not in {zone}, where the machine is",
            hint="a disk never leaves its zone: let the machine be there, or move the data by a snapshot",
        )
    if seen.status == _FAILED:
        raise ProviderError(
            f"{what} has failed at Compute Engine",
            hint="look at it in the console, and delete it if its data can be lost",
        )
    if seen.status == _DELETING:
        raise Transient(f"{what} is being deleted")
    if seen.gib != disk.gib or (disk.type is not None and seen.type != disk.type):
        _log.debug("data disk is not as written, and stays as it is", disk=seen.id, size_gib=seen.gib, type=seen.type)


def _require_free(request: ProvisionRequest, disk: DataDisk, seen: _Disk) -> None:
    if holders := others(request, seen.users):
        holder = f"{seen.zone}/{holders[0]}"
        raise Transient(f"{request.name}: data disk {disk.name} ({seen.id}) is still attached to {holder}")
