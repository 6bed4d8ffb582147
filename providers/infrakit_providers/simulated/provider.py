"""The simulated cloud as a provider: it only translates."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from pydantic import ValidationError

from infrakit_providers.simulated.buckets import Call, ec2_rates
from infrakit_providers.simulated.cloud import Change, Removal, SimCloud
from infrakit_providers.simulated.machines import Launch, Machine
from infrakit_providers.simulated.mishaps import MISHAPS, befall
from infrakit_providers.simulated.settings import SimMachine, SimSettings
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import Instance, InstanceId
from infrakit_py.model.spec import HealthCheck, Image, Json
from infrakit_py.model.tags import CLUSTER, GROUP, owned_by
from infrakit_py.spi.images import Publication
from infrakit_py.spi.provider import (
    CallLimits,
    DestroyRequest,
    Leftover,
    Outcome,
    Pace,
    Provider,
    ProvisionRequest,
    TagRequest,
)

LIMITS: Final = CallLimits(provision_batch=1000, destroy_batch=1000, tag_batch=1000, parallel_calls=8)


class SimulatedProvider(Provider):
    """One account of a simulated cloud. `on_close` ends what was opened for this provider alone."""

    mishaps: Mapping[str, str] = MISHAPS

    def __init__(self, cloud: SimCloud, on_close: Callable[[], None] = lambda: None) -> None:
        self.limits = _limits(cloud.settings)
        self.pace = _pace(cloud.settings)
        self.listing_lag_seconds = cloud.settings.listing_lag
        self._cloud = cloud
        self._on_close = on_close
        self._wakes: list[Callable[[], None]] = []
        self._described: dict[str, dict[str, tuple[Machine, Instance | None]]] = {}

    def describe(self, cluster: str) -> Sequence[Instance]:
        before, after = self._described.get(cluster, {}), {}
        for machine in self._cloud.machines(cluster):
            known = before.get(machine.row.id)
            if known is None or known[0] is not machine:
                known = machine, _instance(machine) if owned_by(machine.tags, cluster) else None
            after[machine.row.id] = known
        self._described[cluster] = after
        return [instance for _, instance in after.values() if instance]

    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        found = self._cloud.find(instance_ids)
        return {id_: _instance(found[id_]) if id_ in found else None for id_ in instance_ids}

    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        machines: dict[str, _Parsed] = {}
        launches = [_launch(request, machines) for request in requests]
        answered = iter(self._cloud.launch([launch for launch in launches if isinstance(launch, Launch)]))
        return [_outcome(next(answered) if isinstance(launch, Launch) else launch) for launch in launches]

    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        removals = [Removal(one.instance_id, {CLUSTER: one.cluster, GROUP: one.group}) for one in requests]
        return [_outcome(answer) for answer in self._cloud.destroy(removals)]

    def tag(self, requests: Sequence[TagRequest]) -> Sequence[Outcome]:
        changes = [Change(one.instance_id, one.set_tags, one.remove_tags, _owner(one)) for one in requests]
        return [_outcome(answer) for answer in self._cloud.tag(changes)]

    def published(self, images: Sequence[Image]) -> frozenset[str]:
        return self._cloud.published(images)

    def publish(self, image: Image, progress: Callable[[int, int], None]) -> None:
        self._cloud.publish(image, progress)

    def publications(self) -> Sequence[Publication]:
        return self._cloud.publications()

    def unpublish(self, publications: Sequence[Publication]) -> Sequence[Outcome]:
        answered = self._cloud.unpublish([publication.id for publication in publications])
        return [Outcome(error=answer if isinstance(answer, ProviderError) else None) for answer in answered]

    def leftovers(self, cluster: str) -> Sequence[Leftover]:
        disks, images = self._cloud.leftovers(cluster)
        kept = [Leftover(disk.id, "data disk", disk.key, disk.group, holds_data=True) for disk in disks]
        return kept + [Leftover(identity, "image", name) for identity, name in images]

    def sweep(self, cluster: str, leftovers: Sequence[Leftover]) -> Sequence[Outcome]:
        answered = self._cloud.sweep(cluster, [(one.kind, one.id) for one in leftovers])
        return [Outcome(error=answer if isinstance(answer, ProviderError) else None) for answer in answered]

    def zones(self, machine: Mapping[str, Json]) -> tuple[str, ...]:
        return tuple(SimMachine.model_validate(dict(machine)).zones or self._cloud.settings.zones)

    def watch(self, wake: Callable[[], None]) -> None:
        self._cloud.watch(wake)
        self._wakes.append(wake)

    def probe(self, instance_id: InstanceId, check: HealthCheck) -> str | None:
        del check  # a simulated machine answers on every port
        return self._cloud.probe(instance_id)

    def adopt(self, instances: Sequence[Instance], *, healthy: Mapping[InstanceId, bool]) -> None:
        self._cloud.adopt(instances, healthy=healthy)

    def mishap(self, kind: str, amount: float, target: str) -> None:
        befall(self._cloud, kind, amount, target)

    def close(self) -> None:
        while self._wakes:
            self._cloud.unwatch(self._wakes.pop())
        self._on_close()


class _Parsed(NamedTuple):
    """A machine mapping that a call names, parsed once for all its requests."""

    machine: SimMachine
    text: str


def _limits(settings: SimSettings) -> CallLimits:
    if settings.limits == "none":
        return LIMITS
    provision, destroy, tag = (ec2_rates(call) for call in (Call.PROVISION, Call.DESTROY, Call.TAG))
    return replace(LIMITS, provision=provision, destroy=destroy, tag=tag)


def _pace(settings: SimSettings) -> Pace:
    return Pace(
        boot_seconds=settings.boot_time.at(0.5),
        gone_seconds=settings.destroy_time,
        listed_seconds=settings.listing_lag,
        call_seconds=settings.provision_delay,
    )


def _launch(request: ProvisionRequest, parsed: dict[str, _Parsed]) -> Launch | ProviderError:
    written = repr(request.machine)
    if written not in parsed:
        try:
            machine = SimMachine.model_validate(dict(request.machine))
        except ValidationError as exc:
            return ProviderError(f"{request.name}: not a machine of the simulated cloud: {exc.errors()[0]['msg']}")
        parsed[written] = _Parsed(machine, machine.model_dump_json())
    machine, text = parsed[written]
    user_data = hashlib.sha256(request.user_data).hexdigest() if request.user_data is not None else ""
    parameters = f"{text} {request.image.identity} {user_data}"
    return Launch(
        token=request.token,
        name=request.name,
        tags=request.tags,
        image=request.image,
        parameters=hashlib.sha256(parameters.encode()).hexdigest(),
        type=machine.type,
        zones=tuple(machine.zones or ()),
        data_disk=machine.data_disk,
        data_key=request.data_key,
    )


def _instance(machine: Machine) -> Instance:
    row, address = machine.row, machine.address
    facts = {"name": row.name, "type": row.type, "image": row.image[:12]}
    if row.disk:
        facts["data_disk"] = row.disk
    return Instance(
        id=InstanceId(row.id),
        tags=row.tags,
        state=machine.state,
        launched_at=row.created_at,
        addresses=(address,) if address else (),
        zone=row.zone,
        detail=machine.detail,
        facts=facts,
        impaired=machine.impaired,
        host=row.host,
    )


def _outcome(answer: str | ProviderError) -> Outcome:
    return Outcome(error=answer) if isinstance(answer, ProviderError) else Outcome(InstanceId(answer))


def _owner(request: TagRequest) -> dict[str, str]:
    return {CLUSTER: request.cluster} | ({GROUP: request.group} if request.group is not None else {})
