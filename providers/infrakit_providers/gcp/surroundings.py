"""What is wrong with what a group's machines are joined to: networks, and what hands work to them. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final

from infrakit_providers.gcp.diagnoses import Case, Remark, machines, summed
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.operations import last
from infrakit_py.spi.provider import Finding, Grade

_NEVER_GIVEN: Final = 4
"""Addresses of a subnetwork that no machine gets. Source: VPC documentation, "Subnets", unusable addresses."""
_FOR_MACHINES: Final = ("", "PRIVATE")


@dataclass(frozen=True, slots=True)
class Network:
    """A network. `subnetworks` are their paths by region; `is_automatic`: it makes one in each region by itself."""

    name: str
    is_automatic: bool
    is_legacy: bool = False
    subnetworks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subnetwork:
    """A subnetwork. `stack` and `access` say which addresses of IPv6 there are."""

    path: str
    network: str
    addresses: str = ""
    purpose: str = ""
    stack: str = ""
    access: str = ""

    @property
    def room(self) -> int:
        """Return how many machines find an address in it when it is empty."""
        return max(0, ip_network(self.addresses).num_addresses - _NEVER_GIVEN) if self.addresses else 0


@dataclass(frozen=True, slots=True)
class BackendService:
    """A backend service: its instance groups by their zone, and what else hands work on for it."""

    groups: Mapping[str, frozenset[str]]
    others: tuple[str, ...] = ()
    draining_seconds: int = 0


def of_network(case: Case, written: str, region: str, network: Network | None) -> Finding | None:
    """Judge a network in which no subnetwork is named. None where there is nothing but the subnetwork to judge."""
    about = case.about("network")
    if network is None:
        hint = "make it, or write another network or subnetwork"
        return Finding(about, Grade.PROBLEM, f"there is no network {written}", hint)
    if network.is_legacy:
        return Finding(about, Grade.OK, f"{network.name}, without subnetworks")
    if not network.is_automatic:
        text = f"in the network {network.name} a machine must name its subnetwork"
        known = network.subnetworks.get(region)
        return Finding(about, Grade.PROBLEM, text, f"write subnetwork{f': {last(known)}' if known else ', too'}")
    if region not in network.subnetworks:
        text = f"the network {network.name} has no subnetwork in {region}"
        return Finding(about, Grade.PROBLEM, text, "make one, or write another network")
    return None


def of_subnetwork(case: Case, written: str, subnetwork: Subnetwork | None) -> Finding:
    """Judge a subnetwork."""
    about = case.about("network")
    if subnetwork is None:
        hint = "make it, or write another one of the provider's region"
        return Finding(about, Grade.PROBLEM, f"there is no subnetwork {written}", hint)
    fine = f"{subnetwork.network}, subnetwork {last(subnetwork.path)} ({subnetwork.addresses})"
    return summed(about, fine, _of_subnetwork(case.machine, subnetwork))


def _of_subnetwork(machine: Machine, subnetwork: Subnetwork) -> Iterator[Remark]:
    name, other = last(subnetwork.path), "write another subnetwork"
    if machine.network is not None and last(machine.network) != subnetwork.network:
        text = f"the subnetwork {name} is of the network {subnetwork.network}, not {last(machine.network)}"
        yield Remark(Grade.PROBLEM, text, "leave network out")
    if subnetwork.purpose not in _FOR_MACHINES:
        yield Remark(Grade.PROBLEM, f"{name} is not for machines, but for {subnetwork.purpose}", other)
    if subnetwork.stack == "IPV6_ONLY":
        yield Remark(Grade.PROBLEM, f"{name} has no addresses of IPv4", other)
    if machine.ipv6 != "none" and subnetwork.access != machine.ipv6.upper():
        has = f"only {subnetwork.access.lower()} ones" if subnetwork.access else "none"
        text = f"machines shall have {machine.ipv6} addresses of IPv6, and {name} has {has}"
        yield Remark(Grade.PROBLEM, text, "write ipv6 as the subnetwork has it")


def of_room(cases: Iterable[tuple[Case, Subnetwork]]) -> Iterator[Finding]:
    """Judge whether all groups' machines find addresses at all. How many are taken, nobody tells."""
    wanted: dict[str, int] = {}
    subnetworks: dict[str, Subnetwork] = {}
    for case, subnetwork in cases:
        wanted[subnetwork.path] = wanted.get(subnetwork.path, 0) + case.count
        subnetworks[subnetwork.path] = subnetwork
    for path, count in wanted.items():
        room = subnetworks[path].room
        if subnetworks[path].addresses and count > room:
            text = f"{machines(count)} wanted in all, and {subnetworks[path].addresses} has {room} addresses for them"
            yield Finding(f"subnetwork {last(path)}", Grade.PROBLEM, text, "take a larger subnetwork")


def of_backend_services(case: Case, services: Mapping[str, BackendService | None]) -> Iterator[Finding]:
    """Judge the backend services of a group, each by itself and all together."""
    for name, service in services.items():
        about = case.about(f"backend service {name}")
        if service is None:
            hint = "make it, or leave it out; one of a region is written as regions/REGION/NAME"
            yield Finding(about, Grade.PROBLEM, "it does not exist in the project", hint)
            continue
        groups = sorted({group for zone in case.zones for group in service.groups.get(zone, ())})
        fine = f"groups {', '.join(groups)} in {', '.join(case.zones)}; drains {service.draining_seconds}s"
        yield summed(about, fine, _of_service(case.zones, service))
    there = [service for service in services.values() if service is not None]
    if apart := [zone for zone in case.zones if _have_no_group_in_common(there, zone)]:
        text = f"they have no instance group in common in {', '.join(apart)}, and a machine serves in one only"
        hint = "let the services share one instance group in each zone"
        yield Finding(case.about("backend services"), Grade.WARNING, text, hint)


def _of_service(zones: Sequence[str], service: BackendService) -> Iterator[Remark]:
    lacking = [zone for zone in zones if not service.groups.get(zone)]
    hint = "add an unmanaged instance group of each zone to it, or leave the zone out"
    if lacking:
        text = f"it has no instance group in {', '.join(lacking)}"
        if service.others:
            text += f", but {', '.join(service.others)}"
        yield Remark(Grade.PROBLEM, text, hint)


def _have_no_group_in_common(services: Sequence[BackendService], zone: str) -> bool:
    groups = [found for service in services if (found := service.groups.get(zone))]
    return len(groups) > 1 and not frozenset.intersection(*groups)


def of_target_pool(case: Case, name: str, *, exists: bool, region: str) -> Finding:
    """Judge a target pool."""
    about = case.about(f"target pool {name}")
    if exists:
        return Finding(about, Grade.OK, f"in {region}")
    return Finding(about, Grade.PROBLEM, f"there is none in {region}", "make it, or leave it out")
