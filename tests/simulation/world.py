"""The simulated cloud as it really is, past any lag, and what the program can know of it.

The truth is read off the cloud's own rows. What a program was never told it cannot be blamed for: a machine that
failed after the last listing that it saw, or of which too few health checks have failed yet, still counts as serving.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from random import Random

from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.machines import Machine, Row, answers, died
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.clock import VirtualClock
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import GroupSpec
from tests.simulation.fate import Fate, MortalStore

CLUSTER = "shop"
START = 1_750_000_000.0
_STAYS = (InstanceState.INCOMPLETE, InstanceState.PENDING, InstanceState.RUNNING, InstanceState.STOPPED)


class Violated(BaseException):
    """An invariant does not hold. Nothing catches it, so that the run ends where it happened."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant


@dataclass(frozen=True, slots=True)
class Decided:
    """When a group was last decided on by the present process, and how old the listing was that it saw."""

    at: float = -inf
    looked_at: float = -inf


@dataclass
class Removed:
    """A machine that somebody took away by hand."""

    group: str
    at: float
    served: bool


@dataclass
class World:
    """What there is, and what has happened so far."""

    seed: int
    settings: Mapping[str, object]
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(START))
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cloud = SimCloud(SimSettings.model_validate(self.settings), self.clock)
        self.fate = Fate()
        self.store = MortalStore(self.clock, self.fate)
        self.store_lost_at = -inf
        self.process = 0
        self.declared: dict[str, GroupSpec] = {}
        self.decided: dict[str, Decided] = {}
        self.looked_at = -inf
        self.removed: list[Removed] = []
        self.answered: dict[str, float] = {}
        """Machines that once served, as some program was told, and since when it knew."""
        self.ill_since: dict[str, float] = {}
        """Machines that the present process must take for ill, and since when it must."""
        self.misses: dict[str, int] = {}
        self.hits: dict[str, int] = {}
        self.impaired_at: dict[str, float] = {}
        self.protected_at: dict[str, float] = {}
        self.made_by: dict[str, int] = {}
        """The process that asked for a machine; one that arrived late counts for process -1."""
        self.groups: dict[str, str] = {}
        """The group that each machine was made for."""
        self.names: dict[str, str] = {}
        self.seen: set[str] = set()
        """Machines that were in a listing of the present process, or whose id it was told."""

    def log(self, who: str, text: str) -> None:
        self.lines.append(f"{format_instant(self.clock.now())}  {who:<8} {text}")

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()

    # -- what there is -------------------------------------------------------------------------------------------

    def everything(self) -> list[Machine]:
        """Return our machines that are there, those on their way out included."""
        return [
            m for m in self.cloud.everything() if tags.owned_by(m.tags, CLUSTER) and m.state is not InstanceState.GONE
        ]

    def staying(self, group: str) -> list[Machine]:
        """Return a group's machines, dead or alive, that nobody has begun to destroy."""
        return [m for m in self.everything() if m.tags.get(tags.GROUP) == group and m.state in _STAYS]

    def serves(self, machine: Machine) -> bool:
        """Tell whether a machine does its work right now."""
        if machine.state is not InstanceState.RUNNING or machine.impaired or tags.DRAINING in machine.tags:
            return False
        if not self._is_checked(machine):
            return True
        return answers(machine.row, self.clock.now(), tuple(self.cloud.settings.sick_images))

    def served_as_known(self, machine: Machine) -> bool:
        """Tell whether a machine serves, has done so for as long as is declared, and the program must know that."""
        group = self.declared.get(machine.tags.get(tags.GROUP, ""))
        wanted = group.rollout.min_ready_seconds if group is not None else 0.0
        well_for = self.clock.now() - self.answered.get(machine.id, inf)
        ill = machine.id in self.ill_since or bool(machine.row.flaps)
        return self.serves(machine) and well_for >= wanted and not ill

    def serving(self, group: str) -> int:
        """Count machines that serve, or that failed so lately that the group's last decision could not know."""
        known = self.decided.get(group, Decided())
        here = sum(self.seems_to_serve(m) for m in self.staying(group))
        return here + sum(one.served and one.group == group and one.at > known.looked_at for one in self.removed)

    def seems_to_serve(self, machine: Machine) -> bool:
        """Tell whether a machine serves, or failed so lately that its group's last decision could not know."""
        known = self.decided.get(machine.tags.get(tags.GROUP, ""), Decided())
        return self.serves(machine) or self._failed_unnoticed(machine, known)

    def _failed_unnoticed(self, machine: Machine, known: Decided) -> bool:
        if machine.id not in self.answered or tags.DRAINING in machine.tags:
            return False
        if machine.state is InstanceState.STOPPED:
            return machine.row.dies_at > known.looked_at
        if machine.state is not InstanceState.RUNNING:
            return False
        if machine.impaired:
            return self.impaired_at.get(machine.id, -inf) > known.looked_at
        return bool(machine.row.flaps) or self.ill_since.get(machine.id, inf) > known.at

    def _is_checked(self, machine: Machine) -> bool:
        group = self.declared.get(machine.tags.get(tags.GROUP, ""))
        return group is None or group.health.asks

    # -- what the program is told --------------------------------------------------------------------------------

    def begin_process(self) -> None:
        self.process += 1
        self.looked_at = -inf
        for known in (self.decided, self.ill_since, self.misses, self.hits, self.seen):
            known.clear()

    def note_listing(self, began: float, ids: Iterable[str]) -> None:
        self.looked_at = began
        self.seen.update(ids)
        for machine in self.everything():
            runs = machine.state is InstanceState.RUNNING and not machine.impaired and machine.row.boots_at <= began
            if runs and machine.id in self.seen and not self._is_checked(machine):
                self.answered.setdefault(machine.id, began)

    def note_answer(self, machine_id: str, *, well: bool) -> None:
        group = self.declared.get(self.groups.get(machine_id, ""))
        if group is None:
            return
        if well:
            self.misses[machine_id] = 0
            self.hits[machine_id] = self.hits.get(machine_id, 0) + 1
            if self.hits[machine_id] >= group.health.healthy_after:
                self.answered.setdefault(machine_id, self.clock.now())
                self.ill_since.pop(machine_id, None)
            return
        self.hits[machine_id] = 0
        self.misses[machine_id] = self.misses.get(machine_id, 0) + 1
        if self.misses[machine_id] >= group.health.unhealthy_after:
            self.ill_since.setdefault(machine_id, self.clock.now())

    def note_no_answer(self, machine_id: str) -> None:
        self.misses[machine_id] = self.hits[machine_id] = 0

    # -- what people and fate do ---------------------------------------------------------------------------------

    def lose_store(self) -> None:
        self.store = MortalStore(self.clock, self.fate)
        self.store_lost_at = self.clock.now()

    def take_away(self, machine: Machine) -> None:
        """Destroy a machine by hand."""
        served = self.serves(machine) and machine.id in self.answered
        self.removed.append(Removed(machine.tags.get(tags.GROUP, ""), self.clock.now(), served))
        settings = self.cloud.settings

        def go(row: Row, now: float) -> Row:
            gone_at = now + settings.destroy_time
            return row._replace(gone_at=gone_at, delisted_at=gone_at + settings.gone_listed_for)

        self.cloud.interfere([machine.id], go)

    def doom(self, machine: Machine, at: float) -> None:
        """Let a machine die at a later instant, when nobody is told."""
        self.cloud.interfere([machine.id], lambda row, _: died(row, at, "died (simulated)"))

    def impair(self, machine: Machine) -> None:
        self.cloud.set_impaired(machine.id, "status check failed")
        self.impaired_at[machine.id] = self.clock.now()

    def set_tag(self, machine: Machine, key: str, value: str | None) -> None:
        """Set a tag by hand, or remove it."""
        changed = {k: v for k, v in machine.tags.items() if k != key} | ({key: value} if value is not None else {})
        self.cloud.interfere([machine.id], lambda row, _: row._replace(tags=changed))
        if key == tags.PROTECTED:
            self.protected_at.pop(machine.id, None)
            if value is not None:
                self.protected_at[machine.id] = self.clock.now()


def format_instant(now: float) -> str:
    total = round((now - START) * 100)
    return f"{total // 360000}:{total // 6000 % 60:02}:{total // 100 % 60:02}.{total % 100:02}"


def pick(chance: Random, machines: list[Machine]) -> Machine | None:
    """Choose a machine, the same for the same chance."""
    return chance.choice(machines) if machines else None
