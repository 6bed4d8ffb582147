"""Which machines are made by one call, of which type, where, and on which market. It decides, and asks nobody but for
subnets and for what a named member keeps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from infrakit_providers.aws.belongings import Belongings
from infrakit_providers.aws.fleets import ANY_TYPE, mixes
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.places import fit
from infrakit_providers.aws.subnets import Site, Subnets
from infrakit_providers.aws.tickets import Ticket, place_of
from infrakit_providers.cloud.census import Census, Inhabitant
from infrakit_providers.cloud.choices import Choices
from infrakit_providers.cloud.pools import Pool, Pools
from infrakit_py.model import tags
from infrakit_py.spi.provider import Now, ProvisionRequest

_LARGEST_CALL: Final = 1000
"""Machines: no call may be for more than the account's bucket of machines ever holds."""
_OF_ITS_OWN: Final = (tags.SLOT, tags.INCARNATION, tags.TOKEN)


class Arranged(NamedTuple):
    """A request and what was chosen for it, before it is known who shares its call."""

    at: int
    request: ProvisionRequest
    site: Site
    type: str
    spot: bool


class Arranger:
    """Spreads machines evenly over zones, takes the preferred type where it is to be had, and mixes the markets."""

    def __init__(self, census: Census, pools: Pools, subnets: Subnets, belongings: Belongings, clock: Now) -> None:
        self._census = census
        self._pools = pools
        self._subnets = subnets
        self._belongings = belongings
        self._clock = clock

    def arrange(self, requests: Sequence[tuple[ProvisionRequest, Machine]]) -> list[str]:
        """Return a ticket for each request; an empty one where its machine is there already."""
        tickets = [""] * len(requests)
        choices: dict[tuple[str, str], Choices] = {}
        arranged: list[Arranged] = []
        for at, (request, machine) in enumerate(requests):
            cluster, group = request.tags[tags.CLUSTER], request.tags[tags.GROUP]
            if self._census.present(cluster, request.token):
                continue
            if (cluster, group) not in choices:
                choices[cluster, group] = Choices(self._pools, self._census.spread(cluster, group))
            arranged.append(self._arranged(at, request, machine, choices[cluster, group]))
        for ticket, members in _calls(arranged, self._pools):
            for one in members:
                tickets[one.at] = ticket.text
        self._census.expect(map(_expected, arranged), self._clock.now())
        return tickets

    def alone(self, request: ProvisionRequest, machine: Machine) -> Ticket:
        """Return the ticket of a request that nobody arranged: of one machine, and always the same."""
        sites = self._sites(request, machine)
        site = sites[int(request.token.replace("-", "")[-4:], 16) % len(sites)]
        return Ticket(machine.instance_types[0], *site, spot=machine.capacity.spot_percent == 100)

    def _arranged(self, at: int, request: ProvisionRequest, machine: Machine, choices: Choices) -> Arranged:
        """Choose for one machine. Base and share on demand shall be kept once the other versions are gone."""
        version, sites = request.tags.get(tags.CONFIG_HASH, ""), self._sites(request, machine)
        on_demand = machine.capacity.on_demand_among(choices.count(version) + 1)
        spot = choices.at_full_price(version) >= on_demand
        any_type = spot and request.data_key is None and mixes(machine)
        types = (ANY_TYPE,) if any_type else machine.instance_types
        first_of = {site.zone: site for site in reversed(sites)}
        zone, type_ = choices.choose(types, list(dict.fromkeys(site.zone for site in sites)), version, spot=spot)
        return Arranged(at, request, first_of[zone], type_, spot)

    def _sites(self, request: ProvisionRequest, machine: Machine) -> tuple[Site, ...]:
        """Return where a machine may be: where what it keeps is, if it keeps anything, else anywhere allowed."""
        sites = self._subnets.of(machine)
        if request.data_key is None:
            return sites
        cluster, group = request.tags[tags.CLUSTER], request.tags[tags.GROUP]
        kept = self._belongings.zone_of(cluster, group, request.data_key, machine)
        if kept is None:
            return sites
        zone, subnet_id = kept
        if subnet_id is not None:
            return (Site(zone, subnet_id),)
        return tuple(site for site in sites if site.zone == zone) or (Site(zone, ""),)


def _calls(arranged: Sequence[Arranged], pools: Pools) -> Iterator[tuple[Ticket, Sequence[Arranged]]]:
    """Put those together that one call can make: all parameters and all tags but those of the place are the same."""
    batches: dict[tuple[object, ...], list[Arranged]] = {}
    for one in arranged:
        request = one.request
        common = tuple(sorted((key, value) for key, value in request.tags.items() if key not in _OF_ITS_OWN))
        alike = (repr(request.machine), request.image.identity, request.user_data, common)
        numbered = request.data_key is None and request.tags.get(tags.SLOT, "").isdecimal()
        alone = not numbered or one.type == ANY_TYPE
        batches.setdefault((one.site, one.type, one.spot, *alike, request.token if alone else ""), []).append(one)
    for members in batches.values():
        first = members[0]
        single = Ticket(first.type, *first.site, spot=first.spot)
        room = int(min(_LARGEST_CALL, max(1, pools.room(Pool(first.type, first.site.zone, first.spot)))))
        for chunk in _chunks(sorted(members, key=lambda one: _order(one.request)), room):
            places = tuple(place_of(one.request) for one in chunk) if len(chunk) > 1 else ()
            yield replace(single, places=places), chunk


def _order(request: ProvisionRequest) -> tuple[int, int]:
    slot = request.tags.get(tags.SLOT, "")
    return (int(slot) if slot.isdecimal() else 0, tags.incarnation_of(request.tags))


def _chunks(members: Sequence[Arranged], room: int) -> Iterator[Sequence[Arranged]]:
    """Part them so that a pool is asked first for what it may have, and their places fit into tags.

    What it probably has not is asked for all at once: to be refused costs as much as one machine.
    """
    yield from _fitting(members[:room])
    for begin in range(room, len(members), _LARGEST_CALL):
        yield from _fitting(members[begin : begin + _LARGEST_CALL])


def _fitting(members: Sequence[Arranged]) -> Iterator[Sequence[Arranged]]:
    if len(members) < 2 or fit(place_of(one.request) for one in members):
        yield members
    else:
        half = len(members) // 2
        yield from _fitting(members[:half])
        yield from _fitting(members[half:])


def _expected(one: Arranged) -> Inhabitant:
    held = one.request.tags
    version = held.get(tags.CONFIG_HASH, "")
    return Inhabitant(one.request.token, held[tags.CLUSTER], held[tags.GROUP], one.site.zone, one.spot, version)
