"""What people do to a cluster, and what fate does to its cloud."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Final

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.conditions import Condition, Lasting
from infrakit_providers.simulated.faults import Fault
from infrakit_providers.simulated.machines import Machine
from infrakit_py.engine.versions import RESUMED
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.revision import GroupVersion, VersionState
from infrakit_py.model.spec import GroupSpec
from infrakit_py.spi.store import Pause
from tests.simulation.fate import Moment
from tests.simulation.story import BAD_IMAGE, GOOD_IMAGES, Act, Step, Story, draw_rollout, scaled, tagged
from tests.simulation.world import CLUSTER, World, pick

_ALIVE: Final = (InstanceState.PENDING, InstanceState.RUNNING)
_CHANGING: Final = (Call.PROVISION, Call.DESTROY, Call.TAG)
_FEW: Final = 3


class Acts:
    """Performs acts. `groups` is what is declared now, whether or not the program has read it yet."""

    def __init__(self, story: Story, world: World) -> None:
        self.world = world
        self.groups: dict[str, GroupSpec] = {}
        self.versions: dict[str, GroupVersion] = {}
        self.removed: list[GroupSpec] = []
        self.foreign: set[str] = set()
        self.declares = False
        """Whether the declaration has changed, so that the program reads it anew."""
        self.crashes_for: float | None = None
        self.restart_seconds = 5.0
        self.allow = story.seed % 3 > 0
        self._has_budget = story.budget is not None

    def perform(self, step: Step) -> None:
        chance = Random(f"act {step.seed}")
        self._how()[step.act](chance)

    def _how(self) -> Mapping[Act, Callable[[Random], None]]:
        return {
            Act.IMAGE: lambda chance: self._declare_image(chance, chance.choice(GOOD_IMAGES)),
            Act.BAD_IMAGE: lambda chance: self._declare_image(chance, BAD_IMAGE),
            Act.SCALE: self._scale,
            Act.ROLLOUT: self._change_rollout,
            Act.USER_TAGS: self._change_user_tags,
            Act.REMOVE_GROUP: self._remove_group,
            Act.PAUSE: self._pause,
            Act.RESUME: self._resume,
            Act.UNDO: self._undo,
            Act.RETRY: self._retry,
            Act.PROTECT: lambda chance: self._tag(chance, tags.PROTECTED, "true"),
            Act.UNPROTECT: self._unprotect,
            Act.MARK: lambda chance: self._tag(chance, tags.REPLACE, "true"),
            Act.DESTROY_BY_HAND: self._destroy_by_hand,
            Act.STOP_BY_HAND: lambda chance: self._strike(chance, 1, "stops", lambda m: self.world.cloud.stop(m.id)),
            Act.FOREIGN: self._add_foreign,
            Act.CRASH: self._crash,
            Act.CRASH_AT_CALL: self._crash_at_call,
            Act.LOSE_STORE: self._lose_store,
            Act.FAIL: self._fail,
            Act.LOST_REPLY: self._lose_reply,
            Act.THROTTLE: lambda chance: self._order(chance.choice(_CHANGING), Fault.THROTTLED, chance.randint(1, 4)),
            Act.PARTIAL_VIEW: lambda chance: self._order(Call.DESCRIBE, Fault.INCOMPLETE_VIEW, chance.randint(1, 8)),
            Act.NO_CAPACITY: lambda chance: self._impose(Lasting.NO_CAPACITY, 0.0, self._zone(chance)),
            Act.QUOTA: lambda chance: self._impose(Lasting.QUOTA, float(chance.randint(0, 10)), ""),
            Act.NEVER_BOOT: lambda chance: self._impose(Lasting.NEVER_BOOT, chance.choice((0.3, 1.0)), ""),
            Act.SLOW_BOOT: lambda chance: self._impose(Lasting.SLOW_BOOT, chance.choice((3.0, 10.0)), ""),
            Act.KILL: lambda chance: self._strike(
                chance, chance.randint(1, 2), "die", lambda m: self.world.cloud.stop(m.id)
            ),
            Act.SICKEN: lambda chance: self._strike(
                chance, chance.randint(1, 3), "get sick", lambda m: self.world.cloud.set_sick(m.id, sick=True)
            ),
            Act.IMPAIR: lambda chance: self._strike(chance, 1, "are impaired", self.world.impair),
            Act.FLAP: self._flap,
            Act.RELIEF: self._relieve,
            Act.JUMP: self._jump,
        }

    # -- people --------------------------------------------------------------------------------------------------

    def declare(self, group: GroupSpec, what: str) -> None:
        self.groups[group.name] = group
        self.declares = True
        self.world.log("person", f"declares {group.name}: {what}")

    def _declare_image(self, chance: Random, image: str) -> None:
        group = self._group(chance)
        if image == BAD_IMAGE and not group.health.asks:
            return
        self.declare(replace(group, image=image), f"image {image}")

    def _scale(self, chance: Random) -> None:
        group = self._group(chance)
        size = chance.randint(1, 4 if group.logical_ids is not None else 8)
        self.declare(scaled(group, size), f"size {size}")

    def _change_rollout(self, chance: Random) -> None:
        group = self._group(chance)
        named = group.logical_ids is not None
        rollout = draw_rollout(chance, named=named, has_budget=self._has_budget)
        self.declare(replace(group, rollout=rollout), f"{rollout}")

    def _change_user_tags(self, chance: Random) -> None:
        value = chance.choice(("", "front", "back"))
        self.declare(tagged(self._group(chance), value), f"user tag {value!r}")

    def _remove_group(self, chance: Random) -> None:
        """Take a group out of the file, or put one back."""
        if self.removed:
            back = self.removed.pop()
            self.declare(back, "back again")
        elif len(self.groups) > 1:
            group = self._group(chance)
            del self.groups[group.name]
            self.removed.append(group)
            self.declares = True
            self.world.log("person", f"removes group {group.name}")
            for name, other in self.groups.items():
                kept = tuple(d for d in other.depends_on if d != group.name)
                self.groups[name] = replace(other, depends_on=kept)

    def _pause(self, chance: Random) -> None:
        name = self._group(chance).name
        self.world.log("person", f"pauses {name}")
        self.world.store.pause(CLUSTER, name, Pause("look", self.world.clock.now()))

    def _resume(self, chance: Random) -> None:
        del chance
        for name in self.world.store.pauses(CLUSTER):
            self.world.log("person", f"ends the pause of {name}")
            self.world.store.pause(CLUSTER, name, None)

    def _undo(self, chance: Random) -> None:
        name = self._group(chance).name
        records = self.world.store.versions(CLUSTER, name)
        version = self.versions.get(name)
        if version is None or not any(
            r.state is VersionState.GOOD and r.version.fingerprint != version.fingerprint for r in records
        ):
            return
        self.world.log("person", f"undoes the rollout of {name}")
        self.world.store.note_version(
            CLUSTER, version, VersionState.UNDONE, self.world.clock.now(), "undone by a person"
        )

    def _retry(self, chance: Random) -> None:
        name = self._group(chance).name
        version = self.versions.get(name)
        states = {r.version.fingerprint: r.state for r in self.world.store.versions(CLUSTER, name)}
        if version is None or states.get(version.fingerprint) not in (VersionState.FAILED, VersionState.UNDONE):
            return
        self.world.log("person", f"resumes the rollout of {name}")
        self.world.store.note_version(CLUSTER, version, VersionState.ROLLING, self.world.clock.now(), RESUMED)

    def _tag(self, chance: Random, key: str, value: str) -> None:
        machine = pick(chance, [m for m in self.world.everything() if m.state in _ALIVE])
        if machine is not None:
            self.world.log("person", f"tags {machine.name} {key}={value}")
            self.world.set_tag(machine, key, value)

    def _unprotect(self, chance: Random) -> None:
        del chance
        for machine in self.world.everything():
            if tags.PROTECTED in machine.tags:
                self.world.log("person", f"unprotects {machine.name}")
                self.world.set_tag(machine, tags.PROTECTED, None)

    def _destroy_by_hand(self, chance: Random) -> None:
        machine = pick(chance, [m for m in self.world.everything() if m.state in _ALIVE])
        if machine is not None:
            self.world.log("person", f"destroys {machine.name} by hand")
            self.world.take_away(machine)

    def _add_foreign(self, chance: Random) -> None:
        name = self._group(chance).name
        held = chance.choice(
            ({}, {tags.CLUSTER: "other", tags.GROUP: name}, {tags.CLUSTER: CLUSTER}, {tags.GROUP: name})
        )
        self.world.log("person", f"makes a machine by other means, with tags {held}")
        self.foreign.add(self.world.cloud.add_foreign(f"{name}-0", held))

    # -- fate ----------------------------------------------------------------------------------------------------

    def _crash(self, chance: Random) -> None:
        self.crashes_for = chance.choice((0.0, 5.0, 60.0, 400.0))
        self.world.log("crash", f"the program dies, for {self.crashes_for:g}s")

    def _crash_at_call(self, chance: Random) -> None:
        fate = self.world.fate
        fate.strikes_in, fate.moment = chance.randint(1, 6), chance.choice(list(Moment))
        self.restart_seconds = chance.choice((0.0, 1.0, 5.0, 60.0))
        self.world.log("crash", f"the program will die at changing call {fate.strikes_in} from now")

    def _lose_store(self, chance: Random) -> None:
        self.crashes_for = chance.choice((0.0, 5.0, 60.0))
        self.world.lose_store()
        self.world.log("crash", f"the program dies, for {self.crashes_for:g}s, and its store is lost")

    def _fail(self, chance: Random) -> None:
        call = chance.choice((Call.PROVISION, *_CHANGING, Call.DESCRIBE, Call.LOOKUP, Call.PROBE))
        fault = Fault.TRANSIENT
        if call is Call.PROVISION:
            fault = chance.choice((Fault.TRANSIENT, Fault.CAPACITY, Fault.QUOTA, Fault.CUT_SHORT))
        self._order(call, fault, chance.randint(1, 5))

    def _lose_reply(self, chance: Random) -> None:
        self._order(chance.choice((Call.PROVISION, *_CHANGING)), Fault.LOST_REPLY, chance.randint(1, 3))

    def _order(self, call: Call, fault: Fault, times: int) -> None:
        self.world.log("fault", f"the next {times} of {call}: {fault}")
        self.world.cloud.fail(call, fault, times)

    def _impose(self, kind: Lasting, amount: float, target: str) -> None:
        self.world.log("fault", f"{kind} {amount:g} {target}")
        self.world.cloud.impose(Condition(kind, amount, target))

    def _relieve(self, chance: Random) -> None:
        del chance
        self.world.log("fault", "relief")
        self.world.cloud.lift()

    def _strike(self, chance: Random, count: int, how: str, strike: Callable[[Machine], None]) -> None:
        alive = [m for m in self.world.everything() if m.state in _ALIVE]
        struck = chance.sample(alive, min(count, len(alive)))
        if struck:
            self.world.log("fault", f"{', '.join(m.name for m in struck)} {how}")
        for machine in struck:
            strike(machine)

    def _flap(self, chance: Random) -> None:
        seconds = chance.choice((15.0, 60.0, 200.0))
        now = self.world.clock.now()

        def flap(machine: Machine) -> None:
            self.world.cloud.interfere([machine.id], lambda row, _: row._replace(sick_since=now, flaps=seconds))

        self._strike(chance, 1, f"flaps every {seconds:g}s", flap)

    def _jump(self, chance: Random) -> None:
        seconds = chance.choice((30.0, 300.0, 4000.0))
        self.world.log("fault", f"the clock jumps by {seconds:g}s")
        self.world.clock.sleep(seconds)

    # -- at the end ----------------------------------------------------------------------------------------------

    def make_peace(self, groups: Mapping[str, GroupSpec]) -> None:
        """Declare what works, and mend what a program cannot mend."""
        self.groups = dict(groups)
        self.declares = True
        self.world.fate.strikes_in = 0
        self.world.cloud.lift()
        self._resume(Random(0))
        self._unprotect(Random(0))
        for group in self.groups.values():
            self.world.log("person", f"declares {group.name}: image {group.image}, size {group.count}")
        for machine in self.world.everything():
            if machine.row.flaps:
                self.world.cloud.set_sick(machine.id, sick=False)

    def remove_hanging(self) -> None:
        """Destroy by hand what is ill, where it is so many that no program may take them for ill."""
        for name in self.groups:
            ill = [m for m in self.world.staying(name) if not self.world.serves(m) and self._had_its_time(m)]
            if len(ill) >= _FEW:
                for machine in ill:
                    self.world.log("person", f"destroys {machine.name} by hand, which hangs")
                    self.world.take_away(machine)

    def _had_its_time(self, machine: Machine) -> bool:
        return self.world.clock.now() - machine.created_at > 900.0

    def _group(self, chance: Random) -> GroupSpec:
        return self.groups[chance.choice(sorted(self.groups))]

    def _zone(self, chance: Random) -> str:
        return chance.choice(("", *self.world.cloud.settings.zones))
