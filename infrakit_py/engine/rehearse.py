"""A change rehearsed before anybody makes it: the real engine in virtual time, with accidents, and its record.

It knows only what the engine knows; that the clouds are not the real ones is nothing to it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Final, NamedTuple

from infrakit_py.clock import Clock
from infrakit_py.engine.cluster import Cluster
from infrakit_py.engine.converge import End
from infrakit_py.engine.engine import Engine, GroupStatus, Phase
from infrakit_py.engine.events import Event, Listener
from infrakit_py.engine.limits import Kind
from infrakit_py.errors import ProviderError, UsageError
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.plan import Assessed, Bounds, Condition, GroupPlan, RolloutPhase, Version
from infrakit_py.model.spec import Image
from infrakit_py.spi.provider import Rehearsing

_QUIET_SECONDS: Final = 30.0
_PATIENCE: Final = 0.01
"""While nothing changes one looks ever less often: after so large a share of the time for which nothing has."""
_EVERYWHERE: Final = "-"


class Origin(StrEnum):
    """What a rehearsal begins with."""

    OBSERVED = "observed"
    """The machines that are there now."""
    NOTHING = "nothing"
    CONVERGED = "converged"
    """All as declared."""
    FILE = "file"
    """All as another file declares."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong so many seconds after the beginning. `written` is how the user put it."""

    kind: str
    amount: float
    target: str
    after_seconds: float
    written: str


