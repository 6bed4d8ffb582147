"""Launches: one call for all machines of a ticket, and what became of each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from infrakit_providers.aws.balancers import Balancers
from infrakit_providers.aws.belongings import Belongings
from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.fleets import ANY_TYPE, Fleets
from infrakit_providers.aws.images import Images
from infrakit_providers.aws.launch_parameters import packed_user_data, run_parameters
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.places import NAME, PERSISTENT, PROTECTED, TARGETS, name_of, shared, spread
from infrakit_providers.aws.subnets import Site, Subnets
from infrakit_providers.aws.tickets import Ticket
from infrakit_providers.cloud.pools import Pool, Pools
from infrakit_py.errors import ImageMissing, NoCapacity, ProviderError, TokenMismatch, TokenSpent
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceId
from infrakit_py.spi.provider import Outcome, ProvisionRequest

_GONE: Final = "terminated"


@dataclass(frozen=True, slots=True)
class Launch:
    """Requests that one call answers. They share all but their places."""

    ticket: Ticket
    machine: Machine
    requests: tuple[ProvisionRequest, ...]


class Launcher:
    """Makes launches. Each may be made again, at any time and by anybody, with the same result."""

    def __init__(
        self,
        caller: Caller,
        images: Images,
        pools: Pools,
        subnets: Subnets,
        belongings: Belongings,
        note: Callable[[Sequence[Mapping[str, Any]]], None],
        may_be_unlisted: Callable[[], bool],
    ) -> None:
        """`note` is told of each instance that EC2 answers with.

        `may_be_unlisted` tells whether an instance may exist that no listing shows yet, though nobody here made it.
        """
        self._caller = caller
        self._images = images
        self._pools = pools
        self._subnets = subnets
        self._belongings = belongings
        self._note = note
        self._may_be_unlisted = may_be_unlisted
        self.fleets = Fleets(caller, note)

    def launch(self, launch: Launch) -> list[Outcome]:
        """Make the call, and return an outcome for each of its requests in order."""
        try:
            if launch.ticket.type == ANY_TYPE:
                parameters = self._parameters(launch)
                return [self.fleets.launch(launch.requests[0], launch.machine, launch.ticket, parameters)]
            answer = self._caller.once(
                Kind.RUN, "ec2", "run_instances", f"launch {_called(launch)}", **self._parameters(launch)
            )
        except NoCapacity as exc:
            return [Outcome(error=self._no_capacity(launch, exc))] * len(launch.requests)
        except TokenMismatch as exc:
            return self._mismatched(launch, exc)
        except ProviderError as exc:
            if isinstance(exc, ImageMissing):
                self._images.forget(launch.requests[0].image)
            return [Outcome(error=exc)] * len(launch.requests)
        self._note(answer["Instances"])
        made = {int(one.get("AmiLaunchIndex", 0)): one for one in answer["Instances"]}
        return [_outcome(launch.ticket, request, made) for request in launch.requests]

    def _mismatched(self, launch: Launch, error: TokenMismatch) -> list[Outcome]:
        """Find out whether what a token stands for lives: then it is to be looked for, else the token is spent.

        Without the store nobody remembers that a slot had a machine, once that is not listed any more; EC2 does.
        """
        try:
            found = self._by_token(launch)
        except ProviderError as exc:
            return [Outcome(error=exc)] * len(launch.requests)
        living = {int(raw.get("AmiLaunchIndex", 0)) for raw in found if raw["State"]["Name"] != _GONE}
        outcomes = []
        for request in launch.requests:
            lives = launch.ticket.index(request) in living if launch.ticket.places else bool(living)
            if lives or (not found and self._may_be_unlisted()):
                outcomes.append(Outcome(error=error))
            else:
                outcomes.append(Outcome(error=TokenSpent(f"{request.name}: what its token stood for is terminated")))
        return outcomes

    def _by_token(self, launch: Launch) -> list[Any]:
        """Return the instances that a launch's token stands for, terminated ones too while EC2 lists them."""
        first, ticket = launch.requests[0], launch.ticket
        name, value = f"tag:{tags.TOKEN}", first.token
        if ticket.places:
            name, value = "client-token", ticket.client_token(first)
        return [
            raw
            for page in self._caller.pages(
                "ec2",
                "describe_instances",
                f"find out what the token of {first.name} stands for",
                Filters=[{"Name": name, "Values": [value]}],
            )
            for reservation in page["Reservations"]
            for raw in reservation["Instances"]
        ]

    def _parameters(self, launch: Launch) -> Mapping[str, Any]:
        ticket, machine, first = launch.ticket, launch.machine, launch.requests[0]
        image_id = self._images.ami_of(first.image)
        interface_id = None
        if first.data_key is not None:
            interface_id = self._belongings.prepare(first, machine, ticket.zone, ticket.subnet_id or None)
        root_device = self._images.root_device(image_id) if _needs_root_device(machine) else None
        own = shared(first.tags, ticket.places) if ticket.places else dict(first.tags)
        owner = {key: first.tags[key] for key in (tags.CLUSTER, tags.GROUP)}
        own = self._notes(first, machine, spot=ticket.spot) | own
        return run_parameters(
            machine,
            image_id=image_id,
            instance_type=machine.instance_types[0] if ticket.type == ANY_TYPE else ticket.type,
            subnet_id=ticket.subnet_id or None,
            zone=ticket.zone,
            spot=ticket.spot,
            count=ticket.count,
            client_token=ticket.client_token(first),
            user_data=packed_user_data(first.user_data) if first.user_data is not None else None,
            tags=own,
            volume_tags=owner,
            interface_tags=owner,
            interface_id=interface_id,
            root_device=root_device,
        )

    def _notes(self, request: ProvisionRequest, machine: Machine, *, spot: bool) -> dict[str, str]:
        """Return tags that are our own business: what the machine is to have, and what to see to when it goes."""
        notes = {
            NAME: machine.tags.instance.get(NAME) or name_of(request.tags),
            **spread(TARGETS, machine.target_groups),
            **self._belongings.tags_for(machine, named=request.data_key is not None),
        }
        if machine.termination_protection:
            notes[PROTECTED] = "yes"
        if spot and machine.capacity.interruption != "terminate":
            notes[PERSISTENT] = "persistent"
        return notes

    def _no_capacity(self, launch: Launch, error: NoCapacity) -> NoCapacity:
        """Remember that there was none, and say whether there is another pool to try."""
        ticket = launch.ticket
        self._pools.had_none(Pool(ticket.type, ticket.zone, ticket.spot), ticket.count)
        sites: Sequence[Site] = self._subnets.of(launch.machine)
        if launch.requests[0].data_key is not None:  # what it keeps is in this zone, and so must it be
            sites = (Site(ticket.zone, ticket.subnet_id),)
        types = (ANY_TYPE,) if ticket.type == ANY_TYPE else launch.machine.instance_types
        elsewhere = self._pools.any_left(types, [site.zone for site in sites], spot=ticket.spot)
        return NoCapacity(str(error), hint=error.hint, elsewhere=elsewhere)


