"""What belongs to a named member and outlives its machines: data disks and static addresses.

All of it comes to a machine with the call that makes it. It knows which a machine asks for, and what to do where
somebody has taken one away; how each is made and given back is the business of its own module.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from infrakit_providers.gcp.addresses import ADDRESS, Addresses
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.faults import NotThere
from infrakit_providers.gcp.instance_body import Attachment, access_config
from infrakit_providers.gcp.kept import (
    EXTERNAL,
    INTERNAL,
    Member,
    Promises,
    kept_by,
    member_of,
    notes,
    owner_in,
    promises,
)
from infrakit_providers.gcp.kept_disks import DATA_DISK, KeptDisks, has_disk
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.operations import Operation
from infrakit_providers.gcp.wire import Sighting
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.model.instance import InstanceId, InstanceState
from infrakit_py.spi.provider import Leftover, Now, Outcome, ProvisionRequest

_FINISH_SECONDS: Final = 10.0
_SWEEP_SECONDS: Final = 60.0
_INTERFACE: Final = "nic0"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the call that makes a machine says of its member's things. Addresses are empty where there are none."""

    attachments: tuple[Attachment, ...] = ()
    external_address: str = ""
    internal_address: str = ""


class Belongings:
    """The kept things of all clusters of a project and region. Safe for threads."""

    def __init__(self, caller: Caller, clock: Now, region: Callable[[], str]) -> None:
        self._caller = caller
        self._clock = clock
        self._disks = KeptDisks(caller, region)
        self._addresses = Addresses(caller, region)

    def zone_of(self, cluster: str, group: str, member: str, machine: Machine) -> str | None:
        """Return the zone of what is kept for a member. None: nothing ties it to a zone.

        ProviderError where it is in more than one.
        """
        return self._disks.zone_of(Member(cluster, group, member), machine) if machine.data_disks else None

    def prepare(self, request: ProvisionRequest, machine: Machine, zone: str) -> Prepared:
        """Reserve the addresses that a machine keeps, and return what the call that makes it says of its things.

        Idempotent, also for several processes at once; what a crash left half done is found again. Transient while a
        predecessor has a disk or an address. ProviderError where a disk is in another zone.
        """
        if not machine.keeps:
            return Prepared()
        member = member_of(request)
        attachments = self._disks.attachments(request, member, machine, zone)
        external = internal = ""
        if machine.external_ip == "static":
            external = self._addresses.reserved(request, member, machine, EXTERNAL)
        if machine.internal_ip == "static":
            internal = self._addresses.reserved(request, member, machine, INTERNAL)
        return Prepared(attachments, external, internal)

    def notes(self, machine: Machine, *, named: bool) -> dict[str, str]:
        """Return the labels that say on a machine what it is to have: for the call that makes it. Pure."""
        return notes(machine) if named else {}

    def lacks(self, sightings: Iterable[Sighting]) -> Mapping[InstanceId, str]:
        """Return what running machines lack of what their notes name. Pure."""
        lacking = {one.id: _lacking(one) for one in sightings if one.state is InstanceState.RUNNING}
        return {id_: "; ".join(what) for id_, what in lacking.items() if what}

    def complete(self, request: ProvisionRequest, machine: Machine, seen: Sighting) -> None:
        """Give a machine that runs what it lacks of its disks and addresses. Idempotent.

        Transient while it does not run, or somebody else still has what is its own.
        """
        if not machine.keeps:
            return
        member = member_of(request)
        if seen.state is not InstanceState.RUNNING:
            raise Transient(f"{request.name}: {seen.id} gets its own when it runs; it is {seen.status}")
        self._disks.attach(request, member, machine, seen)
        if machine.external_ip == "static" and not _has_external_address(seen):
            self._give_address(request, member, machine, seen)

    def leftovers(self, cluster: str) -> Sequence[Leftover]:
        """Return all that is kept for members of a cluster, in use or not."""
        return [*self._disks.leftovers(cluster), *self._addresses.leftovers(cluster)]

    def sweep(self, cluster: str, leftovers: Sequence[Leftover], new: Collection[str] = ()) -> list[Outcome]:
        """Delete what is kept for a cluster, and return an outcome for each in order. Idempotent.

        NotOurs for anything that is not kept for the cluster, ProviderError for what is in use: also by a machine
        that is there and has not got it yet. `new` are machines so new that listings may miss them.
        """
        if not leftovers:
            return []
        try:
            promised = promises(self._caller, cluster, new)
        except ProviderError as exc:
            return [Outcome(error=exc) for _ in leftovers]
        begun = self._caller.each(partial(self._remove, cluster, promised), leftovers)
        until = self._clock.now() + _SWEEP_SECONDS
        return [self._ended(one, leftover, until) for one, leftover in zip(begun, leftovers, strict=True)]

    def _remove(self, cluster: str, promised: Promises, leftover: Leftover) -> Operation | None:
        if leftover.kind == DATA_DISK:
            return self._disks.remove(cluster, leftover.id, promised)
        if leftover.kind == ADDRESS:
            return self._addresses.remove(cluster, leftover.id, promised)
        raise ProviderError(f"gcp: {leftover.id} is a {leftover.kind}, and nothing that is kept")

    def _ended(self, begun: Operation | ProviderError | None, leftover: Leftover, until: float) -> Outcome:
        """Wait for a deletion to end: all of a sweep's have the same time."""
        if isinstance(begun, ProviderError):
            return Outcome(error=begun)
        if begun is not None:
            left = max(0.0, until - self._clock.now())
            try:
                self._caller.finish(begun, f"delete {leftover.kind} {leftover.id}", within_seconds=left)
            except NotThere:
                return Outcome()  # somebody else was quicker
            except ProviderError as exc:
                return Outcome(error=exc)
        return Outcome()

    def _give_address(self, request: ProvisionRequest, member: Member, machine: Machine, seen: Sighting) -> None:
        address = self._addresses.reserved(request, member, machine, EXTERNAL)
        doing = f"give {address} to {seen.id}"
        operation = self._caller.act(
            "instances", "add_access_config", doing, zone=seen.zone, instance=seen.name,
            network_interface=_INTERFACE, access_config_resource=access_config(machine, address),
        )  # fmt: skip
        self._caller.finish(operation, doing, within_seconds=_FINISH_SECONDS)


def _lacking(seen: Sighting) -> list[str]:
    words = kept_by(seen.labels)
    member = owner_in(seen.labels) if words else None
    disks = [word for word in words if word not in (EXTERNAL, INTERNAL)]
    lacking = [f"data disk {disk} is not attached" for disk in disks if not has_disk(seen, member, disk)]
    if EXTERNAL in words and not _has_external_address(seen):
        lacking.append("its external address is not associated")
    return lacking


def _has_external_address(seen: Sighting) -> bool:
    """Tell whether a machine has any: it can have one only, and its internal address comes first."""
    return any("." in address for address in seen.addresses[1:])
