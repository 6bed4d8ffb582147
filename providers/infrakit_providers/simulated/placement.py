"""Which zone a new machine gets, and whether there is room for it. Pure: it counts what it is told."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from infrakit_providers.simulated.settings import ZoneCapacity
from infrakit_py.errors import NoCapacity, ProviderError, QuotaExceeded


@dataclass(frozen=True, slots=True)
class Occupied:
    """So many machines of one kind in one zone. Those on their way out take room, but count for no spread."""

    cluster: str
    group: str
    zone: str
    type: str
    count: int
    leaving: bool = False


class Room:
    """What is left of the cloud, during one call. Machines placed by the same call see one another."""

    def __init__(self, zones: Mapping[str, ZoneCapacity], quota: int | None, occupied: Iterable[Occupied]) -> None:
        self._zones = zones
        self._quota = quota
        self._in_all = 0
        self._by_zone: Counter[str] = Counter()
        self._by_type: Counter[tuple[str, str]] = Counter()
        self._spread: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for one in occupied:
            self._take(one.zone, one.type, one.count)
            if not one.leaving:
                self._spread[one.cluster, one.group][one.zone] += one.count

    def place(self, cluster: str, group: str, type_: str, zones: Iterable[str]) -> str:
        """Take a place in the zone that has the fewest machines of the group, the first of equals."""
        allowed = tuple(zones) or self._zones
        if unknown := [zone for zone in allowed if zone not in self._zones]:
            raise ProviderError(f"no such zone: {', '.join(unknown)}", hint=f"zones: {', '.join(self._zones)}")
        if self._quota is not None and self._in_all >= self._quota:
            raise QuotaExceeded(f"quota of {self._quota} machines reached", hint="raise the account's quota")
        free = [zone for zone in allowed if self._has_room(zone, type_)]
        if not free:
            raise NoCapacity(f"no {type_!r} machine left in zone {', '.join(allowed)}")
        spread = self._spread[cluster, group]
        zone = min(free, key=spread.__getitem__)
        self._take(zone, type_, 1)
        spread[zone] += 1
        return zone

    def _has_room(self, zone: str, type_: str) -> bool:
        match self._zones[zone]:
            case None:
                return True
            case int(machines):
                return self._by_zone[zone] < machines
            case by_type:
                return self._by_type[zone, type_] < by_type.get(type_, 0)

    def _take(self, zone: str, type_: str, count: int) -> None:
        self._in_all += count
        self._by_zone[zone] += count
        self._by_type[zone, type_] += count
