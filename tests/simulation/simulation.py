"""The real engine in a world in which things go wrong, from one seed, in virtual time and one thread."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from infrakit_groups.flavors.vanilla import Vanilla
from infrakit_groups.flavors.vanilla_options import Options
from infrakit_py.engine.budget import Budget
from infrakit_py.engine.cluster import Cluster, Group, declared, revived, want_nothing
from infrakit_py.engine.engine import Engine, Phase
from infrakit_py.engine.events import Event
from infrakit_py.engine.execute import Executor
from infrakit_py.engine.health import HealthMonitor
from infrakit_py.engine.limits import Limiters
from infrakit_py.engine.meter import Meter, NoMeter
from infrakit_py.engine.observe import Observer
from infrakit_py.engine.reconcile import Reconciler
from infrakit_py.engine.runner import InlineRunner
from infrakit_py.engine.versions import RESUMED, Versions
from infrakit_py.errors import ProviderError
from infrakit_py.model import tags
from infrakit_py.model.instance import Instance, InstanceState
from infrakit_py.model.revision import GroupVersion, VersionState
from infrakit_py.model.spec import GroupSpec
from infrakit_py.spi.flavor import Flavor
from tests.simulation.acts import Acts
from tests.simulation.fate import Death
from tests.simulation.rules import LEAK, PROGRESS, Rules
from tests.simulation.story import GOOD_IMAGES, Story, calmed, draw_story
from tests.simulation.witness import WatchedPolicy, Witness
from tests.simulation.world import CLUSTER, START, Violated, World

CONVERGES_WITHIN_SECONDS: Final = 3 * 3600.0
_PERSON_LOOKS_EVERY_SECONDS: Final = 120.0
_APPLIED_AGAIN_AFTER_SECONDS: Final = 240.0
_AT_REST_SECONDS: Final = 60.0
_MOST_STEPS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended. `violation` is empty if all went well."""

    seed: int
    violation: str
    lines: tuple[str, ...]
    digest: str
    steps: int
    virtual_seconds: float
    machines: int


class DrainingFlavor(Vanilla):
    """Its machines take a while to leave service."""

    def __init__(self, world: World, group: str, seconds: float) -> None:
        super().__init__(Options(), cluster=CLUSTER, group=group)
        self.drains = True
        self._world = world
        self._seconds = seconds

    def drain(self, instance: Instance) -> bool:
        return self._world.clock.now() - float(instance.tags[tags.DRAINING]) >= self._seconds


