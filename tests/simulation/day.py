"""A controller that runs for a day: eventful hours, and quiet ones in which nothing may be missed or pile up."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from infrakit_py.engine.aftermath import IDLE_SECONDS
from infrakit_py.engine.meter import Call
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import GroupSpec
from infrakit_py.stores.past import HISTORY_KEPT
from tests.simulation.simulation import Report, Simulation
from tests.simulation.story import GOOD_IMAGES, NAMES, draw_steps, draw_story, scaled
from tests.simulation.weight import weigh
from tests.simulation.world import CLUSTER, START, Violated, pick

MISSED: Final = "missed"
COST: Final = "cost"
GROWTH: Final = "growth"

SETTLES_WITHIN_SECONDS: Final = 3600.0
"""How long one change, or one death, may take where nothing fails."""
_EVENTFUL_SECONDS: Final = (600.0, 2400.0)
_QUIET_SECONDS: Final = (900.0, 3600.0)
_LATE_SECONDS: Final = 1.0
_SECONDS_A_STEP: Final = 3.0
_SLOTS_A_GROUP: Final = 2 * 8
_OBJECTS: Final = 350
_OBJECTS_A_GROUP: Final = 30
_OBJECTS_A_MACHINE: Final = 30
_OBJECTS_A_MACHINE_THAT_WAS: Final = 6
"""What may be kept in memory: linear in what there is, and for a day in what there was."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the program remembered at a time of rest: `engine` are objects, the rest is what its store holds."""

    at: float
    engine: int
    intents: int
    healthy: int
    history: int


class Tally:
    """Counts calls and how late ticks are."""

    def __init__(self) -> None:
        self.listings = 0
        self.ticks = 0

    def called(self, cluster: str, provider: str, call: Call, seconds: float, error: str) -> None:
        del cluster, provider, seconds, error
        self.listings += call is Call.DESCRIBE

    def ticked(self, cluster: str, group: str, seconds: float, late_seconds: float) -> None:
        del cluster, group, seconds, late_seconds
        self.ticks += 1


