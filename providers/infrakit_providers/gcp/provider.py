"""One project's region as a provider. The work is done by its parts; here they meet.

Labels and names are all there is: what this object remembers between calls only makes it quicker, or more careful.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Final

from infrakit_providers.cloud.census import Census, Inhabitant
from infrakit_providers.cloud.pools import Pools
from infrakit_providers.gcp.arranging import Arranger
from infrakit_providers.gcp.balancers import Balancers
from infrakit_providers.gcp.belongings import Belongings
from infrakit_providers.gcp.bucket import Bucket
from infrakit_providers.gcp.calls import Caller, Rates
from infrakit_providers.gcp.clients import Clients, begin_import
from infrakit_providers.gcp.doctor import Doctor
from infrakit_providers.gcp.grouping import launches_of, machine_of
from infrakit_providers.gcp.images import Images
from infrakit_providers.gcp.launching import Launcher, completed
from infrakit_providers.gcp.listing import Lister
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.names import Address, address_of
from infrakit_providers.gcp.owned import found
from infrakit_providers.gcp.pending import Pending
from infrakit_providers.gcp.publications import IMAGE, Publications
from infrakit_providers.gcp.publish_settings import must_be_published
from infrakit_providers.gcp.published import reference_of
from infrakit_providers.gcp.publishing import Publisher
from infrakit_providers.gcp.removing import Remover
from infrakit_providers.gcp.settings import Settings
from infrakit_providers.gcp.tagging import Tagger
from infrakit_providers.gcp.tickets import Ticket, read_ticket
from infrakit_providers.gcp.zones import Zones
from infrakit_py.errors import ProviderError
from infrakit_py.model import tags
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import Image, Json
from infrakit_py.spi.images import Publication
from infrakit_py.spi.provider import (
    CallLimits,
    CallRates,
    DestroyRequest,
    Finding,
    Leftover,
    Outcome,
    Pace,
    Provider,
    ProviderContext,
    ProvisionRequest,
    Rate,
    TagRequest,
    Wanted,
)

BATCH: Final = 2000
"""Machines a bulkInsert; Compute Engine takes 5,000. Source: API reference, instances.bulkInsert."""
_SECONDS: Final = 60.0


class GcpProvider(Provider):
    """See `infrakit_py.spi.provider.Provider`."""

    pace = Pace(boot_seconds=25.0, gone_seconds=30.0, listed_seconds=2.0, call_seconds=1.0)

    def __init__(self, settings: Settings, context: ProviderContext, rates: Rates) -> None:
        """`rates` are the project's, shared by all that use it."""
        begin_import()
        one_by_one = Rate(settings.limits.mutations_per_minute, settings.limits.mutations_per_minute / _SECONDS)
        self.limits = CallLimits(
            provision_batch=BATCH,
            destroy_batch=BATCH,
            tag_batch=BATCH,
            parallel_calls=1,
            destroy=CallRates(machines=one_by_one),
            tag=CallRates(machines=one_by_one),
        )
        self.listing_lag_seconds = settings.listing_lag
        self.account = settings.account
        self._clock = context.clock
        self._clients = Clients(settings, context.directory)
        self._caller = Caller(self._clients, rates, context.clock, Random(), settings.parallel_calls)
        self._census = Census()
        self._images = Images(self._caller, context.clock)
        self._zones = Zones(self._caller, settings, context.clock)
        self._belongings = Belongings(self._caller, context.clock, lambda: self._zones.region)
        self._balancers = Balancers(self._caller, context.clock)
        pools = Pools(context.clock, settings.capacity_memory)
        self._pending = Pending(self._caller, pools, context.clock, self._will_not_come)
        self._arranger = Arranger(self._census, pools, self._zones, self._belongings, context.clock)
        self._launcher = Launcher(
            self._caller,
            self._images,
            pools,
            self._zones,
            self._belongings,
            self._balancers,
            self._pending,
            self._note,
        )
        self._lister = Lister(self._caller, self._belongings, self._balancers)
        self._remover = Remover(self._caller, self._balancers, self._may_come)
        self._tagger = Tagger(self._caller, self._balancers, self._may_come)
        self._doctor = Doctor(self._caller, self._images, self._zones, settings, context.clock)
        self._publisher: Publisher | None = None
        bucket, prefix = None, ""
        if (wanted := settings.publish) is not None:
            bucket, prefix = Bucket(self._clients, context.clock, wanted.bucket), wanted.prefix
            self._publisher = Publisher(self._caller, bucket, wanted, context.disks, context.clock)
        self._publications = Publications(self._caller, bucket, prefix, context.clock)

    def describe(self, cluster: str) -> Sequence[Instance]:
        instances = self._lister.instances(cluster)
        running = {one.id for one in instances if one.state is InstanceState.RUNNING}
        self._pending.settle(cluster, running)
        self._census.see(cluster, map(_inhabitant, instances), self._clock.now())
        return instances

    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        known = found(self._caller, instance_ids, self._may_come)
        seen: dict[InstanceId, Instance | None] = dict(self._lister.of_any_cluster(known.values()))
        missing = [one for one in instance_ids if one not in seen]
        coming = self._may_come(missing)
        unknown = [address for one in missing if one not in coming and (address := address_of(one)) is not None]
        coming |= {address.id for address in self._pending.comes_elsewhere(unknown)}
        gone = [one for one in missing if one not in coming]
        late = found(self._caller, gone) if gone else {}  # an operation may have ended since the first look
        seen.update(self._lister.of_any_cluster(late.values()))
        seen.update((one, None) for one in gone if one not in late)
        self._census.meet(_inhabitant(one) for one in seen.values() if one is not None)
        return seen

    def arrange(self, requests: Sequence[ProvisionRequest]) -> Sequence[str]:
        return self._arranger.arrange([(request, machine_of(request)) for request in requests])

    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        outcomes: dict[str, Outcome] = {}
        running: list[tuple[ProvisionRequest, Machine, str]] = []
        coming: list[tuple[ProvisionRequest, Machine, Ticket]] = []
        for request in {request.token: request for request in requests}.values():
            try:
                machine = machine_of(request)
                known = self._census.present(request.tags.get(tags.CLUSTER, ""), request.token)
                if known is not None and known.runs:
                    running.append((request, machine, known.id))
                elif known is not None:
                    outcomes[request.token] = Outcome(InstanceId(known.id))
                else:
                    ticket = read_ticket(request.ticket) if request.ticket else None
                    coming.append((request, machine, ticket or self._arranger.alone(request, machine)))
            except ProviderError as exc:
                outcomes[request.token] = Outcome(error=exc)
        outcomes |= self._completed(running)
        outcomes |= self._launched(coming)
        return [outcomes[request.token] for request in requests]

    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        outcomes = self._remover.destroy(requests)
        for cluster in {request.cluster for request in requests}:
            self._census.leaves(cluster, (one.instance_id for one in outcomes if one.instance_id and not one.error))
        return outcomes

    def tag(self, requests: Sequence[TagRequest]) -> Sequence[Outcome]:
        return self._tagger.tag(requests)

    def published(self, images: Sequence[Image]) -> frozenset[str]:
        missing = {image.identity for image in images if not image.is_built or not self._images.has(image)}
        return frozenset(image.identity for image in images) - missing  # one may be wanted in several sizes

    def publish(self, image: Image, progress: Callable[[int, int], None]) -> None:
        self._images.forget(reference_of(image))
        if self._images.has(image):
            return
        if not must_be_published(image):
            raise ProviderError(
                f"image {image.name}: there is no {image.reference or 'such image'} that machines could boot from",
                hint="write the path of an image that this project may use: projects/PROJECT/global/images/NAME",
            )
        if self._publisher is None:
            raise ProviderError(
                f"image {image.name}: the provider has no bucket to publish images through",
                hint="write publish: {bucket: NAME} among its settings",
            )
        self._publisher.publish(image, progress)

    def publications(self) -> Sequence[Publication]:
        return self._publications.all()

    def unpublish(self, publications: Sequence[Publication]) -> Sequence[Outcome]:
        return self._unpublished([one.id for one in publications])

    def zones(self, machine: Mapping[str, Json]) -> tuple[str, ...]:
        return self._zones.known(Machine.model_validate(dict(machine)))

    def drains(self, machine: Mapping[str, Json]) -> bool:
        written = Machine.model_validate(dict(machine))
        return bool(written.backend_services or written.target_pools)

    def resolve(self, reference: str) -> str:
        return self._images.resolve(reference)

    def leftovers(self, cluster: str) -> Sequence[Leftover]:
        kept = self._belongings.leftovers(cluster)
        return [*kept, *self._publications.leftovers(cluster)] if self._publisher is not None else kept

    def sweep(self, cluster: str, leftovers: Sequence[Leftover]) -> Sequence[Outcome]:
        new = self._census.accepted_after(self._clock.now() - self.listing_lag_seconds)
        kept = [one for one in leftovers if one.kind != IMAGE]
        of_kept = iter(self._belongings.sweep(cluster, kept, new))
        of_images = iter(self._unpublished([one.id for one in leftovers if one.kind == IMAGE]))
        return [next(of_images if one.kind == IMAGE else of_kept) for one in leftovers]

    def examine(self, cluster: str, wanted: Sequence[Wanted]) -> Sequence[Finding]:
        """See `infrakit_py.spi.provider.Examining`."""
        return self._doctor.examine(cluster, wanted)

    def close(self) -> None:
        self._clients.close()

    def _unpublished(self, ids: Sequence[str]) -> list[Outcome]:
        outcomes = dict(zip(unique := list(dict.fromkeys(ids)), self._publications.remove(unique), strict=True))
        self._images.forget_published()
        return [outcomes[one] for one in ids]

    def _completed(self, running: Sequence[tuple[ProvisionRequest, Machine, str]]) -> dict[str, Outcome]:
        """Give machines that run what they lack. Of one that is gone meanwhile a look by its id will tell."""
        if not running:
            return {}
        try:
            seen = found(self._caller, [id_ for *_, id_ in running])
        except ProviderError as exc:
            return {request.token: Outcome(error=exc) for request, *_ in running}
        there = [(request, machine, seen[id_]) for request, machine, id_ in running if id_ in seen]
        finished = dict(
            zip(
                (request.token for request, *_ in there),
                completed(self._balancers, self._belongings, there),
                strict=True,
            )
        )
        return {one.token: finished.get(one.token, Outcome(InstanceId(id_))) for one, _, id_ in running}

    def _launched(self, coming: Sequence[tuple[ProvisionRequest, Machine, Ticket]]) -> dict[str, Outcome]:
        """Make as few calls as there are kinds and zones, some beside each other."""
        outcomes = self._told(request for request, *_ in coming)
        launches = list(launches_of([one for one in coming if one[0].token not in outcomes]))
        for launch, answer in zip(launches, self._caller.each(self._launcher.launch, launches), strict=True):
            failed = [Outcome(error=answer)] * len(launch.requests) if isinstance(answer, ProviderError) else answer
            outcomes |= {request.token: one for request, one in zip(launch.requests, failed, strict=True)}
        self._census.refused(
            token for token, one in outcomes.items() if one.error and (one.error.refused or not one.error.retryable)
        )
        return outcomes

    def _told(self, requests: Iterable[ProvisionRequest]) -> dict[str, Outcome]:
        """Tell of earlier creations that were accepted and failed, instead of failing in the same way again.

        Only who asks for the first time is told: a repetition may be about a machine that is there.
        """
        by_group: dict[tuple[str, str], list[ProvisionRequest]] = {}
        for request in self._arranger.asked_first(requests):
            owner = request.tags.get(tags.CLUSTER, ""), request.tags.get(tags.GROUP, "")
            by_group.setdefault(owner, []).append(request)
        outcomes: dict[str, Outcome] = {}
        for owner, members in by_group.items():
            if (error := self._pending.owed(*owner)) is not None:
                outcomes |= dict.fromkeys((one.token for one in members), Outcome(error=error))
        return outcomes

    def _note(self, addresses: Iterable[Address]) -> None:
        self._census.accepted({address.id: address for address in addresses}, self._clock.now())

    def _will_not_come(self, addresses: Iterable[Address]) -> None:
        """Expect machines no longer."""
        self._census.gone(address.id for address in addresses)

    def _may_come(self, instance_ids: Iterable[str]) -> frozenset[str]:
        """Return those of some machines, which are not there, that this process was promised and may yet get."""
        addresses = {address for one in instance_ids if (address := address_of(one)) is not None}
        return frozenset(address.id for address in self._pending.coming(addresses))


def _inhabitant(instance: Instance) -> Inhabitant:
    held = instance.tags
    return Inhabitant(
        token=held.get(tags.TOKEN, ""),
        cluster=held.get(tags.CLUSTER, ""),
        group=held.get(tags.GROUP, ""),
        zone=instance.zone,
        spot=instance.facts.get("provisioning") == "SPOT",
        version=held.get(tags.CONFIG_HASH, ""),
        id=instance.id,
        stays=instance.state in (InstanceState.PENDING, InstanceState.RUNNING, InstanceState.STOPPED),
        runs=instance.state is InstanceState.RUNNING,
    )
