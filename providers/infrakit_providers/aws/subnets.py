"""Where a group's machines may go: subnets and their zones. They are asked for once in a while, and remembered."""

from collections.abc import Sequence
from threading import Lock
from typing import Final, NamedTuple

from infrakit_providers.aws.calls import Caller
from infrakit_providers.aws.machine import Machine
from infrakit_py.errors import ProviderError
from infrakit_py.spi.provider import Now

_REMEMBERED_SECONDS: Final = 600.0


class Site(NamedTuple):
    """A subnet and the zone that it lies in."""

    zone: str
    subnet_id: str


class Subnets:
    """The sites that machines may be spread over. Safe for threads."""

    def __init__(self, caller: Caller, clock: Now) -> None:
        self._caller = caller
        self._clock = clock
        self._lock = Lock()
        self._known: dict[tuple[object, ...], tuple[float, tuple[Site, ...]]] = {}

    def of(self, machine: Machine) -> tuple[Site, ...]:
        """Return a machine's sites, as listed or in order of their zones. ProviderError where there is none."""
        key = (machine.subnets, machine.zones)
        with self._lock:
            now = self._clock.now()
            at, sites = self._known.get(key, (0.0, ()))
            if not sites or now - at >= _REMEMBERED_SECONDS:
                sites = self._listed(machine.subnets) if machine.subnets else self._defaults(machine.zones or ())
                self._known[key] = now, sites
            return sites

    def zones(self, machine: Machine) -> tuple[str, ...]:
        """Return the zones of a machine's sites, as far as they are known without asking."""
        if machine.zones:
            return tuple(machine.zones)
        _, sites = self._known.get((machine.subnets, machine.zones), (0.0, ()))
        return tuple(dict.fromkeys(site.zone for site in sites))

    def _listed(self, subnet_ids: Sequence[str]) -> tuple[Site, ...]:
        found = {site.subnet_id: site for site in self._sites("find the subnets", SubnetIds=list(subnet_ids))}
        return tuple(found[subnet_id] for subnet_id in subnet_ids if subnet_id in found)

    def _defaults(self, zones: Sequence[str]) -> tuple[Site, ...]:
        filters = [{"Name": "default-for-az", "Values": ["true"]}]
        if zones:
            filters.append({"Name": "availability-zone", "Values": list(zones)})
        found = {site.zone: site for site in self._sites("find the default subnets", Filters=filters)}
        if lacking := [zone for zone in zones if zone not in found]:
            raise ProviderError(
                f"aws: there is no default subnet in {', '.join(lacking)}", hint="write machine.subnets instead"
            )
        if not found:
            raise ProviderError("aws: the account has no default subnets here", hint="write machine.subnets")
        return tuple(found[zone] for zone in (zones or sorted(found)))

    def _sites(self, doing: str, **parameters: object) -> list[Site]:
        answer = self._caller.ask("ec2", "describe_subnets", doing, **parameters)
        return [Site(one["AvailabilityZone"], one["SubnetId"]) for one in answer["Subnets"]]
