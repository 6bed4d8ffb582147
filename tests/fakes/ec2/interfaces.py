"""Network interfaces: with an instance, or by themselves."""

from typing import Any, Final

from infrakit_py.model.instance import InstanceState
from tests.fakes.ec2.errors import AwsError
from tests.fakes.ec2.filters import Fields, check_ids, page, selected
from tests.fakes.ec2.launching import find_interface, find_subnet
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.settings import ACCOUNT, VPC
from tests.fakes.ec2.tables import Interface, Subnet, Tags
from tests.fakes.ec2.tags import tags_for, written
from tests.fakes.ec2.tokens import once
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply


def make_interface(
    world: World,
    subnet: Subnet,
    *,
    groups: tuple[str, ...],
    wanted: str | None,
    description: str,
    tags: Tags,
    ipv6: tuple[str, ...] = (),
) -> Interface:
    address = world.take_address(subnet, wanted)
    interface = Interface(
        world.new_id("eni"), subnet, address, groups, world.now(), description, ipv6, tags=dict(tags)
    )
    world.interfaces[interface.id] = interface
    return interface


def new_ipv6(world: World) -> str:
    return f"2a05:d014::{world.number():x}"


def mac_of(interface: Interface) -> str:
    digits = interface.id[4:14]
    return "02:" + ":".join(digits[at : at + 2] for at in range(0, 10, 2))


def name_of(private_ip: str, region: str) -> str:
    return f"ip-{private_ip.replace('.', '-')}.{region}.compute.internal"


def public_name_of(public_ip: str, region: str) -> str:
    return f"ec2-{public_ip.replace('.', '-')}.{region}.compute.amazonaws.com" if public_ip else ""


def public_ip_of(world: World, interface: Interface) -> str:
    address = world.address_of(interface)
    return address.public_ip if address else interface.public_ip


def association(world: World, interface: Interface) -> dict[str, Any] | None:
    public_ip = public_ip_of(world, interface)
    if not public_ip:
        return None
    owner = ACCOUNT if world.address_of(interface) else "amazon"
    name = public_name_of(public_ip, world.settings.region)
    return {"IpOwnerId": owner, "PublicIp": public_ip, "PublicDnsName": name}


def create_network_interface(world: World, asked: Asked) -> Reply:
    subnet = find_subnet(world, asked["SubnetId"])
    check_ids(asked.get("Groups"), world.groups, "InvalidGroup.NotFound", "security group")
    groups = tuple(asked.get("Groups", ())) or (next(iter(world.groups)),)
    tags = tags_for(asked, "network-interface")["network-interface"]

    def make() -> str:
        interface = make_interface(
            world,
            subnet,
            groups=groups,
            wanted=asked.get("PrivateIpAddress"),
            description=asked.get("Description", ""),
            tags=tags,
            ipv6=tuple(new_ipv6(world) for _ in range(asked.get("Ipv6AddressCount", 0))),
        )
        return interface.id

    made = once(world, "CreateNetworkInterface", asked, make)
    return {"NetworkInterface": _shown(world, find_interface(world, made)), "ClientToken": asked.get("ClientToken")}


def describe_network_interfaces(world: World, asked: Asked) -> Reply:
    ids = asked.get("NetworkInterfaceIds")
    check_ids(ids, world.interfaces, "InvalidNetworkInterfaceID.NotFound", "networkInterface ID")
    found = [world.interfaces[one] for one in ids] if ids else list(world.interfaces.values())
    fields = {**_fields, "association.public-ip": lambda one: public_ip_of(world, one) or None}
    shown, token = page(selected(found, asked, fields, lambda one: one.tags), asked, ids=ids)
    return {"NetworkInterfaces": [_shown(world, one) for one in shown], "NextToken": token}


def delete_network_interface(world: World, asked: Asked) -> Reply:
    interface = find_interface(world, asked["NetworkInterfaceId"])
    if interface.instance:
        raise AwsError("InvalidParameterValue", f"Network interface '{interface.id}' is currently in use.")
    if address := world.address_of(interface):
        world.disassociate(address)
    world.forget_interface(interface)
    return {}


def modify_network_interface_attribute(world: World, asked: Asked) -> Reply:
    interface = find_interface(world, asked["NetworkInterfaceId"])
    if set(asked) - {"NetworkInterfaceId", "Groups", "DryRun"}:
        raise AwsError("UnsupportedOperation", "The fake changes an interface's groups only")
    for id_ in asked["Groups"]:
        if id_ not in world.groups:
            raise AwsError("InvalidGroup.NotFound", f"The security group '{id_}' does not exist")
    interface.groups = tuple(asked["Groups"])
    world.changed(interface.instance)
    return {}


