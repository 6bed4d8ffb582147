"""Which type each machine gets, and where. It decides, and asks only for zones and for what a named member keeps."""

from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Final
from uuid import uuid4

from infrakit_providers.cloud.census import Census, Inhabitant
from infrakit_providers.cloud.choices import Choices
from infrakit_providers.cloud.pools import Pool, Pools
from infrakit_providers.gcp.belongings import Belongings
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.tickets import Ticket
from infrakit_providers.gcp.zones import Zones
from infrakit_py.model import tags
from infrakit_py.spi.provider import Now, ProvisionRequest

_REMEMBERED: Final = 20_000


class Arranger:
    """Spreads machines evenly over zones, and takes the preferred type where it is to be had."""

    def __init__(self, census: Census, pools: Pools, zones: Zones, belongings: Belongings, clock: Now) -> None:
        self._census = census
        self._pools = pools
        self._zones = zones
        self._belongings = belongings
        self._clock = clock
        self._lock = Lock()
        self._new: dict[str, str] = {}
        """Tickets by token, of requests that nobody has made yet."""

    def asked_first(self, requests: Iterable[ProvisionRequest]) -> list[ProvisionRequest]:
        """Return those that were arranged here, and are made for the first time now."""
        with self._lock:
            return [one for one in requests if one.ticket and self._new.pop(one.token, None) == one.ticket]

    def arrange(self, requests: Sequence[tuple[ProvisionRequest, Machine]]) -> list[str]:
        """Return a ticket for each request; an empty one where its machine is there already."""
        arranged = uuid4().hex[:12]
        tickets: list[str] = []
        choices: dict[tuple[str, str], Choices] = {}
        expected: list[Inhabitant] = []
        for request, machine in requests:
            cluster, group = request.tags[tags.CLUSTER], request.tags[tags.GROUP]
            if self._census.present(cluster, request.token):
                tickets.append("")
                continue
            if (cluster, group) not in choices:
                choices[cluster, group] = Choices(self._pools, self._census.spread(cluster, group))
            version, zones = request.tags.get(tags.CONFIG_HASH, ""), self.zones(request, machine)
            zone, type_ = choices[cluster, group].choose(machine.machine_types, zones, version, spot=machine.is_spot)
            hopeless = not self._pools.room(Pool(type_, zone, machine.is_spot))
            tickets.append(Ticket(type_, zone, machine.is_spot, arranged, hopeless).text)
            if not hopeless:
                expected.append(Inhabitant(request.token, cluster, group, zone, machine.is_spot, version))
        self._census.expect(expected, self._clock.now())
        with self._lock:
            self._new = {**self._new, **{one.token: t for (one, _), t in zip(requests, tickets, strict=True)}}
            for token in list(self._new)[:-_REMEMBERED]:
                del self._new[token]
        return tickets

    def alone(self, request: ProvisionRequest, machine: Machine) -> Ticket:
        """Return the ticket of a request that nobody arranged: of one machine, and always the same."""
        zones = self.zones(request, machine)
        zone = zones[int(request.token.replace("-", "")[-4:], 16) % len(zones)]
        return Ticket(machine.machine_types[0], zone, machine.is_spot)

    def zones(self, request: ProvisionRequest, machine: Machine) -> tuple[str, ...]:
        """Return where a machine may be: where what it keeps is, if it keeps anything, else anywhere allowed."""
        if request.data_key is not None:
            cluster, group = request.tags[tags.CLUSTER], request.tags[tags.GROUP]
            kept = self._belongings.zone_of(cluster, group, request.data_key, machine)
            if kept is not None:
                return (kept,)
        return self._zones.of(machine)