@dataclass(frozen=True, slots=True)
class Script:
    """How to rehearse. Without a `seed` simulated providers keep their own; `boot_seconds` overrides their pace."""

    faults: tuple[Fault, ...] = ()
    seed: int | None = None
    timeout_seconds: float = 86_400.0
    poll_seconds: float = 1.0
    boot_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened so many seconds after the beginning."""

    at_seconds: float
    kind: str
    group: str
    text: str


class Counts(NamedTuple):
    """Members of a group, by what they are good for. New is what is declared; what goes away is `leaving`."""

    ready_old: int = 0
    ready_new: int = 0
    starting: int = 0
    unhealthy: int = 0
    leaving: int = 0

    @property
    def ready(self) -> int:
        return self.ready_old + self.ready_new


class Sample(NamedTuple):
    """How a group stands from this moment on."""

    at_seconds: float
    counts: Counts


@dataclass(frozen=True, slots=True)
class GroupCourse:
    """What became of one group, and after how many seconds it settled (None: it never did)."""

    group: str
    bounds: Bounds
    samples: tuple[Sample, ...]
    status: GroupStatus
    seconds: float | None

    @property
    def floor_at(self) -> float | None:
        """When the floor was reached for the first time; None if it never was."""
        return next((s.at_seconds for s in self.samples if s.counts.ready >= self.bounds.floor), None)

    @property
    def lowest_ready(self) -> int:
        """The fewest ready machines at any time since the floor was reached, or at all where it never was."""
        since = self.floor_at
        return min((s.counts.ready for s in self.samples if since is None or s.at_seconds >= since), default=0)

    @property
    def most_machines(self) -> int:
        """The most machines at any one time, but for those that were being destroyed already."""
        return max((sum(s.counts) - s.counts.leaving for s in self.samples), default=0)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """All that happened, in order, and how it ended after how many seconds."""

    end: End
    seconds: float
    moments: tuple[Moment, ...]
    groups: Mapping[str, GroupCourse]


def strangers(cluster: Cluster, images: Sequence[Image], faults: Sequence[Fault]) -> Iterator[str]:
    """Yield a note for each fault whose target nothing in sight is called, as far as that can be told."""
    known = {*cluster.groups, *(kind.value for kind in Kind)}
    known |= {word for image in images for word in (image.name, image.reference)}
    for group in cluster.groups.values():
        known |= set(group.desired.logical_ids or ())
        known |= {f"{group.name}-{number}" for number in range(2 * group.desired.count)}
    for name, provider in cluster.providers.items():
        known |= set(provider.mishaps) if isinstance(provider, Rehearsing) else set()
        for group in cluster.groups.values():
            if group.spec is not None and group.desired.provider == name:
                known |= set(provider.zones(group.spec.machine))
        for machine in provider.describe(cluster.name):
            known |= {machine.id, machine.zone, machine.host}
    for fault in faults:
        target = fault.target
        if target and target not in known and not any(image.identity.startswith(target) for image in images):
            yield f"--fault {fault.written}: no group, zone, image or machine here is called {target!r}"


def rehearse(
    cluster: Cluster,
    plans: Mapping[str, GroupPlan],
    engine_of: Callable[[Listener], Engine],
    clock: Clock,
    images: Sequence[Image],
    script: Script,
) -> Rehearsal:
    """Run until all groups have settled after the last fault, or until the time is up.

    `plans` are those of a look at how all stands in the beginning. The engine must be an endless one: after it has
    settled a fault may still strike. UsageError for a fault that cannot happen when it is due.
    """
    return _Rehearsing(cluster, plans, engine_of, clock, images, script).run()


@dataclass(slots=True)
class _Notes:
    """What is written down of one group."""

    fingerprint: str
    bounds: Bounds
    samples: list[Sample] = field(default_factory=list)
    conditions: dict[InstanceId, Condition] = field(default_factory=dict)
    progress: tuple[RolloutPhase, int] | None = None
    plan: GroupPlan | None = None
    phase: Phase = Phase.WORKING
    settled_at: float | None = None


class _Rehearsing:
    """One run and its record."""

    def __init__(
        self,
        cluster: Cluster,
        plans: Mapping[str, GroupPlan],
        engine_of: Callable[[Listener], Engine],
        clock: Clock,
        images: Sequence[Image],
        script: Script,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._identities = {i.name: i.identity for i in images if i.name not in cluster.groups}
        self._script = script
        self._began = self._changed_at = clock.now()
        self._to_come = sorted(script.faults, key=lambda fault: fault.after_seconds)
        self._moments: list[Moment] = []
        self._notes = {
            name: _Notes(group.desired.fingerprint, _unknown(group.desired.count))
            for name, group in cluster.groups.items()
        }
        self._engine = engine_of(self._hear)
        for name, plan in plans.items():
            self._write_down(name, self._notes[name], plan)

    def run(self) -> Rehearsal:
        end = self._go_on()
        statuses = self._engine.statuses()
        courses = {
            name: GroupCourse(name, notes.bounds, tuple(notes.samples), statuses[name], notes.settled_at)
            for name, notes in self._notes.items()
        }
        settled_at = [notes.settled_at for notes in self._notes.values()]
        seconds = max((at for at in settled_at if at is not None), default=0.0)
        return Rehearsal(end, self._now if end is End.TIMED_OUT else seconds, tuple(self._moments), courses)

    @property
    def _now(self) -> float:
        """The seconds since the beginning. What is below a millisecond is the noise of large numbers."""
        return round(self._clock.now() - self._began, 3)

    def _go_on(self) -> End:
        quiet = self._quiet_seconds() if self._script.faults else 0.0
        settled_since: float | None = None
        while self._now < self._script.timeout_seconds:
            if self._befall():
                settled_since = None
            heard = len(self._moments)
            due = self._engine.step()
            self._look(heard)
            if not self._engine.settled:
                settled_since = None
            elif settled_since is None:
                settled_since = self._now
            if settled_since is not None and not self._to_come and self._now - settled_since >= quiet:
                phases = {status.phase for status in self._engine.statuses().values()}
                return End.CONVERGED if phases <= {Phase.CONVERGED} else End.FAILED
            self._engine.wait(self._until(due))
        return End.TIMED_OUT

    def _quiet_seconds(self) -> float:
        """Return how long it takes at most until a fault is noticed."""
        checks = [group.spec.health for group in self._cluster.groups.values() if group.spec is not None]
        return max([_QUIET_SECONDS, *((c.unhealthy_after + 1) * c.interval_seconds for c in checks if c.asks)])

    def _until(self, due: float) -> float:
        """Return when to look again: when the engine would, or later where nothing has changed for long."""
        now = self._clock.now()
        stride = (now - self._changed_at) * _PATIENCE
        if stride > self._script.poll_seconds:
            due = max(due, min([now + stride, *self._foreseen(now)]))
        due = min(due, self._began + self._script.timeout_seconds)
        return min(due, self._began + self._to_come[0].after_seconds) if self._to_come else due

    def _foreseen(self, now: float) -> Iterator[float]:
        for notes in self._notes.values():
            if notes.plan is not None:
                instants = [*(wait.until for wait in notes.plan.waits), notes.plan.progress.until]
                yield from (at for at in instants if at is not None and now < at < inf)

    def _befall(self) -> bool:
        """Let those faults happen that are due."""
        due = [fault for fault in self._to_come if fault.after_seconds <= self._now]
        for fault in due:
            self._to_come.remove(fault)
            group = self._cluster.groups.get(fault.target)
            self._note("fault", group.name if group is not None else _EVERYWHERE, fault.written)
            self._strike(fault)
        return bool(due)

    def _strike(self, fault: Fault) -> None:
        """Let a fault happen at each provider that it can happen at."""
        group = self._cluster.groups.get(fault.target)
        names = [group.desired.provider] if group is not None and group.desired.provider else self._cluster.providers
        target = self._identities.get(fault.target, fault.target)
        refusals: list[ProviderError] = []
        for name in names:
            provider = self._cluster.providers[name]
            try:
                if isinstance(provider, Rehearsing):
                    provider.mishap(fault.kind, fault.amount, target)
            except ProviderError as exc:
                refusals.append(exc)
        if len(refusals) == len(names):
            raise UsageError(f"--fault {fault.written}: {refusals[0]}", hint=refusals[0].hint)

    def _hear(self, event: Event) -> None:
        phase = self._engine.statuses()[event.group].phase if event.group in self._notes else Phase.WORKING
        self._note(phase.value if phase is Phase.ROLLED_BACK else event.kind.value, event.group, event.text)

    def _look(self, heard: int) -> None:
        """Write down how all groups stand now. What was `heard` of this step is what was done about it."""
        done = self._moments[heard:]
        del self._moments[heard:]
        for name, status in self._engine.statuses().items():
            notes = self._notes[name]
            if status.phase is not notes.phase:
                notes.phase = status.phase
                notes.settled_at = self._now if status.phase is not Phase.WORKING else None
            if status.plan is not None and status.plan is not notes.plan:
                self._write_down(name, notes, status.plan)
        held = [moment for moment in self._moments[heard:] if moment.kind in _HELD]
        self._moments[heard:] = [m for m in self._moments[heard:] if m.kind not in _HELD] + done + held

    def _write_down(self, name: str, notes: _Notes, plan: GroupPlan) -> None:
        notes.plan = plan
        if plan.bounds.count or plan.members:
            notes.bounds = plan.bounds
        counts = _counts(plan.members, notes.fingerprint)
        if not notes.samples or notes.samples[-1].counts != counts:
            if len(notes.samples) > 1 and notes.samples[-1].at_seconds == self._now:
                notes.samples.pop()
            notes.samples.append(Sample(self._now, counts))
            self._changed_at = self._clock.now()
        before, notes.conditions = notes.conditions, {a.member.id: a.condition for a in plan.members}
        for assessed in plan.members:
            if assessed.condition in _ILL and before.get(assessed.member.id) is not assessed.condition:
                why = f": {assessed.reason}" if assessed.reason else ""
                self._note(assessed.condition.value, name, f"{assessed.member.name}{why}")
        self._note_progress(name, notes, plan)

    def _note_progress(self, name: str, notes: _Notes, plan: GroupPlan) -> None:
        progress = plan.progress
        if notes.progress == (progress.phase, progress.step):
            return
        stepped = notes.progress is None or notes.progress[1] != progress.step
        notes.progress = (progress.phase, progress.step)
        if progress.phase in _HELD:
            self._note(progress.phase.value, name, progress.reason)
        elif progress.phase is RolloutPhase.ROLLING and stepped and len(progress.steps) > 1:
            number = progress.steps.index(progress.step) + 1 if progress.step in progress.steps else 1
            text = f"{number} of {len(progress.steps)}: up to {progress.step} of {plan.bounds.count} new"
            self._note("step", name, text)

    def _note(self, kind: str, group: str, text: str) -> None:
        self._moments.append(Moment(self._now, kind, group, text))
        self._changed_at = self._clock.now()


_ILL: Final = (Condition.UNHEALTHY, Condition.DEAD)
_HELD: Final = (RolloutPhase.BAKING, RolloutPhase.PAUSED, RolloutPhase.OUTSIDE_WINDOW)


def _unknown(count: int) -> Bounds:
    return Bounds(count, surge=0, unavailable=0, floor=count)


def _counts(members: Sequence[Assessed], fingerprint: str) -> Counts:
    old = new = starting = unhealthy = leaving = 0
    for assessed in members:
        match assessed.condition:
            case Condition.READY if assessed.member.fingerprint != fingerprint or assessed.version is Version.EXPIRED:
                old += 1
            case Condition.READY:
                new += 1
            case Condition.STARTING | Condition.UNKNOWN:
                starting += 1
            case Condition.UNHEALTHY | Condition.DEAD:
                unhealthy += 1
            case Condition.DRAINING | Condition.LEAVING:
                leaving += 1
    return Counts(old, new, starting, unhealthy, leaving)