def attach_network_interface(world: World, asked: Asked) -> Reply:
    interface = find_interface(world, asked["NetworkInterfaceId"])
    instance = world.instances.get(asked["InstanceId"])
    if instance is None or (state := world.state(instance.id)) is InstanceState.GONE:
        raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{asked['InstanceId']}' does not exist")
    if state not in (InstanceState.RUNNING, InstanceState.STOPPED):
        raise AwsError("IncorrectState", f"Instance '{instance.id}' is not 'running' or 'stopped'.")
    if interface.instance:
        raise AwsError("InvalidNetworkInterface.InUse", f"Interface: [{interface.id}] in use.")
    if interface.subnet.zone != instance.subnet.zone:
        raise AwsError("InvalidParameterCombination", "The instance and the interface are in different zones")
    index = asked["DeviceIndex"]
    if any(one.device_index == index for one in instance.interfaces):
        raise AwsError(
            "InvalidParameterValue",
            f"Instance '{instance.id}' already has an interface attached at device index '{index}'.",
        )
    interface.instance, interface.attachment = instance.id, world.new_id("eni-attach")
    interface.device_index, interface.attached_at = index, world.now()
    interface.delete_on_termination = False
    instance.interfaces.append(interface)
    instance.written = None
    return {"AttachmentId": interface.attachment, "NetworkCardIndex": 0}


def detach_network_interface(world: World, asked: Asked) -> Reply:
    wanted = asked["AttachmentId"]
    found = next((one for one in world.interfaces.values() if one.attachment == wanted), None)
    if found is None:
        raise AwsError("InvalidAttachmentID.NotFound", f"The interface attachment '{wanted}' does not exist")
    if found.device_index == 0:
        raise AwsError("OperationNotPermitted", "The network interface at device index 0 cannot be detached.")
    world.detach_interface(found)
    return {}


def _shown(world: World, one: Interface) -> dict[str, Any]:
    region = world.settings.region
    attachment = None
    if one.instance:
        attachment = {
            "AttachmentId": one.attachment,
            "InstanceId": one.instance,
            "InstanceOwnerId": ACCOUNT,
            "DeviceIndex": one.device_index,
            "Status": "attached",
            "AttachTime": one.attached_at,
            "DeleteOnTermination": one.delete_on_termination,
        }
    public = association(world, one)
    return {
        "NetworkInterfaceId": one.id,
        "SubnetId": one.subnet.id,
        "VpcId": VPC,
        "AvailabilityZone": one.subnet.zone,
        "Description": one.description,
        "OwnerId": ACCOUNT,
        "Status": _status(one),
        "MacAddress": mac_of(one),
        "PrivateIpAddress": one.private_ip,
        "PrivateDnsName": name_of(one.private_ip, region),
        "PrivateIpAddresses": [{"PrivateIpAddress": one.private_ip, "Primary": True, "Association": public}],
        "Ipv6Addresses": [{"Ipv6Address": address} for address in one.ipv6],
        "SourceDestCheck": True,
        "RequesterManaged": False,
        "InterfaceType": "interface",
        "Groups": [{"GroupId": id_, "GroupName": world.groups[id_].name} for id_ in one.groups],
        "Attachment": attachment,
        "Association": public,
        "TagSet": written(one.tags),
    }


def _status(one: Interface) -> str:
    return "in-use" if one.instance else "available"


_fields: Final[Fields[Interface]] = {
    "network-interface-id": lambda one: one.id,
    "subnet-id": lambda one: one.subnet.id,
    "vpc-id": lambda _: VPC,
    "availability-zone": lambda one: one.subnet.zone,
    "status": _status,
    "description": lambda one: one.description,
    "group-id": lambda one: one.groups,
    "private-ip-address": lambda one: one.private_ip,
    "addresses.private-ip-address": lambda one: one.private_ip,
    "mac-address": mac_of,
    "attachment.instance-id": lambda one: one.instance or None,
    "attachment.attachment-id": lambda one: one.attachment or None,
    "attachment.device-index": lambda one: str(one.device_index) if one.instance else None,
    "attachment.status": lambda one: "attached" if one.instance else None,
}
