"""What belongs to a named member and outlives its machines: data disks, an address, an interface.

All are told apart by tags alone. It knows which a machine asks for, and in which order they come to it; how each is
made and given away is the business of its own module.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from infrakit_providers.aws import data_volumes, interfaces
from infrakit_providers.aws.addresses import ADDRESS, Addresses
from infrakit_providers.aws.calls import Caller
from infrakit_providers.aws.data_volumes import DATA_DISK, DataVolumes
from infrakit_providers.aws.interfaces import INTERFACE, Interfaces
from infrakit_providers.aws.kept import Member, Promises, disks_in, holder, member_of, promises, tags_of
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.places import ADDRESS as ADDRESS_TAG
from infrakit_providers.aws.places import DISKS, spread
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.spi.provider import Leftover, Outcome, ProvisionRequest


class Belongings:
    """The kept things of all clusters of an account and region. Safe for threads."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._volumes = DataVolumes(caller)
        self._interfaces = Interfaces(caller)
        self._addresses = Addresses(caller, self._interfaces)

    def zone_of(self, cluster: str, group: str, key: str, machine: Machine) -> tuple[str, str | None] | None:
        """Return the zone of what is kept for a member, and its interface's subnet. None: nothing ties it to a zone.

        ProviderError where it is in more than one.
        """
        member = Member(cluster, group, key)
        zones: dict[str, str] = {}
        subnet_id: str | None = None
        if machine.data_disks:
            found = self._volumes.of(member)
            for disk in machine.data_disks:
                if (volume := found.get(disk.name)) is not None:
                    zones.setdefault(volume["AvailabilityZone"], f"data disk {disk.name} ({volume['VolumeId']})")
        if machine.keep_interface and (interface := self._interfaces.of(member)) is not None:
            subnet_id = interface["SubnetId"]
            zones.setdefault(interface["AvailabilityZone"], f"interface {interface['NetworkInterfaceId']}")
        if len(zones) > 1:
            raise ProviderError(
                f"aws: what {member.name} keeps is in more than one zone: "
                + ", ".join(f"{what} in {zone}" for zone, what in sorted(zones.items())),
                hint="move the data by a snapshot, and delete what is in the wrong zone",
            )
        return next(((zone, subnet_id) for zone in zones), None)

    def prepare(self, request: ProvisionRequest, machine: Machine, zone: str, subnet_id: str | None) -> str | None:
        """Make what is missing of what a machine keeps, and return its interface's id, if it keeps one.

        Idempotent, also for several processes at once; what a crash left half done is found again. Transient while a
        predecessor has a disk or the interface. ProviderError where something is in another zone.
        """
        if not _keeps(machine):
            return None
        member = member_of(request)
        held: list[tuple[str, str | None]] = []
        if machine.data_disks:
            made = self._volumes.made(request, member, machine, zone)
            for name, volume in made.items():
                held.append((f"data disk {name} ({volume['VolumeId']})", data_volumes.holder_of(volume)))
        interface_id = None
        if machine.keep_interface:
            interface = self._interfaces.made(request, member, machine, zone, subnet_id)
            interface_id = interface["NetworkInterfaceId"]
            held.append((f"interface {interface_id}", interfaces.holder_of(interface)))
        if machine.elastic_ip:
            self._addresses.made(request, member)
        self._check_free(request, held)
        return interface_id

    def lacks(self, cluster: str, instances: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
        """Return what running instances of a cluster, as EC2 describes them, lack of what their tags promise."""
        wanted = {one["InstanceId"]: tags_of(one) for one in instances}
        wanted = {id_: held for id_, held in wanted.items() if DISKS in held or ADDRESS_TAG in held}
        attached = self._volumes.attached(cluster) if any(DISKS in held for held in wanted.values()) else {}
        has_address = any(ADDRESS_TAG in held for held in wanted.values())
        associated = self._addresses.associated(cluster) if has_address else frozenset[str]()
        lacking: dict[str, list[str]] = {}
        for id_, held in wanted.items():
            for name in disks_in(held):
                state = attached.get((id_, name), "")
                if state not in ("attached", "busy"):
                    lacking.setdefault(id_, []).append(f"data disk {name} is {state or 'not attached'}")
            if ADDRESS_TAG in held and id_ not in associated:
                lacking.setdefault(id_, []).append("its address is not associated")
        return {id_: "; ".join(what) for id_, what in lacking.items()}

    def tags_for(self, machine: Machine, named: bool) -> dict[str, str]:
        """Return the tags that say on an instance what it shall have: for the call that makes it. Pure."""
        if not named:
            return {}
        own = spread(DISKS, [f"{disk.name}={disk.device}" for disk in machine.data_disks])
        return own | ({ADDRESS_TAG: "yes"} if machine.elastic_ip else {})

    def complete(self, request: ProvisionRequest, machine: Machine, instance_id: str, zone: str) -> None:
        """Give a machine that runs its disks and its address. Idempotent.

        Transient while it does not run, or somebody else still has what is its own.
        """
        if not machine.data_disks and not machine.elastic_ip:
            return
        member = member_of(request)
        itself = holder(self._caller, instance_id)
        if itself is None or itself.state != "running":
            state = itself.state if itself is not None else "not there"
            raise Transient(f"{request.name}: {instance_id} gets its own when it runs; it is {state}")
        if machine.data_disks:
            volumes = self._volumes.made(request, member, machine, zone)
            for disk in machine.data_disks:
                self._volumes.attach(request, disk, volumes[disk.name], instance_id)
        if machine.elastic_ip:
            self._addresses.associate(request, member, instance_id)

    def leftovers(self, cluster: str) -> list[Leftover]:
        """Return all that is kept for members of a cluster, in use or not."""
        return [
            *self._volumes.leftovers(cluster),
            *self._addresses.leftovers(cluster),
            *self._interfaces.leftovers(cluster),
        ]

    def sweep(self, cluster: str, leftovers: Sequence[Leftover], new: Collection[str] = ()) -> list[Outcome]:
        """Delete what is kept for a cluster, and return an outcome for each in order. Idempotent.

        NotOurs for anything that does not carry the cluster's tags, ProviderError for what is in use: also by a
        machine that is there and has not got it yet. `new` are instances so new that listings may miss them.
        """
        if not leftovers:
            return []
        try:
            promised = promises(self._caller, cluster, new)
        except ProviderError as exc:
            return [Outcome(error=exc) for _ in leftovers]
        return [self._swept(cluster, leftover, promised) for leftover in leftovers]

    def _swept(self, cluster: str, leftover: Leftover, promised: Promises) -> Outcome:
        kinds = {
            DATA_DISK: self._volumes.remove, ADDRESS: self._addresses.remove, INTERFACE: self._interfaces.remove
        }  # fmt: skip
        remove = kinds.get(leftover.kind)
        if remove is None:
            return Outcome(error=ProviderError(f"aws: {leftover.id} is a {leftover.kind}, and nothing that is kept"))
        try:
            remove(cluster, leftover.id, promised)
        except ProviderError as exc:
            return Outcome(error=exc)
        return Outcome()

    def _check_free(self, request: ProvisionRequest, held: Sequence[tuple[str, str | None]]) -> None:
        """Raise Transient while something is with another machine than the request's own."""
        own: set[str] = set()
        for what, instance_id in held:
            if instance_id is None or instance_id in own:
                continue
            other = holder(self._caller, instance_id)
            if other is not None and other.token == request.token:
                own.add(instance_id)
                continue
            state = other.state if other is not None else "gone"
            raise Transient(f"{request.name}: {what} is still attached to {instance_id}, which is {state}")


def _keeps(machine: Machine) -> bool:
    return bool(machine.data_disks) or machine.elastic_ip or machine.keep_interface
