"""The network interfaces of named members: a private address that outlives its machines."""

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
from infrakit_providers.aws.machine import Machine
from infrakit_py.errors import ProviderError
from infrakit_py.model import tags
from infrakit_py.spi.provider import Leftover, ProvisionRequest

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import CreateNetworkInterfaceRequestTypeDef, NetworkInterfaceTypeDef

INTERFACE: Final = "network interface"
_log: Final = structlog.get_logger("infrakit.aws")


class Interfaces:
    """Safe for threads."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def of(self, member: Member) -> "NetworkInterfaceTypeDef | None":
        """Return a member's interface; of several, that with the lowest id."""
        found = self._listed(of_member(member), f"find the interface of {member.name}")
        return min(found, key=lambda one: one["NetworkInterfaceId"], default=None)

    def made(
        self, request: ProvisionRequest, member: Member, machine: Machine, zone: str, subnet_id: str | None
    ) -> "NetworkInterfaceTypeDef":
        """Return a member's interface, made where there is none. ProviderError for one that is in another zone."""
        interface = self.of(member) or self._make(request, member, machine, zone, subnet_id)
        where = interface["AvailabilityZone"]
        if where != zone:
            raise ProviderError(
                f"{request.name}: its interface {interface['NetworkInterfaceId']} is in {where}, and the machine in "
                f"{zone}",
                hint="an interface never leaves its zone: let the machine be there, or delete the interface",
            )
        self._regroup(request, machine, interface)
        return interface

    def by_id(self, interface_id: str) -> "NetworkInterfaceTypeDef | None":
        filters = [{"Name": "network-interface-id", "Values": [interface_id]}]  # no error where there is none
        return next(iter(self._listed(filters, f"look at {interface_id}")), None)

    def leftovers(self, cluster: str) -> list[Leftover]:
        """Return all kept interfaces of a cluster."""
        left = []
        for one in self._listed(of_cluster(cluster), f"list the interfaces of {cluster}"):
            held = tags_of(one)
            if tags.owned_by(held, cluster) and KEY in held:
                name = f"{held[KEY]}: {one.get('PrivateIpAddress', '')}"
                left.append(Leftover(one["NetworkInterfaceId"], INTERFACE, name, held[tags.GROUP]))
        return sorted(left, key=lambda one: (one.group, one.name, one.id))

    def remove(self, cluster: str, interface_id: str, promised: Promises) -> None:
        """Delete a cluster's interface that nobody has. Gone already is fine."""
        del promised  # a machine has its interface from the first moment
        interface = self.by_id(interface_id)
        if interface is None:
            return
        check_ours(cluster, tags_of(interface), interface_id)
        if interface.get("Attachment"):
            raise ProviderError(f"aws: interface {interface_id} is in use by {holder_of(interface) or 'AWS'}")
        try:
            self._caller.act(
                Kind.MUTATE, "ec2", "delete_network_interface", f"delete interface {interface_id}",
                NetworkInterfaceId=interface_id,
            )  # fmt: skip
        except ProviderError as exc:
            if vendor_code(exc) != "InvalidNetworkInterfaceID.NotFound":
                raise
        _log.info("interface deleted", interface=interface_id)

    def _listed(self, filters: Any, doing: str) -> "list[NetworkInterfaceTypeDef]":
        pages = self._caller.pages("ec2", "describe_network_interfaces", doing, Filters=filters)
        return [one for page in pages for one in page["NetworkInterfaces"]]

    def _make(
        self, request: ProvisionRequest, member: Member, machine: Machine, zone: str, subnet_id: str | None
    ) -> "NetworkInterfaceTypeDef":
        subnet = subnet_id or self._default_subnet(zone)

        def make(token: str) -> "NetworkInterfaceTypeDef":
            answer = self._caller.once(
                Kind.MUTATE, "ec2", "create_network_interface", f"make the interface of {request.name}",
                **_parameters(member, machine, subnet, token),
            )  # fmt: skip
            interface: NetworkInterfaceTypeDef = answer["NetworkInterface"]
            return interface

        interface = made_once(request, INTERFACE, make, lambda: self.of(member))
        _log.info("interface made", member=member.name, interface=interface["NetworkInterfaceId"], zone=zone)
        return interface

    def _regroup(self, request: ProvisionRequest, machine: Machine, interface: "NetworkInterfaceTypeDef") -> None:
        """Put an interface into the security groups that its next machine is to be in."""
        now = {one["GroupId"] for one in interface.get("Groups", ())}
        if not machine.security_groups or now == set(machine.security_groups):
            return
        self._caller.act(
            Kind.MUTATE, "ec2", "modify_network_interface_attribute",
            f"change the security groups of {request.name}'s interface",
            NetworkInterfaceId=interface["NetworkInterfaceId"], Groups=list(machine.security_groups),
        )  # fmt: skip
        _log.info("interface regrouped", interface=interface["NetworkInterfaceId"])

    def _default_subnet(self, zone: str) -> str:
        filters = [{"Name": "default-for-az", "Values": ["true"]}, {"Name": "availability-zone", "Values": [zone]}]
        answer = self._caller.ask("ec2", "describe_subnets", f"find the default subnet of {zone}", Filters=filters)
        if not answer["Subnets"]:
            raise ProviderError(f"aws: there is no default subnet in {zone}", hint="write machine.subnets instead")
        return str(answer["Subnets"][0]["SubnetId"])


def holder_of(interface: "NetworkInterfaceTypeDef") -> str | None:
    """Return the instance that has an interface."""
    attachment = interface.get("Attachment") or {}
    return attachment.get("InstanceId") if attachment.get("Status") != "detached" else None


def _parameters(
    member: Member, machine: Machine, subnet_id: str, token: str
) -> "CreateNetworkInterfaceRequestTypeDef":
    parameters: CreateNetworkInterfaceRequestTypeDef = {
        "SubnetId": subnet_id,
        "Description": f"infrakit: {member.name}",
        "ClientToken": token,
        "TagSpecifications": [tag_specification("network-interface", member, machine.tags.interfaces)],
    }
    if machine.security_groups:
        parameters["Groups"] = list(machine.security_groups)
    if machine.ipv6:
        parameters["Ipv6AddressCount"] = machine.ipv6
    return parameters
