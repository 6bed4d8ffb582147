"""Instances as they get external addresses, and lose them."""

from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import invalid
from tests.fakes.gce.instances import begin_on, find_instance
from tests.fakes.gce.links import path
from tests.fakes.gce.operations import show_operation
from tests.fakes.gce.shown import status_of
from tests.fakes.gce.site import Site
from tests.fakes.gce.tables import Instance, Interface
from tests.fakes.gce.wished_interfaces import read_reserved
from tests.fakes.gce.world import World


def add_access_config(world: World, asked: Asked) -> Checked:
    """Give an interface an external address: one that is reserved, or any."""
    instance, body = find_instance(world, asked), asked.body
    interface = _interface(instance, asked["networkInterface"])
    if interface.external:
        raise invalid("resource", interface.name, "At most one access config can be specified.")
    subnet = path(f"regions/{interface.subnet.region}", "subnetworks", interface.subnet.name)
    asked.permit("compute.subnetworks.useExternalIp", subnet)
    wanted = body.get("natIP")
    address = read_reserved(Site(world, asked, instance.zone), wanted, "resource.natIP") if wanted else None
    if address:
        address.user = instance.machine

    def then() -> None:
        if instance.released:
            if address:
                address.user = ""
            return
        interface.external, interface.address, instance.written = True, address, None
        interface.access_name = body.get("name", "External NAT")
        interface.tier = body.get("networkTier", "PREMIUM")
        running = status_of(world, instance, world.machine(instance)) != "TERMINATED"
        interface.nat_ip = address.ip if address else world.public_ip() if running else ""

    op = begin_on(world, asked, "addAccessConfig", instance, then=then)
    world.settle()
    return show_operation(world, op)


def delete_access_config(world: World, asked: Asked) -> Checked:
    """Take an interface's external address. One that is reserved stays so."""
    instance = find_instance(world, asked)
    interface = _interface(instance, asked["networkInterface"])
    if not interface.external or interface.access_name != asked["accessConfig"]:
        raise invalid("accessConfig", asked["accessConfig"], "No such access config on the network interface.")

    def then() -> None:
        if interface.address:
            interface.address.user = ""
        interface.external, interface.address, interface.nat_ip, instance.written = False, None, "", None

    op = begin_on(world, asked, "deleteAccessConfig", instance, then=then)
    world.settle()
    return show_operation(world, op)


def _interface(instance: Instance, name: str) -> Interface:
    for one in instance.interfaces:
        if one.name == name:
            return one
    raise invalid("networkInterface", name, "The instance has no such network interface.")
