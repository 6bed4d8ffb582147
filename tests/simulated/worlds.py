"""A simulated cloud with a provider on it and a clock that the test moves."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.provider import SimulatedProvider
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.clock import VirtualClock
from infrakit_py.model import tags
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import Image, ImageFile, ImageForm, Json
from infrakit_py.spi.provider import DestroyRequest, Now, Outcome, ProvisionRequest

REFERENCE = Image("linux", "ab" * 32, ImageForm.REFERENCE, reference="linux-1")
BUILT = Image("built", "cd" * 32, ImageForm.KERNEL, {"kernel": ImageFile("kernel", "cd" * 32, 8_000_000)})


@dataclass(frozen=True)
class World:
    cloud: SimCloud
    provider: SimulatedProvider
    clock: VirtualClock

    def provision(self, *slots: int, **wanted: object) -> list[Outcome]:
        """Provision machines of group web of cluster c."""
        return list(self.provider.provision([request(slot, **wanted) for slot in slots]))

    def boot(self, *slots: int, **wanted: object) -> list[InstanceId]:
        """Provision machines, all of which must be accepted."""
        outcomes = self.provision(*slots, **wanted)
        assert all(outcome.error is None for outcome in outcomes), outcomes
        return [outcome.instance_id for outcome in outcomes if outcome.instance_id]

    def destroy(self, *ids: InstanceId) -> None:
        outcomes = self.provider.destroy([DestroyRequest(id_, "c", "web") for id_ in ids])
        assert all(outcome.error is None for outcome in outcomes), outcomes

    def state(self, instance_id: InstanceId) -> InstanceState | None:
        found = self.provider.lookup([instance_id])[instance_id]
        return found.state if found else None

    def listed(self, cluster: str = "c") -> list[InstanceId]:
        return [instance.id for instance in self.provider.describe(cluster)]

    def see(self, instance_id: InstanceId) -> Instance:
        found = self.provider.lookup([instance_id])[instance_id]
        assert found
        return found


def open_world(settings: Mapping[str, Json], *, path: Path | None = None, clock: Now | None = None) -> World:
    virtual = VirtualClock()
    cloud = SimCloud(SimSettings.model_validate(dict(settings)), clock or virtual, path)
    return World(cloud, SimulatedProvider(cloud, on_close=cloud.close), virtual)


def request(slot: int, **wanted: object) -> ProvisionRequest:
    """Return a request for slot `slot`; `wanted` may name cluster, group, incarnation, and fields to replace."""
    cluster, group = str(wanted.pop("cluster", "c")), str(wanted.pop("group", "web"))
    token = tags.token(cluster, group, str(slot), int(str(wanted.pop("incarnation", 0))))
    owned = {tags.CLUSTER: cluster, tags.GROUP: group, tags.SLOT: str(slot), tags.TOKEN: token}
    return replace(ProvisionRequest(token, f"{group}-{slot}", owned, REFERENCE, {}), **wanted)  # type: ignore[arg-type]


def errors(outcomes: list[Outcome]) -> list[str]:
    """Return the names of the outcomes' errors, empty for what was accepted."""
    return [type(outcome.error).__name__ if outcome.error else "" for outcome in outcomes]
