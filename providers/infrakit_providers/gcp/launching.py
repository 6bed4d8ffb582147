"""Launches: one call for all machines that are alike, and what became of each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from infrakit_providers.cloud.pools import Pool, Pools
from infrakit_providers.gcp import labels
from infrakit_providers.gcp.balancers import Balancers
from infrakit_providers.gcp.belongings import Belongings, Prepared
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.faults import AlreadyThere
from infrakit_providers.gcp.images import Images
from infrakit_providers.gcp.instance_body import Choice, instance, made_alone, properties, user_metadata
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.names import Address, name_of
from infrakit_providers.gcp.operations import Operation
from infrakit_providers.gcp.owned import found
from infrakit_providers.gcp.pending import Accepted, Pending
from infrakit_providers.gcp.published import reference_of
from infrakit_providers.gcp.tickets import Ticket
from infrakit_providers.gcp.wire import Sighting
from infrakit_providers.gcp.zones import Zones
from infrakit_py.errors import ImageMissing, NoCapacity, ProviderError, TokenSpent, Transient
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceId
from infrakit_py.spi.provider import Outcome, ProvisionRequest

GUARDED: Final = f"{labels.OWN}guarded"
"""The spec asked for deletion protection: then it is ours to lift. Without this label a person set it."""
_NOTHING_KEPT: Final = Prepared((), "", "")


@dataclass(frozen=True, slots=True)
class Launch:
    """Requests that one call answers. They share all but their places."""

    ticket: Ticket
    machine: Machine
    requests: tuple[ProvisionRequest, ...]


def is_numbered(request: ProvisionRequest) -> bool:
    """Tell whether a machine's name says all that its labels would not: then one call may make many such."""
    return (
        request.data_key is None
        and request.tags.get(tags.SLOT, "").isdecimal()
        and (tags.LOGICAL_ID not in request.tags)
    )


