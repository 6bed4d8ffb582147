"""The Elastic IP addresses of named members. EC2 takes no client token for them, so one looks before and after."""

from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import structlog

from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.interfaces import Interfaces
from infrakit_providers.aws.kept import (
    KEY,
    Member,
    Promises,
    check_ours,
    holder,
    is_of,
    of_cluster,
    of_member,
    tag_specification,
    tags_of,
    vendor_code,
)
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.model import tags
from infrakit_py.spi.provider import Leftover, ProvisionRequest

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import AddressTypeDef

ADDRESS: Final = "address"
_GONE: Final = frozenset({"InvalidAllocationID.NotFound", "InvalidAddress.NotFound"})
_log: Final = structlog.get_logger("infrakit.aws")


class Addresses:
    """Safe for threads."""

    def __init__(self, caller: Caller, interfaces: Interfaces) -> None:
        self._caller = caller
        self._interfaces = interfaces
        self._allocating = Lock()

    def made(self, request: ProvisionRequest, member: Member) -> "AddressTypeDef":
        """Return a member's address, after making it where there is none.

        Of several it is that with the lowest id. Who has just made one gives back all that are too many: none was
        there a moment ago, so that somebody else has made them at the same time, and will find this one.
        """
        with self._allocating:
            if found := self._of(member):
                return found[0]
            own = self._allocate(request, member)
            found = [own, *(one for one in self._of(member) if _id(one) != _id(own))]
            first = min(found, key=_id)
            for one in found:
                if one is not first and not one.get("AssociationId"):
                    self._give_back(one)
            return first

    def associate(self, request: ProvisionRequest, member: Member, instance_id: str) -> None:
        """Give a machine that runs its member's address. Idempotent. Transient while a predecessor lives with it."""
        found = self._of(member)
        if any(one.get("InstanceId") == instance_id for one in found):
            return
        address = found[0] if found else self.made(request, member)
        if address.get("AssociationId"):
            self._free(request, member, address)
        doing = f"associate {address['PublicIp']} ({_id(address)}) with {instance_id}"
        try:
            self._caller.act(
                Kind.MUTATE, "ec2", "associate_address", doing,
                AllocationId=_id(address), InstanceId=instance_id, AllowReassociation=False,
            )  # fmt: skip
        except ProviderError as exc:
            if vendor_code(exc) not in _GONE:
                raise
            raise Transient(str(exc)) from exc  # given back by who was not the first: there is another one
        _log.info("address associated", address=address["PublicIp"], instance=instance_id)

    def associated(self, cluster: str) -> frozenset[str]:
        """Return the instances that have an address of the cluster's."""
        found = self._listed(of_cluster(cluster), f"list the addresses of {cluster}")
        return frozenset(one["InstanceId"] for one in found if one.get("InstanceId"))

    def leftovers(self, cluster: str) -> list[Leftover]:
        """Return all addresses of a cluster."""
        left = []
        for one in self._listed(of_cluster(cluster), f"list the addresses of {cluster}"):
            held = tags_of(one)
            if tags.owned_by(held, cluster) and KEY in held:
                left.append(Leftover(_id(one), ADDRESS, f"{held[KEY]}: {one['PublicIp']}", held[tags.GROUP]))
        return sorted(left, key=lambda one: (one.group, one.name, one.id))

    def remove(self, cluster: str, allocation_id: str, promised: Promises) -> None:
        """Release a cluster's address that nobody has or will get. Gone already is fine."""
        address = self._by_id(allocation_id)
        if address is None:
            return
        held = tags_of(address)
        check_ours(cluster, held, allocation_id)
        if user := promised.get((held[tags.GROUP], held[KEY], "")):
            raise ProviderError(f"aws: address {address['PublicIp']} ({allocation_id}) is in use by {user}")
        if address.get("AssociationId"):
            self._check_unused(cluster, address)
            self._disassociate(address)
        self._release(address)

    def _of(self, member: Member) -> "list[AddressTypeDef]":
        return sorted(self._listed(of_member(member), f"find the address of {member.name}"), key=_id)

    def _listed(self, filters: Any, doing: str) -> "list[AddressTypeDef]":
        answer = self._caller.ask("ec2", "describe_addresses", doing, Filters=filters)
        found: list[AddressTypeDef] = answer["Addresses"]
        return found

    def _by_id(self, allocation_id: str) -> "AddressTypeDef | None":
        filters = [{"Name": "allocation-id", "Values": [allocation_id]}]  # no error where there is none
        return next(iter(self._listed(filters, f"look at {allocation_id}")), None)

    def _allocate(self, request: ProvisionRequest, member: Member) -> "AddressTypeDef":
        # Once: a repetition would make a second one if only the reply was lost. The next call looks first.
        answer = self._caller.once(
            Kind.MUTATE, "ec2", "allocate_address", f"allocate an address for {request.name}",
            Domain="vpc", TagSpecifications=[tag_specification("elastic-ip", member, {})],
        )  # fmt: skip
        _log.info("address allocated", member=member.name, address=answer["PublicIp"])
        return {"AllocationId": answer["AllocationId"], "PublicIp": answer["PublicIp"]}

    def _give_back(self, address: "AddressTypeDef") -> None:
        try:
            self._release(address)
        except ProviderError as exc:
            if vendor_code(exc) != "InvalidIPAddress.InUse":  # then somebody has found it, and uses it
                raise

    def _free(self, request: ProvisionRequest, member: Member, address: "AddressTypeDef") -> None:
        """Take an address from a predecessor that is on its way out.

        What was looked at is what is undone: an association that somebody made since has another id.
        """
        instance_id = address.get("InstanceId")
        what = f"{request.name}: its address {address['PublicIp']}"
        if instance_id:
            has_it = holder(self._caller, instance_id)
            if has_it is not None and has_it.lives:
                if has_it.member == member:
                    raise Transient(f"{what} is still that of {instance_id}, which is {has_it.state}")
                raise ProviderError(
                    f"{what} is associated with {instance_id}, which is none of its machines",
                    hint="disassociate it, if it is not needed there",
                )
        else:
            interface_id = address.get("NetworkInterfaceId", "")
            interface = self._interfaces.by_id(interface_id)
            if interface is not None and not is_of(member, tags_of(interface)):
                raise ProviderError(
                    f"{what} is associated with {interface_id}, which is not its interface",
                    hint="disassociate it, if it is not needed there",
                )
        self._disassociate(address)

    def _check_unused(self, cluster: str, address: "AddressTypeDef") -> None:
        """Raise ProviderError unless an address is associated with nothing but an idle interface of the cluster's."""
        what = f"aws: address {address['PublicIp']} ({_id(address)})"
        if instance_id := address.get("InstanceId"):
            raise ProviderError(f"{what} is in use by {instance_id}")
        interface_id = address.get("NetworkInterfaceId", "")
        interface = self._interfaces.by_id(interface_id)
        if interface is None:
            return
        held = tags_of(interface)
        if interface.get("Attachment") or not tags.owned_by(held, cluster) or KEY not in held:
            raise ProviderError(f"{what} is in use by {interface_id}")

    def _disassociate(self, address: "AddressTypeDef") -> None:
        try:
            self._caller.act(
                Kind.MUTATE, "ec2", "disassociate_address", f"disassociate {address['PublicIp']}",
                AssociationId=address["AssociationId"],
            )  # fmt: skip
        except ProviderError as exc:
            if vendor_code(exc) != "InvalidAssociationID.NotFound":
                raise

    def _release(self, address: "AddressTypeDef") -> None:
        try:
            self._caller.act(
                Kind.MUTATE, "ec2", "release_address", f"release {address['PublicIp']}", AllocationId=_id(address)
            )
        except ProviderError as exc:
            if vendor_code(exc) not in _GONE:
                raise
        _log.info("address released", address=address["PublicIp"])


def _id(address: "AddressTypeDef") -> str:
    return address["AllocationId"]
