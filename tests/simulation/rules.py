"""What must never happen, checked at the moment of each call that changed the cloud, whatever its caller was told.

The bounds are worked out here once more from the declaration, and not taken from the program.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from infrakit_providers.simulated.machines import Machine
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.quantities import Amount
from infrakit_py.model.spec import GroupSpec, Strategy
from tests.simulation.world import CLUSTER, Decided, Violated, World

FLOOR = "floor"
SURGE = "surge"
OWNERSHIP = "ownership"
PROTECTION = "protection"
UNIQUENESS = "uniqueness"
LEAK = "leak"
BUDGET = "budget"
EXPOSURE = "exposure"
PROGRESS = "progress"

_ON_THE_WAY_OUT = (InstanceState.LEAVING, InstanceState.GONE)


def surge_of(group: GroupSpec) -> int:
    """Return how many machines above its size an unnamed group may have."""
    count = group.count
    match group.rollout.strategy:
        case Strategy.ROLLING:
            return group.rollout.max_surge.rounded_up(count) if group.rollout.max_surge is not None else 1
        case Strategy.RECREATE:
            return 0
        case Strategy.BLUE_GREEN:
            return count


def unavailable_of(group: GroupSpec) -> int:
    """Return how many machines of its size a group may lack."""
    count = group.count
    if group.logical_ids is not None:
        return count - min(count // 2 + 1, max(0, count - 1))
    match group.rollout.strategy:
        case Strategy.ROLLING:
            return (group.rollout.max_unavailable or Amount(0)).rounded_down(count)
        case Strategy.RECREATE:
            return count
        case Strategy.BLUE_GREEN:
            return 0


@dataclass
class Rollout:
    """A version on its way into a group that has another one. `missing`: machines that it found missing."""

    fingerprint: str
    missing: int
    began: float


@dataclass
class Rules:
    """Compares the cloud before and after each call. `budget`: of the whole cluster, as declared."""

    world: World
    budget: Amount | None = None
    rollouts: dict[str, Rollout] = field(default_factory=dict)
    proven: set[tuple[str, str]] = field(default_factory=set)
    """Versions of which some machine was once well."""
    complete: set[tuple[str, str]] = field(default_factory=set)
    """Versions that once were on every machine of their group, and all of them were well."""

    def judge(self, before: Mapping[str, Machine], after: Mapping[str, Machine], *, late: bool) -> None:
        """Say what a call has done, and raise Violated if it must not have."""
        new = [m for id_, m in after.items() if id_ not in before]
        removed = [m for id_, m in before.items() if m.state not in _ON_THE_WAY_OUT and _is_leaving(after.get(id_))]
        drained = [m for id_, m in before.items() if _begins(m, after.get(id_), tags.DRAINING)]
        tagged = [m for id_, m in before.items() if id_ in after and after[id_].tags != m.tags]
        for machine in (*removed, *tagged):
            self._owned(machine)
        for machine in (*removed, *drained):
            self._unprotected(machine)
        if not late:
            self._floor([*removed, *drained])
            self._surge(new)
            self._exposure(new)
        if new:
            self._unique(new, self.world.everything())

    def look(self) -> None:
        """Check what must hold at any moment, and remember which versions have proved themselves."""
        world = self.world
        everyone = world.everything()
        self._unique(everyone, everyone)
        by_group: dict[str, list[Machine]] = {}
        for machine in everyone:
            if machine.id in world.answered:
                self.proven.add((machine.tags[tags.GROUP], machine.tags.get(tags.CONFIG_HASH, "")))
            if machine.state not in _ON_THE_WAY_OUT:
                by_group.setdefault(machine.tags[tags.GROUP], []).append(machine)
        for name, machines in by_group.items():
            versions = {m.tags.get(tags.CONFIG_HASH, "") for m in machines}
            group = world.declared.get(name)
            if group is not None and len(versions) == 1 and sum(map(world.serves, machines)) >= group.count:
                self.complete.add((name, versions.pop()))

    # -- machines that go ----------------------------------------------------------------------------------------

    def _owned(self, machine: Machine) -> None:
        if machine.tags.get(tags.CLUSTER) != CLUSTER or not machine.tags.get(tags.GROUP):
            raise Violated(OWNERSHIP, f"{machine.name} ({machine.id}) is not ours and was changed")

    def _unprotected(self, machine: Machine) -> None:
        group = machine.tags.get(tags.GROUP, "")
        known = self.world.decided.get(group, Decided())
        if tags.is_protected(machine.tags) and self.world.protected_at.get(machine.id, 0.0) <= known.looked_at:
            raise Violated(PROTECTION, f"{machine.name} ({machine.id}) is protected and was taken out of service")

    def _floor(self, victims: Iterable[Machine]) -> None:
        """Check that as many go on serving as declared, if any of those that went did serve.

        The cloud is as it is after the call, so whoever serves now has stayed.
        """
        lost: dict[str, list[Machine]] = {}
        for victim in victims:
            if self.world.served_as_known(victim):
                lost.setdefault(victim.tags[tags.GROUP], []).append(victim)
        for name, machines in lost.items():
            group = self.world.declared.get(name)
            if group is None:
                continue
            floor, left = group.count - unavailable_of(group), self.world.serving(name)
            gone = ", ".join(m.name for m in machines)
            if left < floor:
                raise Violated(FLOOR, f"{name}: {gone} went, and {left} of {group.count} serve; {floor} must")
            if left < group.count:
                self._within_budget(name, gone)

    def _within_budget(self, name: str, gone: str) -> None:
        if self.budget is None:
            return
        groups = self.world.declared.values()
        limit = self.budget.rounded_down(sum(group.count for group in groups))
        lacking = {group.name: self._lacking(group) for group in groups}
        if sum(lacking.values()) > limit:
            told = ", ".join(f"{group} {n}" for group, n in lacking.items() if n)
            raise Violated(BUDGET, f"{name}: {gone} went, and {told} are missing where the cluster may lack {limit}")

    def _lacking(self, group: GroupSpec) -> int:
        """Return how many machines a group lacks. One that waits for others does not miss what it never had."""
        serving = self.world.serving(group.name)
        lacks = max(0, group.count - serving)
        if not group.depends_on:
            return lacks
        there = [m for m in self.world.everything() if m.tags[tags.GROUP] == group.name]
        return min(lacks, max(0, len(there) - serving))

    # -- machines that come --------------------------------------------------------------------------------------

    def _surge(self, new: Iterable[Machine]) -> None:
        for name in sorted({m.tags.get(tags.GROUP, "") for m in new}):
            group = self.world.declared.get(name)
            if group is None:
                raise Violated(LEAK, f"{name}: a machine was made for a group that nobody declares")
            if group.logical_ids is not None:
                continue
            present = [m for m in self.world.staying(name) if self._takes_room(m)]
            if len(present) > (most := group.count + surge_of(group)):
                names = ", ".join(m.name for m in present)
                raise Violated(SURGE, f"{name}: {len(present)} machines ({names}) where at most {most} may be")

    def _takes_room(self, machine: Machine) -> bool:
        if machine.state in (InstanceState.STOPPED, InstanceState.INCOMPLETE):
            return False
        return not self._unknowable(machine)

    def _unknowable(self, machine: Machine) -> bool:
        """Tell whether nobody could know of a machine: not listed yet, and its maker's memory is lost."""
        world = self.world
        made_by = world.made_by.get(machine.id, world.process)
        if machine.id in world.seen or made_by == world.process:
            return False
        return made_by < 0 or machine.created_at <= world.store_lost_at

    def _unique(self, machines: Iterable[Machine], everyone: Iterable[Machine]) -> None:
        """Check that no slot and no name is held by two, one on its way out included if it is a name."""
        holders: dict[tuple[str, str], list[Machine]] = {}
        for machine in everyone:
            holders.setdefault((machine.tags[tags.GROUP], machine.tags.get(tags.SLOT, "")), []).append(machine)
        for machine in machines:
            held = holders.get((machine.tags[tags.GROUP], machine.tags.get(tags.SLOT, "")), [])
            named = tags.LOGICAL_ID in machine.tags
            alive = [m for m in held if named or m.state not in _ON_THE_WAY_OUT]
            if len(alive) > 1:
                raise Violated(UNIQUENESS, f"{machine.name}: {' and '.join(m.id for m in alive)} hold it")

    # -- new versions --------------------------------------------------------------------------------------------

    def _exposure(self, new: Iterable[Machine]) -> None:
        """Check that an unproven version gets no more machines than its step, or surge and unavailable, allow."""
        for name, fingerprint in sorted({(m.tags[tags.GROUP], m.tags.get(tags.CONFIG_HASH, "")) for m in new}):
            group, there = self.world.declared[name], self.world.staying(name)
            mine = [m for m in there if m.tags.get(tags.CONFIG_HASH) == fingerprint and not self._unknowable(m)]
            others = [m for m in there if m not in mine and m.state is InstanceState.RUNNING]
            if not any(m.id in self.world.seen and not tags.is_protected(m.tags) for m in others):
                self.rollouts.pop(name, None)
                continue
            if self.rollouts.get(name, Rollout("", 0, 0.0)).fingerprint != fingerprint:
                missing = group.count - sum(self.world.serves(m) for m in others)
                self.rollouts[name] = Rollout(fingerprint, max(0, missing), self.world.clock.now())
            if (name, fingerprint) in self.complete:
                continue
            allowed, steps = self._allowed(group, mine, fingerprint, len(others))
            going = (InstanceState.STOPPED,) if not steps else ()
            counted = [m for m in mine if m.state not in going and tags.DRAINING not in m.tags]
            if len(counted) > allowed:
                names = ", ".join(m.name for m in counted)
                raise Violated(
                    EXPOSURE, f"{name}: {len(counted)} of a version ({names}) that {allowed} may have by now"
                )

    def _allowed(self, group: GroupSpec, mine: list[Machine], fingerprint: str, others: int) -> tuple[int, bool]:
        """Return how many there may be, and whether a step says so: a dead one counts for a step."""
        now, count = self.world.clock.now(), group.count
        steps = sorted({step.rounded_up(count) for step in group.rollout.steps})
        steps = steps if group.rollout.strategy is Strategy.ROLLING else []
        baked = sum(self.world.seems_to_serve(m) and now - m.row.boots_at >= group.rollout.bake_seconds for m in mine)
        step = next((s for s in (*(s for s in steps if 0 < s < count), count) if baked < s), count)
        if step < count:
            return step, True
        if (group.name, fingerprint) in self.proven or group.logical_ids is not None:
            return count + surge_of(group), False
        found_missing = self.rollouts[group.name].missing
        fallen = max(0, count - others - unavailable_of(group) - found_missing)
        return max(1, surge_of(group) + unavailable_of(group)) + found_missing + fallen, False


def _is_leaving(machine: Machine | None) -> bool:
    return machine is None or machine.state in _ON_THE_WAY_OUT


def _begins(before: Machine, after: Machine | None, key: str) -> bool:
    return after is not None and key in after.tags and key not in before.tags
