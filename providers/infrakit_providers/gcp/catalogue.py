"""What Compute Engine has of the things that groups name: types, networks, backend services, as our own values.

Each is asked for once. None, or nothing among many, is what does not exist.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.diagnoses import Quota, Reservation, Shape
from infrakit_providers.gcp.faults import NotThere
from infrakit_providers.gcp.fields import project_of
from infrakit_providers.gcp.operations import last
from infrakit_providers.gcp.surroundings import BackendService, Network, Subnetwork
from infrakit_py.errors import NoCapacity

_CUSTOM: Final = re.compile(r"(^|-)custom-")
"""Types that fit no list, because everybody makes their own."""
_GROUP: Final = re.compile(r"/zones/([^/]+)/instanceGroups/([^/]+)$")
_REGION: Final = re.compile(r"(?:^|/)regions/([^/]+)/")
_Thing = TypeVar("_Thing")


class Catalogue:
    """Asks for things of one region. For one examination: what it has learned, it does not ask again."""

    def __init__(self, caller: Caller, region: str) -> None:
        self._caller = caller
        self._region = region
        self._networks: dict[str, Network | None] = {}
        self._subnetworks: dict[str, Subnetwork | None] = {}
        self._services: dict[str, BackendService | None] = {}

    def quotas(self) -> tuple[Quota, ...]:
        return quotas_of(self._caller.ask("regions", "get", f"find {self._region}", region=self._region))

    def shapes(self, zone: str, names: Collection[str]) -> dict[str, Shape]:
        """Return those of these machine types that a zone has."""
        listed = sorted(name for name in names if not _CUSTOM.search(name))
        found: dict[str, Shape] = {}
        if listed:
            asked = " OR ".join(f'(name = "{name}")' for name in listed)
            doing = f"list the machine types of {zone}"
            for page in self._caller.pages("machine_types", "list", doing, zone=zone, filter=asked):
                found |= {raw.name: _shape(raw) for raw in page.items}
        for name in sorted({*names} - {*listed}):
            doing = f"find the machine type {name} in {zone}"
            raw = self._found("machine_types", doing, zone=zone, machine_type=name)
            if raw is not None:
                found[name] = _shape(raw)
        return found

    def accelerators(self, zones: Sequence[str], types: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return, by type and zone, how many of these accelerators a machine may have."""
        found: dict[str, dict[str, int]] = {}
        for type_ in types:
            for zone in zones:
                doing = f"find the accelerator {type_} in {zone}"
                raw = self._found("accelerator_types", doing, zone=zone, accelerator_type=type_)
                if raw is not None:
                    found.setdefault(type_, {})[zone] = raw.maximum_cards_per_instance
        return found

    def reservations(self, zones: Sequence[str], name: str) -> list[Reservation]:
        found = []
        for zone in zones:
            raw = self._found("reservations", f"find the reservation {name}", zone=zone, reservation=name)
            if raw is not None:
                of = raw.specific_reservation
                type_, free = of.instance_properties.machine_type, of.count - of.in_use_count
                found.append(Reservation(zone, type_, free, raw.status))
        return found

    def network(self, written: str) -> Network | None:
        def ask() -> Network | None:
            where = {"project": project_of(written) or self._caller.project, "network": last(written)}
            raw = self._found("networks", f"find the network {written}", **where)
            return None if raw is None else _network(raw)

        return _once(self._networks, written, ask)

    def subnetwork(self, written: str) -> Subnetwork | None:
        def ask() -> Subnetwork | None:
            region = _REGION.search(written)
            raw = self._found(
                "subnetworks",
                f"find the subnetwork {last(written)}",
                project=project_of(written) or self._caller.project,
                region=region[1] if region else self._region,
                subnetwork=last(written),
            )
            return None if raw is None else _subnetwork(raw)

        return _once(self._subnetworks, written, ask)

    def backend_service(self, written: str) -> BackendService | None:
        def ask() -> BackendService | None:
            doing, name = f"find the backend service {written}", last(written)
            region = _REGION.search(written)
            if region is None:
                raw = self._found("backend_services", doing, backend_service=name)
            else:
                raw = self._found("region_backend_services", doing, region=region[1], backend_service=name)
            return None if raw is None else _service(raw)

        return _once(self._services, written, ask)

    def has_target_pool(self, name: str) -> bool:
        doing = f"find the target pool {name}"
        return self._found("target_pools", doing, region=self._region, target_pool=name) is not None

    def _found(self, service: str, doing: str, **where: str) -> Any:
        """Return a thing as the SDK gives it; None where there is none."""
        try:
            return self._caller.ask(service, "get", doing, **where)
        except (NotThere, NoCapacity):  # the latter is what a machine type is that a zone does not have
            return None


def quotas_of(raw: Any) -> tuple[Quota, ...]:
    """Return what a region or a project is allowed, and has already."""
    return tuple(Quota(one.metric, one.limit, one.usage) for one in raw.quotas)


def _once(known: dict[str, _Thing], key: str, ask: Callable[[], _Thing]) -> _Thing:
    if key not in known:
        known[key] = ask()
    return known[key]


def _shape(raw: Any) -> Shape:
    built_in = {one.guest_accelerator_type: one.guest_accelerator_count for one in raw.accelerators}
    architecture = "" if raw.architecture.startswith("ARCHITECTURE_") else raw.architecture
    return Shape(raw.name, raw.guest_cpus, architecture, built_in)


def _network(raw: Any) -> Network:
    by_region = {found[1]: path for path in raw.subnetworks if (found := _REGION.search(path))}
    return Network(raw.name, raw.auto_create_subnetworks, bool(raw.I_pv4_range), by_region)


def _subnetwork(raw: Any) -> Subnetwork:
    return Subnetwork(
        path=raw.self_link,
        network=last(raw.network),
        addresses=raw.ip_cidr_range,
        purpose=raw.purpose,
        stack=raw.stack_type,
        access=raw.ipv6_access_type,
    )


def _service(raw: Any) -> BackendService:
    groups: dict[str, set[str]] = {}
    others = []
    for backend in raw.backends:
        found = _GROUP.search(backend.group)
        if found is None:
            others.append("/".join(backend.group.split("/")[-2:]))
        else:
            groups.setdefault(found[1], set()).add(found[2])
    by_zone: Mapping[str, frozenset[str]] = {zone: frozenset(names) for zone, names in groups.items()}
    return BackendService(by_zone, tuple(others), raw.connection_draining.draining_timeout_sec)
