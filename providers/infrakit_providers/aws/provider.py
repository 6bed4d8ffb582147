"""One account's region as a provider. The work is done by its parts; here they meet.

The tags are all there is: what this object remembers between calls only makes it quicker, or more careful.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any, Final

from pydantic import ValidationError

from infrakit_providers.aws import publications, wire
from infrakit_providers.aws.abroad import Abroad
from infrakit_providers.aws.amis import Amis
from infrakit_providers.aws.arranging import Arranger
from infrakit_providers.aws.balancers import Balancers
from infrakit_providers.aws.belongings import Belongings
from infrakit_providers.aws.calls import Caller, Rates
from infrakit_providers.aws.clients import Clients
from infrakit_providers.aws.doctor import Doctor
from infrakit_providers.aws.fleets import TEMPLATE
from infrakit_providers.aws.handing_on import is_handed_on
from infrakit_providers.aws.images import Images
from infrakit_providers.aws.launching import Launcher, completed, launches_of
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.metadata_service import fitted
from infrakit_providers.aws.news import Bulletin
from infrakit_providers.aws.owned import found
from infrakit_providers.aws.publications import Publications
from infrakit_providers.aws.publishing import Publisher
from infrakit_providers.aws.removing import Remover
from infrakit_providers.aws.settings import Settings
from infrakit_providers.aws.subnets import Subnets
from infrakit_providers.aws.tagging import Tagger
from infrakit_providers.aws.tickets import Ticket, read_ticket
from infrakit_providers.cloud.census import Census, Inhabitant
from infrakit_providers.cloud.pools import Pools
from infrakit_providers.cloud.standing import FINE
from infrakit_py.errors import ProviderError
from infrakit_py.model import tags
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import Image, ImageForm, Json
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
    TagRequest,
    Wanted,
)

BATCH: Final = 1000
_PAGE: Final = 1000
_TOGETHER: Final = 8


class AwsProvider(Provider):
    """See `infrakit_py.spi.provider.Provider`."""

    pace = Pace(boot_seconds=30.0, gone_seconds=30.0, listed_seconds=2.0, call_seconds=2.0)

    def __init__(self, settings: Settings, context: ProviderContext, rates: Rates) -> None:
        """`rates` are the account's, shared by all that use it."""
        limits = settings.limits
        self.limits = CallLimits(
            provision_batch=BATCH,
            destroy_batch=BATCH,
            tag_batch=BATCH,
            parallel_calls=settings.parallel_calls,
            provision=CallRates(machines=limits.run_instances_machines.rate),
            destroy=CallRates(machines=limits.terminate_instances_machines.rate),
        )
        self.listing_lag_seconds = settings.listing_lag
        self.account = settings.account
        self._clock = context.clock
        self._opened_at = context.clock.now()
        self._clients = Clients(settings)
        self._caller = Caller(self._clients, rates, context.clock, Random())
        self._census = Census()
        self._abroad = Abroad(settings, context.clock)
        self._images = Images(
            self._caller, Amis(self._caller, context.clock), partial(is_handed_on, settings.publish)
        )
        self._publisher = Publisher(self._caller, settings, context.disks, context.clock, self._abroad.caller)
        self._publications = Publications(self._caller, context.clock, self._new)
        self._subnets = Subnets(self._caller, context.clock)
        self._belongings = Belongings(self._caller)
        self._balancers = Balancers(self._caller, context.clock)
        self._bulletin = Bulletin(self._caller, context.clock)
        pools = Pools(context.clock, settings.capacity_memory)
        self._arranger = Arranger(self._census, pools, self._subnets, self._belongings, context.clock)
        self._launcher = Launcher(
            self._caller, self._images, pools, self._subnets, self._belongings, self._note, self._is_young
        )
        self._remover = Remover(self._caller, self._balancers, self._is_new)
        self._tagger = Tagger(self._caller, self._balancers, self._is_new)
        self._doctor = Doctor(self._caller, self._images, settings)

    def describe(self, cluster: str) -> Sequence[Instance]:
        filters = [
            {"Name": f"tag:{tags.CLUSTER}", "Values": [cluster]},
            {"Name": "instance-state-name", "Values": list(wire.THERE)},
        ]
        doing = f"list the instances of {cluster}"
        raws = [
            (raw, wire.tags_of(raw))
            for page in self._caller.pages("ec2", "describe_instances", doing, Filters=filters, MaxResults=_PAGE)
            for reservation in page["Reservations"]
            for raw in reservation["Instances"]
        ]
        ours = [(raw, held) for raw, held in raws if tags.owned_by(held, cluster)]
        news = self._news(cluster, ours)
        instances = [wire.instance(raw, held, news.get(raw["InstanceId"], wire.NO_NEWS)) for raw, held in ours]
        self._census.see(cluster, map(_inhabitant, instances), self._clock.now())
        return instances

    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        now, lag = self._clock.now(), self.listing_lag_seconds
        known = {id_: (raw, wire.tags_of(raw)) for id_, raw in found(self._caller, instance_ids).items()}
        news = self._news_of_all(known.values())
        seen: dict[InstanceId, Instance | None] = {}
        for instance_id in instance_ids:
            if instance_id in known:
                seen[instance_id] = wire.instance(*known[instance_id], news.get(instance_id, wire.NO_NEWS))
            elif (raw := self._census.accepted_since(instance_id, now - lag)) is not None:
                seen[instance_id] = wire.instance(raw, wire.tags_of(raw))
            elif not self._is_young():
                seen[instance_id] = None
        self._census.meet(_inhabitant(one) for one in seen.values() if one is not None)
        return seen

    def arrange(self, requests: Sequence[ProvisionRequest]) -> Sequence[str]:
        return self._arranger.arrange([(request, _machine(request)) for request in requests])

    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        outcomes: dict[str, Outcome] = {}
        there: list[tuple[ProvisionRequest, Machine, str, str]] = []
        coming: list[tuple[ProvisionRequest, Machine, Ticket]] = []
        for request in {request.token: request for request in requests}.values():
            try:
                machine = _machine(request)
                known = self._census.present(request.tags.get(tags.CLUSTER, ""), request.token)
                if known is not None and known.runs:
                    there.append((request, machine, known.id, known.zone))
                elif known is not None:
                    outcomes[request.token] = Outcome(InstanceId(known.id))
                else:
                    ticket = read_ticket(request.ticket) if request.ticket else None
                    coming.append((request, machine, ticket or self._arranger.alone(request, machine)))
            except ProviderError as exc:
                outcomes[request.token] = Outcome(error=exc)
        for (request, *_), outcome in zip(there, completed(self._balancers, self._belongings, there), strict=True):
            outcomes[request.token] = outcome
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
        return self._images.available(images)

    def publish(self, image: Image, progress: Callable[[int, int], None]) -> None:
        if image.form is not ImageForm.REFERENCE:
            self._publisher.publish(image, progress)
        elif image.identity not in self.published([image]):
            raise ProviderError(
                f"image {image.name}: there is no {image.reference} in this region",
                hint="write the id of an image that this account may use here",
            )

    def publications(self) -> Sequence[Publication]:
        return self._publications.all()

    def unpublish(self, publications: Sequence[Publication]) -> Sequence[Outcome]:
        return self._publications.unpublish(one.id for one in publications)

    def zones(self, machine: Mapping[str, Json]) -> tuple[str, ...]:
        return self._subnets.zones(Machine.model_validate(dict(machine)))

    def drains(self, machine: Mapping[str, Json]) -> bool:
        return bool(Machine.model_validate(dict(machine)).target_groups)

    def resolve(self, reference: str) -> str:
        return self._images.resolve(reference)

    def leftovers(self, cluster: str) -> Sequence[Leftover]:
        return [
            *self._belongings.leftovers(cluster),
            *self._launcher.fleets.leftovers(cluster),
            *self._publications.leftovers(cluster),
        ]

    def sweep(self, cluster: str, leftovers: Sequence[Leftover]) -> Sequence[Outcome]:
        kept = [one for one in leftovers if one.kind not in (TEMPLATE, publications.IMAGE)]
        others = iter(self._belongings.sweep(cluster, kept, self._new()))
        outcomes = []
        for one in leftovers:
            if one.kind == TEMPLATE:
                outcomes.append(self._launcher.fleets.delete(cluster, one))
            elif one.kind == publications.IMAGE:
                outcomes += self._publications.unpublish([one.id])
            else:
                outcomes.append(next(others))
        return outcomes

    def examine(self, cluster: str, wanted: Sequence[Wanted]) -> Sequence[Finding]:
        """See `infrakit_py.spi.provider.Examining`."""
        return self._doctor.examine(cluster, wanted)

    def close(self) -> None:
        self._clients.close()
        self._abroad.close()

    def _news(
        self, cluster: str, ours: Sequence[tuple[Mapping[str, Any], Mapping[str, str]]]
    ) -> Mapping[str, wire.News]:
        """Return what else there is to know of instances, where there is anything."""
        running = {raw["InstanceId"]: (raw, held) for raw, held in ours if raw["State"]["Name"] == "running"}
        if not running:
            return {}
        impaired, doomed = self._bulletin.impaired(), self._bulletin.doomed()
        interrupted = self._bulletin.interrupted(
            {id_ for id_, (raw, _) in running.items() if raw.get("InstanceLifecycle") == "spot"}
        )
        lacks = self._belongings.lacks(cluster, [raw for raw, _ in running.values()])
        behind = {id_: groups for id_, (raw, _) in running.items() if (groups := wire.target_groups(raw))}
        draining = {id_ for id_ in behind if tags.DRAINING in running[id_][1]}
        standings = self._balancers.standings(behind, draining) if behind else {}
        told = running.keys() & {*impaired, *doomed, *interrupted, *lacks, *standings}
        return {
            id_: wire.News(
                impaired.get(id_, ""),
                doomed.get(id_, ""),
                interrupted.get(id_, ""),
                lacks.get(id_, ""),
                standings.get(id_, FINE),
            )
            for id_ in told
        }

    def _note(self, raws: Sequence[Mapping[str, Any]]) -> None:
        now = self._clock.now()
        launched = {"LaunchTime": datetime.fromtimestamp(now, UTC)}  # a fleet's answer does not say when
        self._census.accepted({raw["InstanceId"]: launched | dict(raw) for raw in raws}, now)

    def _is_young(self) -> bool:
        """Tell whether an earlier process may have launched what is not listed yet."""
        return self._clock.now() - self._opened_at < self.listing_lag_seconds

    def _new(self) -> Collection[str]:
        """Return the instances that were launched here so lately that EC2 may not list them."""
        return self._census.accepted_after(self._clock.now() - self.listing_lag_seconds)

    def _is_new(self, instance_id: str) -> bool:
        """Tell whether an instance was launched so lately that EC2 may not know it everywhere yet."""
        return self._census.accepted_since(instance_id, self._clock.now() - self.listing_lag_seconds) is not None

    def _news_of_all(self, seen: Iterable[tuple[Mapping[str, Any], Mapping[str, str]]]) -> Mapping[str, wire.News]:
        """Return the news of instances of any clusters."""
        by_cluster: defaultdict[str, list[tuple[Mapping[str, Any], Mapping[str, str]]]] = defaultdict(list)
        for raw, held in seen:
            if held.get(tags.CLUSTER):
                by_cluster[held[tags.CLUSTER]].append((raw, held))
        return {id_: one for cluster, ours in by_cluster.items() for id_, one in self._news(cluster, ours).items()}

    def _launched(self, coming: Sequence[tuple[ProvisionRequest, Machine, Ticket]]) -> dict[str, Outcome]:
        """Make as few calls as there are tickets, some beside each other."""
        launches = list(launches_of(coming))
        if not launches:
            return {}
        with ThreadPoolExecutor(min(_TOGETHER, len(launches)), thread_name_prefix="launch") as pool:
            answers = list(pool.map(self._launcher.launch, launches))
        outcomes = {
            request.token: outcome
            for launch, answer in zip(launches, answers, strict=True)
            for request, outcome in zip(launch.requests, answer, strict=True)
        }
        self._census.refused(
            token for token, one in outcomes.items() if one.error and (one.error.refused or not one.error.retryable)
        )
        return outcomes


def _machine(request: ProvisionRequest) -> Machine:
    """Read a request's machine, as it boots the request's image."""
    try:
        machine = Machine.model_validate(dict(request.machine))
    except ValidationError as exc:
        raise ProviderError(f"{request.name}: not a machine of EC2: {exc.errors()[0]['msg']}") from exc
    return fitted(machine, request.image)


def _inhabitant(instance: Instance) -> Inhabitant:
    held = instance.tags
    return Inhabitant(
        token=held.get(tags.TOKEN, ""),
        cluster=held.get(tags.CLUSTER, ""),
        group=held.get(tags.GROUP, ""),
        zone=instance.zone,
        spot=instance.facts.get("lifecycle") == "spot",
        version=held.get(tags.CONFIG_HASH, ""),
        id=instance.id,
        stays=instance.state in (InstanceState.PENDING, InstanceState.RUNNING, InstanceState.STOPPED),
        runs=instance.state is InstanceState.RUNNING,
    )
