"""Elastic addresses. There is no client token: who asks twice has two."""

from typing import Any, Final

from infrakit_py.model.instance import InstanceState
from tests.fakes.ec2.errors import AwsError, missing
from tests.fakes.ec2.filters import Fields, check_ids, selected
from tests.fakes.ec2.launching import find_interface
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.settings import ACCOUNT
from tests.fakes.ec2.tables import Address, Interface
from tests.fakes.ec2.tags import tags_for, written
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply

_MOST_BITS: Final = 256


def allocate_address(world: World, asked: Asked) -> Reply:
    if len(world.addresses) >= world.settings.address_quota:
        raise AwsError("AddressLimitExceeded", "The maximum number of addresses has been reached.")
    tags = tags_for(asked, "elastic-ip")["elastic-ip"]
    number = world.number()
    public_ip = f"3.{64 + number // 65536 % 128}.{number // _MOST_BITS % _MOST_BITS}.{number % _MOST_BITS}"
    address = Address(world.new_id("eipalloc"), public_ip, tags)
    world.addresses[address.id] = address
    region = world.settings.region
    return {
        "AllocationId": address.id,
        "PublicIp": public_ip,
        "Domain": "vpc",
        "PublicIpv4Pool": "amazon",
        "NetworkBorderGroup": region,
    }


def describe_addresses(world: World, asked: Asked) -> Reply:
    ids = asked.get("AllocationIds")
    check_ids(ids, world.addresses, "InvalidAllocationID.NotFound", "allocation ID")
    found = [world.addresses[one] for one in ids] if ids else list(world.addresses.values())
    if ips := asked.get("PublicIps"):
        check_ids(ips, {one.public_ip for one in found}, "InvalidAddress.NotFound", "address")
        found = [one for one in found if one.public_ip in ips]
    fields: Fields[Address] = {
        "allocation-id": lambda one: one.id,
        "association-id": lambda one: one.association or None,
        "public-ip": lambda one: one.public_ip,
        "domain": lambda _: "vpc",
        "network-interface-id": lambda one: one.interface or None,
        "instance-id": lambda one: _holder(world, one).instance or None if one.interface else None,
    }
    return {"Addresses": [_shown(world, one) for one in selected(found, asked, fields, lambda one: one.tags)]}


def associate_address(world: World, asked: Asked) -> Reply:
    address = _address(world, asked)
    interface = _interface(world, asked)
    if address.interface == interface.id:
        return {"AssociationId": address.association}
    if address.interface and not asked.get("AllowReassociation"):
        raise AwsError(
            "Resource.AlreadyAssociated",
            f"resource {address.id} is already associated with associate-id {address.association}",
        )
    before = world.address_of(interface)
    if before and not asked.get("AllowReassociation"):
        raise AwsError("Resource.AlreadyAssociated", f"resource {interface.id} is already associated with an address")
    for one in (address, before):
        if one:
            world.disassociate(one)
    address.association, address.interface = world.new_id("eipassoc"), interface.id
    world.changed(interface.instance)
    return {"AssociationId": address.association}


def disassociate_address(world: World, asked: Asked) -> Reply:
    wanted = asked.get("AssociationId")
    if not wanted:
        raise missing("AssociationId")
    found = next((one for one in world.addresses.values() if one.association == wanted), None)
    if found is None:
        raise AwsError("InvalidAssociationID.NotFound", f"The association ID '{wanted}' does not exist")
    world.disassociate(found)
    return {}


def release_address(world: World, asked: Asked) -> Reply:
    address = _address(world, asked)
    if address.association:
        raise AwsError("InvalidIPAddress.InUse", f"Address {address.public_ip} is in use.")
    del world.addresses[address.id]
    return {}


def _address(world: World, asked: Asked) -> Address:
    if "AllocationId" not in asked:
        raise missing("AllocationId")
    if asked["AllocationId"] not in world.addresses:
        raise AwsError("InvalidAllocationID.NotFound", f"The allocation ID '{asked['AllocationId']}' does not exist")
    return world.addresses[asked["AllocationId"]]


def _interface(world: World, asked: Asked) -> Interface:
    if "NetworkInterfaceId" in asked:
        return find_interface(world, asked["NetworkInterfaceId"])
    instance_id = asked.get("InstanceId")
    if instance_id is None:
        raise missing("InstanceId or NetworkInterfaceId")
    instance = world.instances.get(instance_id)
    state = world.state(instance_id) if instance else InstanceState.GONE
    if instance is None:
        raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist")
    if state not in (InstanceState.RUNNING, InstanceState.STOPPED):
        raise AwsError(
            "InvalidInstanceID", f"The instance '{instance_id}' is not in a valid state for this operation."
        )
    if len(instance.interfaces) > 1:
        raise AwsError("InvalidInstanceID", f"There are multiple interfaces attached to instance '{instance_id}'.")
    return instance.interfaces[0]


def _holder(world: World, one: Address) -> Interface:
    return world.interfaces[one.interface]


def _shown(world: World, one: Address) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "AllocationId": one.id,
        "PublicIp": one.public_ip,
        "Domain": "vpc",
        "PublicIpv4Pool": "amazon",
        "NetworkBorderGroup": world.settings.region,
        "Tags": written(one.tags),
    }
    if one.interface:
        interface = _holder(world, one)
        shown |= {
            "AssociationId": one.association,
            "NetworkInterfaceId": interface.id,
            "NetworkInterfaceOwnerId": ACCOUNT,
            "PrivateIpAddress": interface.private_ip,
            "InstanceId": interface.instance or None,
        }
    return shown
