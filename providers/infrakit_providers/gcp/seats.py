"""Who sits where behind the load balancers: one look at all that some machines are to be behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infrakit_providers.gcp.backends import Backends, Balancer, Place
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.fields import region_of
from infrakit_providers.gcp.names import address_of
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import InstanceId

Behind = Mapping[InstanceId, Sequence[str]]
"""Machines, and what each is to be behind."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A machine and one of the load balancers that it is to be behind: None where that does not exist.

    `places` are those that there are for it, the first by preference; `held`, those that it is in. With an `error` it
    is not known.
    """

    id: InstanceId
    word: str
    balancer: Balancer | None = None
    places: tuple[Place, ...] = ()
    held: tuple[Place, ...] = ()
    error: ProviderError | None = None

    @property
    def zone(self) -> str:
        return self.id.partition("/")[0]


def seats(caller: Caller, backends: Backends, behind: Behind) -> list[Seat]:
    """Look at load balancers and their places, each once, and return all seats."""
    keys = {(word, _region(id_)): None for id_, words in behind.items() for word in words}
    asked = caller.each(lambda key: backends.balancer(*key), list(keys))
    balancers = dict(zip(keys, asked, strict=True))
    places: dict[Place, None] = {}
    for id_, words in behind.items():
        for word in words:
            balancer = balancers[word, _region(id_)]
            if isinstance(balancer, Balancer):
                places |= dict.fromkeys(balancer.places_in(_zone(id_)))
    members = dict(zip(places, caller.each(backends.members, list(places)), strict=True))
    return [
        _seat(id_, word, balancers[word, _region(id_)], members) for id_, words in behind.items() for word in words
    ]


def _seat(
    id_: InstanceId,
    word: str,
    balancer: Balancer | ProviderError | None,
    members: Mapping[Place, frozenset[InstanceId] | ProviderError | None],
) -> Seat:
    if balancer is None:
        return Seat(id_, word)
    if isinstance(balancer, ProviderError):
        return Seat(id_, word, error=balancer)
    here = [(place, members[place]) for place in balancer.places_in(_zone(id_))]
    for _, ids in here:
        if isinstance(ids, ProviderError):
            return Seat(id_, word, balancer, error=ids)
    there = tuple(place for place, ids in here if ids is not None)
    held = tuple(place for place, ids in here if isinstance(ids, frozenset) and id_ in ids)
    return Seat(id_, word, balancer, there, held)


def _zone(id_: InstanceId) -> str:
    address = address_of(id_)
    return address.zone if address is not None else ""


def _region(id_: InstanceId) -> str:
    return region_of(_zone(id_))