class Day(Simulation):
    """So many hours of one controller, which dies and is changed now and then."""

    def __init__(self, seed: int, hours: float) -> None:
        super().__init__(replace(draw_story(seed), endless=True, steps=()))
        self.ends_at = START + hours * 3600.0
        self.chance = Random(f"day {seed}")
        self.meter = self.tally = Tally()
        self.most_steps = int(hours * 3600.0 / _SECONDS_A_STEP) + 20_000
        self.precise = False
        self.loads: list[Load] = []
        self.changes = 0
        self.deaths = 0
        self.longest = 0.0

    def _live(self) -> None:
        while self.world.clock.now() < self.ends_at:
            self._be_eventful()
            self._make_peace(self.chance)
            self._settle("faults ceased", SETTLES_WITHIN_SECONDS * 3)
            self._be_quiet()
            self.calm = False

    def _be_eventful(self) -> None:
        began, seconds = self.world.clock.now(), self.chance.uniform(*_EVENTFUL_SECONDS)
        for step in draw_steps(self.chance, seconds):
            self._go_on_until(began + step.at)
            self.acts.perform(step)
            self._heed()
        self._go_on_until(began + seconds)

    # -- where nothing fails -------------------------------------------------------------------------------------

    def _be_quiet(self) -> None:
        """Change something, let a machine die, do nothing: in some order, and nothing of it may be missed."""
        doings: list[Callable[[], None]] = [self._change, self._change, self._die_unheard, self._rest, self._crash]
        self.chance.shuffle(doings)
        for do in doings[: self.chance.randint(2, len(doings))]:
            do()
        self._rest()

    def _change(self) -> None:
        """Declare another image, another size, or both, and perhaps all of it back again before it is done."""
        before = self.acts.groups[self.chance.choice(sorted(self.acts.groups))]
        self.changes += 1
        wanted = replace(before, image=self.chance.choice(GOOD_IMAGES)) if self.chance.random() < 0.7 else before
        if wanted is before or self.chance.random() < 0.3:
            wanted = scaled(wanted, self.chance.randint(1, 4 if before.logical_ids is not None else 8))
        self._declare(wanted, f"image {wanted.image}, size {wanted.count}")
        if self.chance.random() < 0.3:
            self._go_on_until(self.world.clock.now() + self.chance.uniform(0.0, 120.0))
            self._declare(before, "back again")
        self._settle("a change", SETTLES_WITHIN_SECONDS)

    def _declare(self, group: GroupSpec, what: str) -> None:
        self.acts.declare(group, what)
        self._heed()

    def _die_unheard(self) -> None:
        """Let a machine die. Who is at rest must see it at its next look."""
        victim = pick(self.chance, [m for m in self.world.everything() if self.world.serves(m)])
        if victim is None:
            return
        self.deaths += 1
        self.precise = True
        dies_at = self.world.clock.now() + self.chance.uniform(0.0, 2 * IDLE_SECONDS)
        self.world.doom(victim, dies_at)
        self._go_on_until(dies_at)
        self.world.log("fault", f"{victim.name} dies")
        group = self.world.groups[victim.id]
        within = min(IDLE_SECONDS, self.world.declared[group].health.interval_seconds) + _LATE_SECONDS
        deadline = self.world.clock.now() + within
        while not self._is_noticed(group, victim.id):
            if self.world.clock.now() >= deadline:
                raise Violated(MISSED, f"{victim.name} died {within:g}s ago: {self._where_it_stands()}")
            self._go_on_until(min(deadline, self.world.clock.now() + _LATE_SECONDS))
        self.precise = False
        self._settle("a death", SETTLES_WITHIN_SECONDS)

    def _is_noticed(self, group: str, machine_id: str) -> bool:
        """Tell whether a group is known to lack a machine, or has another one already."""
        status = self.engine.statuses().get(group) if self.engine is not None else None
        if status is None or status.plan is None:
            return False
        running = {a.member.id for a in status.plan.members if a.member.instance.state is InstanceState.RUNNING}
        return machine_id not in running

    def _crash(self) -> None:
        """Let the program die, and begin again a while later."""
        seconds = self.chance.choice((0.0, 5.0, 60.0, 400.0))
        self.world.log("crash", f"the program dies, for {seconds:g}s")
        self._die(seconds)
        self._settle("a restart", SETTLES_WITHIN_SECONDS)

    def _rest(self) -> None:
        """Do nothing, and count what that costs: a listing an interval for all groups together."""
        self._settle("nothing", SETTLES_WITHIN_SECONDS)
        seconds = self.chance.uniform(*_QUIET_SECONDS)
        listings = self.tally.listings
        self.precise = True
        told = len(self.world.lines)
        self._go_on_until(self.world.clock.now() + seconds)
        self.precise = False
        listings = self.tally.listings - listings
        most = seconds / self._shortest_interval() + 2
        if len(self.world.lines) == told and listings > most:
            raise Violated(COST, f"{listings} listings in {seconds:.0f}s at rest, where {most:.0f} do")
        self._settle("a rest", SETTLES_WITHIN_SECONDS)
        self._weigh()

    def _shortest_interval(self) -> float:
        checks = [group.health for group in self.world.declared.values()]
        return min([IDLE_SECONDS, *(check.interval_seconds for check in checks if not check.asks)])

    def _settle(self, after: str, within_seconds: float) -> None:
        """Let all come to rest, as declared."""
        began = self.world.clock.now()
        self._go_on_until(began + 2 * _LATE_SECONDS)
        try:
            self._come_to_rest(within_seconds)
        except Violated as exc:
            raise Violated(exc.invariant, f"after {after}: {str(exc).removeprefix(f'{exc.invariant}: ')}") from exc
        self._check_end()
        if after != "faults ceased":
            self.longest = max(self.longest, self.world.clock.now() - began)

    def _stride(self) -> float:
        return _LATE_SECONDS / 4 if self.precise else super()._stride()

    # -- what is remembered --------------------------------------------------------------------------------------

    def _weigh(self) -> None:
        """See that all that is remembered is about what there is, or was while this process lived."""
        world, store = self.world, self.world.store
        load = Load(
            world.clock.now(),
            sum(weigh([self.engine]).values()),
            len(store.intents(CLUSTER)),
            len(store.healthy_since(CLUSTER)),
            len(store.history(CLUSTER)),
        )
        self.loads.append(load)
        world.log("memory", f"{load}")
        made = sum(process == world.process for process in world.made_by.values())
        groups, machines = len(NAMES), len(world.everything())
        most = (
            _OBJECTS + groups * _OBJECTS_A_GROUP + machines * _OBJECTS_A_MACHINE + made * _OBJECTS_A_MACHINE_THAT_WAS
        )
        if load.engine > most:
            raise Violated(GROWTH, f"the engine keeps {load.engine} objects for {machines} machines, of {made} made")
        if strangers := store.healthy_since(CLUSTER).keys() - world.seen:
            raise Violated(GROWTH, f"{len(strangers)} machines are remembered that this process has never seen")
        if load.intents > groups * _SLOTS_A_GROUP or load.history > HISTORY_KEPT:
            raise Violated(GROWTH, f"the store keeps {load}")


def simulate_day(seed: int, hours: float) -> Report:
    return Day(seed, hours).run()
