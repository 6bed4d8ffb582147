"""The provider that the program talks to: the simulated one, at whose calls the program may die and is watched."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from infrakit_groups.policies import rolling
from infrakit_providers.simulated.machines import Machine
from infrakit_providers.simulated.provider import SimulatedProvider
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import Instance, InstanceId, Snapshot
from infrakit_py.model.plan import Desired, GroupPlan
from infrakit_py.model.spec import HealthCheck, Image
from infrakit_py.model.tags import GROUP
from infrakit_py.spi.policy import Course
from infrakit_py.spi.provider import DestroyRequest, Outcome, ProvisionRequest, TagRequest
from tests.simulation.fate import Death
from tests.simulation.rules import Rules
from tests.simulation.world import Decided, World

T = TypeVar("T")

_ON_ITS_WAY_SECONDS: Final = 1.5
"""A request on its way for longer never arrives: that is less than the engine's margin for late listings."""


class Witness(SimulatedProvider):
    """Judges every call by what it has done to the cloud."""

    def __init__(self, world: World, rules: Rules) -> None:
        super().__init__(world.cloud)
        self._world = world
        self._rules = rules
        self._fate = world.fate

    def describe(self, cluster: str) -> Sequence[Instance]:
        began = self._world.clock.now()
        listed = super().describe(cluster)
        self._world.note_listing(began, (instance.id for instance in listed))
        if self._fate.late:
            arrived, self._fate.late = self._fate.late, []
            for call in arrived:
                call()
        return listed

    def lookup(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, Instance | None]:
        found = super().lookup(instance_ids)
        self._world.seen.update(id_ for id_, instance in found.items() if instance is not None)
        return found

    def probe(self, instance_id: InstanceId, check: HealthCheck) -> str | None:
        try:
            answer = super().probe(instance_id, check)
        except ProviderError:
            self._world.note_no_answer(instance_id)
            raise
        self._world.note_answer(instance_id, well=answer is None)
        return answer

    def provision(self, requests: Sequence[ProvisionRequest]) -> Sequence[Outcome]:
        names = ", ".join(request.name for request in requests)
        return self._change(f"provision {names}", partial(super().provision, requests))

    def destroy(self, requests: Sequence[DestroyRequest]) -> Sequence[Outcome]:
        names = ", ".join(self._name(request.instance_id) for request in requests)
        return self._change(f"destroy {names}", partial(super().destroy, requests), may_be_late=False)

    def tag(self, requests: Sequence[TagRequest]) -> Sequence[Outcome]:
        names = ", ".join(self._name(request.instance_id) for request in requests)
        return self._change(f"tag {names}", partial(super().tag, requests), may_be_late=False)

    def publish(self, image: Image, progress: Callable[[int, int], None]) -> None:
        self._change(f"publish {image.name}", partial(super().publish, image, progress))

    def _change(self, what: str, call: Callable[[], T], *, may_be_late: bool = True) -> T:
        """Make a call that changes the cloud. One of destructions may not arrive late: nobody could know of it."""
        judged = partial(self._judged, what, call)
        late = partial(self._arrive_late, what, call, self._world.clock.now()) if may_be_late else None
        try:
            return self._fate.meet(judged, late=late)
        except Death:
            self._world.log("crash", f"the program dies at: {what} ({self._fate.moment})")
            raise

    def _arrive_late(self, what: str, call: Callable[[], object], asked_at: float) -> None:
        if self._world.clock.now() > asked_at + _ON_ITS_WAY_SECONDS:
            self._world.log("cloud", f"{what}: never arrived")
            return
        try:
            self._judged(f"{what} (late)", call, late=True)
        except ProviderError:
            return

    def _judged(self, what: str, call: Callable[[], T], *, late: bool = False) -> T:
        before = self._machines()
        told = "done"
        try:
            return call()
        except ProviderError as exc:
            told = str(exc)
            raise
        finally:
            after = self._machines()
            for id_ in after.keys() - before.keys():
                self._world.made_by[id_] = -1 if late else self._world.process
                self._world.groups[id_] = after[id_].tags.get(GROUP, "")
                self._world.names[id_] = after[id_].name
            self._world.log("cloud", f"{what}: {told}")
            self._rules.judge(before, after, late=late)

    def _machines(self) -> dict[str, Machine]:
        return {machine.id: machine for machine in self._world.cloud.everything()}

    def _name(self, machine_id: str) -> str:
        return f"{self._world.names.get(machine_id, '?')}/{machine_id[2:6]}"


class WatchedPolicy:
    """The real policy. It notes when it decided on which group, and by how old a listing."""

    def __init__(self, world: World) -> None:
        self._world = world

    def decide(self, desired: Desired, snapshot: Snapshot, now: float) -> GroupPlan:
        self._world.decided[desired.group] = Decided(now, self._world.looked_at)
        return rolling.decide(desired, snapshot, now)

    def follow(self, desired: Desired, snapshot: Snapshot, now: float) -> Course:
        return rolling.follow(desired, snapshot, now)