def launches_of(coming: Sequence[tuple[ProvisionRequest, Machine, Ticket]]) -> Iterator[Launch]:
    """Make as few launches as there are tickets."""
    by_call: dict[tuple[object, ...], Launch] = {}
    for request, machine, ticket in coming:
        # A ticket of many is one call only as far as the parameters are still the same for all of them.
        alone = request.token if not ticket.places else ""
        key = (ticket, alone, request.image.identity, request.user_data, repr(request.machine))
        known = by_call.get(key)
        by_call[key] = (
            replace(known, requests=(*known.requests, request)) if known else Launch(ticket, machine, (request,))
        )
    yield from by_call.values()


def completed(
    balancers: Balancers, belongings: Belongings, there: Sequence[tuple[ProvisionRequest, Machine, str, str]]
) -> list[Outcome]:
    """Give machines that run what they lack. `there` holds requests with their machine, instance id and zone."""
    errors: dict[str, ProviderError] = {}
    for request, machine, instance_id, zone in there:
        if request.data_key is not None:
            try:
                belongings.complete(request, machine, instance_id, zone)
            except ProviderError as exc:
                errors[instance_id] = exc
    behind = {id_: machine.target_groups for _, machine, id_, _ in there if machine.target_groups}
    if behind:
        errors = {**balancers.register(behind), **errors}
    return [Outcome(InstanceId(id_), errors.get(id_)) for _, _, id_, _ in there]


def _outcome(ticket: Ticket, request: ProvisionRequest, made: Mapping[int, Any]) -> Outcome:
    try:
        instance = made.get(ticket.index(request))
    except ProviderError as exc:
        return Outcome(error=exc)
    if instance is None:
        return Outcome(error=NoCapacity(f"{request.name}: EC2 launched fewer machines than it was asked for"))
    if instance.get("State", {}).get("Name") == _GONE:
        return Outcome(error=TokenSpent(f"{request.name}: {instance['InstanceId']} of this token is terminated"))
    return Outcome(InstanceId(instance["InstanceId"]))


def _needs_root_device(machine: Machine) -> bool:
    return machine.root_disk is not None and machine.root_disk.device is None


def _called(launch: Launch) -> str:
    first, ticket = launch.requests[0], launch.ticket
    many = f" and {ticket.count - 1} more" if ticket.count > 1 else ""
    return f"{first.name}{many} ({ticket.type} in {ticket.zone})"