class Launcher:
    """Makes launches. Each may be made again, at any time and by anybody, with the same result."""

    def __init__(
        self,
        caller: Caller,
        images: Images,
        pools: Pools,
        zones: Zones,
        belongings: Belongings,
        balancers: Balancers,
        pending: Pending,
        note: Callable[[Iterable[Address]], None],
    ) -> None:
        """`note` is told of machines that Compute Engine has accepted."""
        self._caller = caller
        self._images = images
        self._pools = pools
        self._zones = zones
        self._belongings = belongings
        self._balancers = balancers
        self._pending = pending
        self._note = note

    def launch(self, launch: Launch) -> list[Outcome]:
        """Make the call, and return an outcome for each of its requests in order."""
        if launch.ticket.hopeless:
            return [Outcome(error=self._no_room(launch))] * len(launch.requests)
        names = {request.token: name_of(request.tags) for request in launch.requests}
        try:
            outcomes = self._launched(launch, names)
        except ProviderError as exc:
            return [Outcome(error=self._learnt(launch, exc))] * len(launch.requests)
        return [outcomes[request.token] for request in launch.requests]

    def _learnt(self, launch: Launch, error: ProviderError) -> ProviderError:
        """Learn from how a launch failed, and return its error."""
        if isinstance(error, ImageMissing):
            self._images.forget(reference_of(launch.requests[0].image))
        return self._refused(launch, error) if isinstance(error, NoCapacity) else error

    def _refused(self, launch: Launch, error: NoCapacity) -> NoCapacity:
        """Remember that there was none, and say whether there is another pool to try."""
        ticket, machine = launch.ticket, launch.machine
        self._pending.had_none(Pool(ticket.type, ticket.zone, ticket.spot), error)
        elsewhere = self._pools.any_left(machine.machine_types, self._places(launch), spot=ticket.spot)
        return NoCapacity(str(error), hint=error.hint, elsewhere=elsewhere)

    def _no_room(self, launch: Launch) -> NoCapacity:
        first, places, machine = launch.requests[0], self._places(launch), launch.machine
        types, zones = " or ".join(machine.machine_types), ", ".join(places)
        tried = {Pool(type_, zone, launch.ticket.spot) for type_ in machine.machine_types for zone in places}
        why = f" ({why})" if (why := self._pending.why(tried)) else ""
        return NoCapacity(
            f"gcp: cannot create {first.name}: there was no {types} to be had in {zones} a moment ago{why}"
        )

    def _places(self, launch: Launch) -> Sequence[str]:
        """Return where such machines may be; what keeps a disk must be where that is."""
        if launch.requests[0].data_key is not None:
            return (launch.ticket.zone,)
        return self._zones.of(launch.machine)

    def _launched(self, launch: Launch, names: Mapping[str, str]) -> dict[str, Outcome]:
        """Make the call. Where some of the names are taken, see by whom, and make the call for the others."""
        requests = {request.token: request for request in launch.requests}
        try:
            return self._made(launch, requests, names)
        except AlreadyThere as exc:
            there = self._there(launch.ticket.zone, names)
            outcomes = {token: _met(requests[token], seen) for token, seen in there.items()}
            left = {token: one for token, one in requests.items() if token not in there}
            if not left:
                return outcomes
            if not there:  # a name is taken by what cannot be seen yet
                raise Transient(str(exc)) from exc
        try:
            return outcomes | self._made(launch, left, names)
        except AlreadyThere as exc:
            return outcomes | dict.fromkeys(left, Outcome(error=Transient(str(exc))))
        except ProviderError as exc:  # those that are there are there all the same
            return outcomes | dict.fromkeys(left, Outcome(error=self._learnt(launch, exc)))

    def _made(
        self, launch: Launch, requests: Mapping[str, ProvisionRequest], names: Mapping[str, str]
    ) -> dict[str, Outcome]:
        ticket = launch.ticket
        chosen = {Address(ticket.zone, names[token]): token for token in requests}
        operation = self._call(launch, list(requests.values()), [address.name for address in chosen])
        first = next(iter(requests.values()))
        self._note(chosen)
        self._pending.accept(
            Accepted(
                operation,
                (first.tags[tags.CLUSTER], first.tags[tags.GROUP]),
                Pool(ticket.type, ticket.zone, ticket.spot),
                {address: requests[token].name for address, token in chosen.items()},
            )
        )
        outcomes = {token: Outcome(address.id) for address, token in chosen.items()}
        if operation.done:  # it had been accepted before: what it made may be gone
            there = self._there(ticket.zone, {token: names[token] for token in requests})
            for token, request in requests.items():
                if token not in there:
                    gone = TokenSpent(f"{request.name}: what its token stood for is gone")
                    outcomes[token] = Outcome(error=gone)
        return outcomes

    def _call(self, launch: Launch, requests: Sequence[ProvisionRequest], names: Sequence[str]) -> Operation:
        ticket, machine, first = launch.ticket, launch.machine, requests[0]
        call = partial(self._caller.act, "instances", zone=ticket.zone, request_id=ticket.request_id(names))
        many = f" and {len(names) - 1} more" if names[1:] else ""
        doing = f"create {first.name}{many} ({ticket.type} in {ticket.zone})"
        if is_numbered(first) and not made_alone(machine):
            body = {
                "count": len(names),
                "min_count": 1,
                "per_instance_properties": {name: {} for name in names},
                "instance_properties": properties(machine, self._choice(launch, labels.shared(first.tags))),
            }
            if names[1:]:
                return call("bulk_insert", doing, bulk_insert_instance_resource_resource=body)
        kept = _NOTHING_KEPT
        if first.data_key is not None:
            kept = self._belongings.prepare(first, machine, ticket.zone)
        single = instance(names[0], machine, self._choice(launch, first.tags, kept))
        return call("insert", doing, instance_resource=single)

    def _choice(self, launch: Launch, own: Mapping[str, str], kept: Prepared = _NOTHING_KEPT) -> Choice:
        ticket, machine, first = launch.ticket, launch.machine, launch.requests[0]
        written = labels.written(own)
        more = {labels.ITEM: labels.item(written.more)} if written.more else {}
        return Choice(
            zone=ticket.zone,
            machine_type=ticket.type,
            image=self._images.link(reference_of(first.image)),
            labels={**self._notes(machine, named=first.data_key is not None), **written.labels},
            metadata={**user_metadata(machine, first.user_data), **more},
            attachments=kept.attachments,
            external_address=kept.external_address,
            internal_address=kept.internal_address,
        )

    def _notes(self, machine: Machine, *, named: bool) -> dict[str, str]:
        """Return labels that are our own business: what the machine is to have, and what to see to when it goes."""
        notes = {**self._balancers.notes(machine), **self._belongings.notes(machine, named=named)}
        return notes | ({GUARDED: "yes"} if machine.deletion_protection else {})

    def _there(self, zone: str, names: Mapping[str, str]) -> dict[str, Sighting]:
        """Return the machines of these names that can be seen, by token."""
        by_id: dict[str, str] = {Address(zone, name).id: token for token, name in names.items()}
        return {by_id[id_]: seen for id_, seen in found(self._caller, by_id).items()}


def completed(
    balancers: Balancers, belongings: Belongings, there: Sequence[tuple[ProvisionRequest, Machine, Sighting]]
) -> list[Outcome]:
    """Give machines that run what they lack."""
    errors: dict[InstanceId, ProviderError] = {}
    behind = {seen.id: groups for _, _, seen in there if (groups := balancers.behind(seen.labels))}
    if behind:
        errors |= balancers.register(behind)
    for request, machine, seen in there:
        if request.data_key is not None:
            try:
                belongings.complete(request, machine, seen)
            except ProviderError as exc:
                errors[seen.id] = exc
    return [Outcome(seen.id, errors.get(seen.id)) for _, _, seen in there]


def _met(request: ProvisionRequest, seen: Sighting) -> Outcome:
    """Say what a machine that has the name of a wanted one is: that one, or somebody else's."""
    held = seen.tags
    if held.get(tags.TOKEN) == request.token and tags.owned_by(held, request.tags[tags.CLUSTER]):
        return Outcome(seen.id)
    what = f"gcp: cannot create {request.name}: {seen.name} in {seen.zone} is there, and somebody else's"
    return Outcome(error=ProviderError(what, hint="delete it, if it is yours"))
