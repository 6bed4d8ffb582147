"""The simulated cloud as a provider: it only translates."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pydantic import ValidationError

from infrakit_providers.simulated.cloud import Change, Removal, SimCloud
from infrakit_providers.simulated.machines import Launch, Machine
from infrakit_providers.simulated.settings import SimMachine
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import Instance, InstanceId
from infrakit_py.model.spec import HealthCheck, Image
from infrakit_py.model.tags import CLUSTER, GROUP, owned_by
from infrakit_py.spi.provider import CallLimits, DestroyRequest, Leftover, Outcome, ProvisionRequest, TagRequest

LIMITS: Final = CallLimits(provision_batch=1000, destroy_batch=1000, tag_batch=1000, parallel_calls=8)


class SimulatedProvider:
    """One account of a simulated cloud. `on_close` ends what was opened for this provider alone."""

    limits: CallLimits = LIMITS

    def __init__(self, cloud: SimCloud, on_close: Callable[[], None] = lambda: None) -> None:
        self.listing_lag_seconds = cloud.settings.listing_lag
        self._cloud = cloud
        self._on_close = on_close

    def describe(self, cluster: str) -> Sequence[Instance]:
        return [_instance(machine) for machine in self._cloud.machines(cluster) if owned_by(machine.tags, cluster)]

    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        found = self._cloud.find(instance_ids)
        return {id_: _instance(found[id_]) if id_ in found else None for id_ in instance_ids}

    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        launches = [_launch(request) for request in requests]
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

    def leftovers(self, cluster: str) -> Sequence[Leftover]:
        disks, images = self._cloud.leftovers(cluster)
        kept = [Leftover(disk.id, "data disk", disk.key, disk.group, holds_data=True) for disk in disks]
        return kept + [Leftover(identity, "image", name) for identity, name in images]

    def sweep(self, cluster: str, leftovers: Sequence[Leftover]) -> Sequence[Outcome]:
        answered = self._cloud.sweep(cluster, [(one.kind, one.id) for one in leftovers])
        return [Outcome(error=answer if isinstance(answer, ProviderError) else None) for answer in answered]

    def watch(self, wake: Callable[[], None]) -> None:
        del wake  # the simulated cloud sends no events

    def probe(self, instance_id: InstanceId, check: HealthCheck) -> str | None:
        del check  # a simulated machine answers on every port
        return self._cloud.probe(instance_id)

    def close(self) -> None:
        self._on_close()


def _launch(request: ProvisionRequest) -> Launch | ProviderError:
    try:
        machine = SimMachine.model_validate(dict(request.machine))
    except ValidationError as exc:
        return ProviderError(f"{request.name}: not a machine of the simulated cloud: {exc.errors()[0]['msg']}")
    user_data = hashlib.sha256(request.user_data).hexdigest() if request.user_data is not None else ""
    parameters = f"{machine.model_dump_json()} {request.image.identity} {user_data}"
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
    facts = {"name": machine.name, "type": machine.type, "image": machine.image[:12]}
    if machine.disk:
        facts["data_disk"] = machine.disk
    return Instance(
        id=InstanceId(machine.id),
        tags=machine.tags,
        state=machine.state,
        launched_at=machine.created_at,
        addresses=(machine.address,) if machine.address else (),
        zone=machine.zone,
        detail=machine.detail,
        facts=facts,
    )


def _outcome(answer: str | ProviderError) -> Outcome:
    return Outcome(error=answer) if isinstance(answer, ProviderError) else Outcome(InstanceId(answer))


def _owner(request: TagRequest) -> dict[str, str]:
    return {CLUSTER: request.cluster} | ({GROUP: request.group} if request.group is not None else {})
