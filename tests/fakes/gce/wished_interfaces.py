"""What a launch says of networks, checked against the project before anything is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.fakes.gce.errors import in_use, invalid
from tests.fakes.gce.links import path, read_link
from tests.fakes.gce.site import Part, Site, unhonoured
from tests.fakes.gce.tables import Address, Subnet

_HONOURED_OF_INTERFACES: Final = frozenset(
    {"network", "subnetwork", "networkIP", "accessConfigs", "nicType", "stackType", "name", "kind"}
)


@dataclass(frozen=True, slots=True)
class InterfaceWish:
    subnet: Subnet
    ip: str
    """That is wanted; empty for any."""
    internal: Address | None
    external: bool
    address: Address | None
    access_name: str
    tier: str
    asked: Part


def read_interfaces(site: Site, given: Sequence[Part]) -> tuple[InterfaceWish, ...]:
    where = f"{site.where}.networkInterfaces"
    if not given:
        raise invalid(where, "", "At least one network interface is required.")
    wishes = tuple(_interface(site, one, f"{where}[{i}]") for i, one in enumerate(given))
    networks = [one.subnet.network for one in wishes]
    if len(set(networks)) < len(networks):
        raise invalid(where, "", "Each network interface must be in a network of its own.")
    return wishes


def _interface(site: Site, one: Part, where: str) -> InterfaceWish:
    unhonoured(where, one, _HONOURED_OF_INTERFACES)
    subnet = _subnet(site, one, where)
    subnet_path = path(f"regions/{site.region}", "subnetworks", subnet.name)
    site.asked.permit("compute.subnetworks.use", subnet_path)
    configs = one.get("accessConfigs", [])
    if len(configs) > 1:
        raise invalid(f"{where}.accessConfigs", "", "At most one access config can be specified.")
    config = configs[0] if configs else {}
    if configs:
        site.asked.permit("compute.subnetworks.useExternalIp", subnet_path)
    ip, nat_ip = one.get("networkIP", ""), config.get("natIP", "")
    if site.bulk and (ip or nat_ip):
        raise invalid(where, ip or nat_ip, "An address cannot be used with more than one instance.")
    return InterfaceWish(
        subnet=subnet,
        ip=ip,
        internal=_internal(site, subnet, ip, f"{where}.networkIP") if ip else None,
        external=bool(configs),
        address=read_reserved(site, nat_ip, f"{where}.accessConfigs[0].natIP") if nat_ip else None,
        access_name=config.get("name", "External NAT"),
        tier=config.get("networkTier", "PREMIUM"),
        asked={name: one[name] for name in ("nicType",) if name in one},
    )


def _subnet(site: Site, one: Part, where: str) -> Subnet:
    world, region = site.world, site.region
    network = None
    if "network" in one:
        network = read_link(one["network"], "networks", f"{where}.network")[2]
        if network not in world.networks:
            raise invalid(f"{where}.network", one["network"], "The referenced network resource cannot be found.")
    if "subnetwork" not in one:
        found = world.subnets.get((region, network or "default"))
        if found is None or network == "private":
            raise invalid(f"{where}.subnetwork", "", "A network in custom subnet mode needs a subnetwork.")
        return found
    _, scope, name = read_link(one["subnetwork"], "subnetworks", f"{where}.subnetwork")
    found = world.subnets.get((scope.removeprefix("regions/"), name))
    if found is None:
        raise invalid(f"{where}.subnetwork", one["subnetwork"], "The referenced subnetwork resource cannot be found.")
    if found.region != region or (network and found.network != network):
        raise invalid(f"{where}.subnetwork", one["subnetwork"], f"It must be in region {region} and in the network.")
    return found


def _internal(site: Site, subnet: Subnet, ip: str, field_: str) -> Address | None:
    world = site.world
    try:
        offset = world.offset(subnet, ip)
    except ValueError as exc:
        raise invalid(field_, ip, "It is no IP address.") from exc
    if offset is None:
        raise invalid(field_, ip, f"It is not in the range {subnet.range} of the subnetwork.")
    reserved = next((one for one in world.addresses.values() if one.subnet is subnet and one.ip == ip), None)
    if reserved:
        where = path(reserved.scope, "addresses", reserved.name)
        site.asked.permit("compute.addresses.useInternal", where)
        if reserved.user:
            raise in_use(where, world.instances[reserved.user].path)
    elif offset in subnet.taken:
        user = next(one for one in world.instances.values() if any(nic.ip == ip for nic in one.interfaces))
        raise in_use(ip, user.path)
    return reserved


def read_reserved(site: Site, ip: str, field_: str) -> Address:
    """Return the reserved external address that is meant. GceError where there is none, or an instance has it."""
    for one in site.world.addresses.values():
        if one.ip == ip and one.kind == "EXTERNAL" and one.scope == f"regions/{site.region}":
            where = path(one.scope, "addresses", one.name)
            site.asked.permit("compute.addresses.use", where)
            if one.user:
                raise in_use(where, site.world.instances[one.user].path)
            return one
    raise invalid(field_, ip, f"The specified external IP address '{ip}' was not found in region '{site.region}'.")