class Simulation:
    """One run. `story` may be one with some acts left out."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.world = World(story.seed, story.settings)
        self.rules = Rules(self.world, story.budget)
        self.acts = Acts(story, self.world)
        self.acts.groups = {group.name: group for group in story.groups}
        self.engine: Engine | None = None
        self.provider: Witness | None = None
        self.restarts_at = START
        self.steps = 0
        self.calm = False
        self.most_steps = _MOST_STEPS
        self.meter: Meter = NoMeter()

    def run(self) -> Report:
        world, violation = self.world, ""
        for group in self.story.groups:
            world.log("story", f"group {_described(group)}")
        world.log("story", f"cloud {dict(self.story.settings)}; budget {self.story.budget}")
        try:
            self._live()
        except Violated as exc:
            violation = str(exc)
            world.log("VIOLATED", violation)
        machines = len(world.made_by)
        elapsed = world.clock.now() - START
        world.cloud.close()
        return Report(self.story.seed, violation, tuple(world.lines), world.digest, self.steps, elapsed, machines)

    def _live(self) -> None:
        self._eventful()
        self._calm_down()
        self._check_end()

    # -- time ----------------------------------------------------------------------------------------------------

    def _eventful(self) -> None:
        for step in self.story.steps:
            self._go_on_until(START + step.at)
            self.acts.perform(step)
            self._heed()
        self._go_on_until(START + self.story.ends_at)

    def _heed(self) -> None:
        """Let the program feel what an act has done to it."""
        if self.acts.crashes_for is not None:
            self._die(self.acts.crashes_for)
            self.acts.crashes_for = None
        elif self.acts.declares and self.engine is not None:
            self._end_process()
            self.restarts_at = self.world.clock.now()
        self.acts.declares = False

    def _calm_down(self) -> None:
        """Nothing fails any more, and people mend what only people can: everything must come to rest."""
        world = self.world
        world.log("story", "faults end; people mend what they broke")
        chance = Random(f"calm {self.story.seed}")
        self._make_peace(chance)
        self._come_to_rest(CONVERGES_WITHIN_SECONDS)

    def _make_peace(self, chance: Random) -> None:
        self.acts.make_peace({name: calmed(g, chance.choice(GOOD_IMAGES)) for name, g in self.acts.groups.items()})
        self._heed()
        self.calm = True
        self._end_process()
        self.restarts_at = self.world.clock.now()

    def _come_to_rest(self, within_seconds: float) -> None:
        world = self.world
        deadline = world.clock.now() + within_seconds
        while not self._is_at_rest():
            if world.clock.now() >= deadline:
                raise Violated(PROGRESS, f"not at rest {within_seconds:.0f}s later: {self._where_it_stands()}")
            self._go_on_until(world.clock.now() + _PERSON_LOOKS_EVERY_SECONDS, stop_at_rest=True)
            self._mend()

    def _go_on_until(self, until: float, *, stop_at_rest: bool = False) -> None:
        world = self.world
        while world.clock.now() < until:
            if self.engine is None and world.clock.now() >= self.restarts_at:
                self._start()
            due = self._step() if self.engine is not None else self.restarts_at
            if stop_at_rest and self._is_at_rest():
                return
            now = world.clock.now()
            world.clock.sleep(min(until, max(due, now + self._stride())) - now)

    def _stride(self) -> float:
        """Return how late the next step is: what is at rest is looked at less often, since nothing comes of it."""
        at_rest = self.engine is not None and self.engine.settled
        return max(self.story.stride_seconds, _AT_REST_SECONDS if at_rest else 0.0)

    def _step(self) -> float:
        engine = self.engine
        assert engine is not None
        self.steps += 1
        if self.steps > self.most_steps:
            raise Violated(PROGRESS, f"{self.most_steps} steps and no end: {self._where_it_stands()}")
        try:
            due = engine.step()
        except Death:
            self._die(self.acts.restart_seconds)
            return self.restarts_at
        self.rules.look()
        if not self.story.endless and not self.calm and engine.settled:
            self._end_process()
            self.restarts_at = self.world.clock.now() + _APPLIED_AGAIN_AFTER_SECONDS
            return self.restarts_at
        return due

    # -- processes -----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        world = self.world
        world.begin_process()
        world.declared = dict(self.acts.groups)
        world.log("process", f"number {world.process} starts")
        self.provider = Witness(world, self.rules)
        try:
            self.engine = self._engine(self.provider)
        except ProviderError as exc:
            world.log("process", f"does not start: {exc}")
            self._end_process()
            self.restarts_at = world.clock.now() + 10.0
        except Death:
            self._die(self.acts.restart_seconds)
        if self.engine is not None and self.story.hears_events:
            self.provider.watch(partial(self.engine.heard, "sim"))

    def _die(self, for_seconds: float) -> None:
        self._end_process()
        self.restarts_at = self.world.clock.now() + for_seconds

    def _end_process(self) -> None:
        if self.provider is not None:
            self.provider.close()
        self.engine = self.provider = None

    def _engine(self, provider: Witness) -> Engine:
        world, story = self.world, self.story
        policy, allow = WatchedPolicy(world), self.calm or self.acts.allow
        chance = Random(f"engine {story.seed} {world.process}")
        remember = partial(world.store.note_healthy, CLUSTER)
        monitor = HealthMonitor(world.clock, InlineRunner(), world.store.healthy_since(CLUSTER), remember)
        observer = Observer(CLUSTER, {"sim": provider}, world.store, monitor, world.clock, chance, self.meter)
        digest = repr(sorted(world.declared.items()))
        revision = world.store.revision(CLUSTER, digest, world.clock.now())
        groups: dict[str, Group] = {}
        for name, spec in world.declared.items():
            groups[name] = declared(
                CLUSTER,
                spec,
                story.images[spec.image],
                self._flavor(name),
                policy,
                revision=revision,
                allow_mass_destroy=allow,
            )
        for name in sorted(observer.groups_seen(all_of_them=True) - groups.keys()):
            groups[name] = Group(want_nothing(CLUSTER, name, allow_mass_destroy=allow), policy)
        self.acts.versions = {name: g.version for name, g in groups.items() if g.version is not None}
        after = {name: tuple(d for d in spec.depends_on if d in groups) for name, spec in world.declared.items()}
        cluster = Cluster(CLUSTER, revision, {"sim": provider}, groups, after, story.budget)

        def revive(version: GroupVersion, now: GroupSpec) -> Group:
            return revived(CLUSTER, version, now, self._flavor(now.name), policy)

        limiters = Limiters().of({"sim": provider}, world.clock.now())
        executor = Executor(cluster, world.store, InlineRunner(), world.clock, self._hear, limiters)
        versions = Versions(CLUSTER, world.store, world.clock, revive)
        budget = Budget(story.budget, {name: g.desired.count for name, g in groups.items()})
        return Engine(
            cluster,
            Reconciler(observer, executor, versions, budget, world.clock),
            InlineRunner(),
            world.clock,
            self._hear,
            poll_seconds=story.poll_seconds,
            chance=chance,
            endless=story.endless or self.calm,
            meter=self.meter,
        )

    def _flavor(self, group: str) -> Flavor:
        seconds = self.story.drain_seconds.get(group)
        if seconds is None:
            return Vanilla(Options(), cluster=CLUSTER, group=group)
        return DrainingFlavor(self.world, group, seconds)

    def _hear(self, event: Event) -> None:
        self.world.log(event.group, f"{event.kind}: {event.text}")

    # -- the end -------------------------------------------------------------------------------------------------

    def _mend(self) -> None:
        """Do what only a person does: resume what is stopped, remove what hangs and holds a breaker open."""
        if self.engine is None:
            return
        resumed = False
        for name, status in self.engine.statuses().items():
            version = self.acts.versions.get(name)
            if version is not None and self._is_stopped(name, version):
                self.world.log("person", f"resumes {name}, which is {status.phase}: {status.reason}")
                now = self.world.clock.now()
                self.world.store.note_version(CLUSTER, version, VersionState.ROLLING, now, RESUMED)
                resumed = True
        self.acts.remove_hanging()
        if resumed:
            self._end_process()
            self.restarts_at = self.world.clock.now()

    def _is_stopped(self, name: str, version: GroupVersion) -> bool:
        records = self.world.store.versions(CLUSTER, name)
        state = next((r.state for r in records if r.version.fingerprint == version.fingerprint), None)
        return state in (VersionState.FAILED, VersionState.UNDONE)

    def _is_at_rest(self) -> bool:
        return (
            self.calm
            and self.engine is not None
            and self.engine.settled
            and all(status.phase is Phase.CONVERGED for status in self.engine.statuses().values())
            and all(m.state is InstanceState.RUNNING for m in self.world.everything())
        )

    def _where_it_stands(self) -> str:
        if self.engine is None:
            return "no process"
        statuses: Mapping[str, object] = {n: (s.phase.value, s.reason) for n, s in self.engine.statuses().items()}
        return f"{statuses}"

    def _check_end(self) -> None:
        world = self.world
        for name in sorted({m.tags[tags.GROUP] for m in world.everything()} | world.declared.keys()):
            group, machines = world.declared.get(name), world.staying(name)
            if group is None:
                raise Violated(LEAK, f"{name}: {len(machines)} machines of a group that nobody declares")
            held = sorted(m.tags.get(tags.SLOT, "") for m in machines)
            if len(held) != group.count or (group.logical_ids is not None and held != sorted(group.logical_ids)):
                raise Violated(LEAK, f"{name}: machines {', '.join(held)} where {group.count} are wanted")
            fingerprint = self.acts.versions[name].fingerprint
            if any(m.tags.get(tags.CONFIG_HASH) != fingerprint for m in machines):
                raise Violated(PROGRESS, f"{name}: at rest with machines of another version")
            if not all(world.serves(m) for m in machines):
                raise Violated(PROGRESS, f"{name}: at rest with machines that do not serve")
        if lost := self.acts.foreign - {m.id for m in world.cloud.everything()}:
            raise Violated(LEAK, f"foreign machines are gone: {', '.join(sorted(lost))}")


def simulate(seed: int) -> Report:
    return Simulation(draw_story(seed)).run()


def _described(group: GroupSpec) -> str:
    rollout = group.rollout
    parts = [f"{group.name}: {group.count} {'named' if group.logical_ids else 'sized'} on {group.image}"]
    parts += [f"{rollout.strategy} surge {rollout.max_surge} unavailable {rollout.max_unavailable}"]
    if rollout.steps:
        parts.append(f"steps {', '.join(map(str, rollout.steps))}")
    parts.append(f"bake {rollout.bake_seconds:g} min_ready {rollout.min_ready_seconds:g}")
    parts.append(f"limit {rollout.failure_limit} on failure {rollout.on_failure}")
    if group.depends_on:
        parts.append(f"after {', '.join(group.depends_on)}")
    return "; ".join(parts)
