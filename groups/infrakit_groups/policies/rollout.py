"""Interchangeable machines: healing, rolling replacement and scaling as one arithmetic.

With N wanted, S surge and U unavailable, in every tick:

- *good* are machines of the wanted version that are ready or may become so; all others that run are to be replaced;
- present machines never exceed N + S by what is created here;
- a machine that serves goes only while more than the floor N - U are ready;
- one that does not serve goes only while enough others stand: all present but the good ones that are still
  starting must stay at or above the floor, since a health check may be wrong about a whole group;
- of the new version there are never more than the gate allows, failed ones included; as many old ones stay as that
  leaves, and gaps among them are filled with the last good version, where it is known.

A new version that never gets ready therefore costs nothing that serves, and stops at the first step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import inf

from infrakit_groups.policies.bounds import resolve
from infrakit_groups.policies.classify import RUNS, names
from infrakit_groups.policies.gate import Gate, gate
from infrakit_groups.policies.healing import Healing, failures_after, heal
from infrakit_groups.policies.leaving import Leaving
from infrakit_groups.policies.parts import (
    create,
    finish,
    finish_draining,
    publishing,
    resume,
    retags_due,
    waiting_for,
)
from infrakit_groups.policies.roster import CURRENT, EVERY, OPEN, Roster
from infrakit_groups.policies.scaling import guard
from infrakit_py.model.instance import InFlight
from infrakit_py.model.plan import (
    Action,
    Assessed,
    Block,
    Bounds,
    Cause,
    Condition,
    Destroy,
    GroupPlan,
    RolloutPhase,
    Version,
    Wait,
)
from infrakit_py.model.quantities import format_duration
from infrakit_py.model.spec import Strategy, VictimOrder

_OUTDATED = (Version.OUTDATED,)
_EXPIRED = (Version.EXPIRED,)
_GAP = "a gap that the rollout may not fill yet: the last version"
_WELL = (Condition.UNKNOWN, Condition.STARTING, Condition.READY)
"""Conditions of running machines that are not known to be ill, the least useful first."""


def decide_sized(roster: Roster, now: float) -> GroupPlan:
    """Return the next tick's plan for a group of interchangeable machines."""
    desired = roster.desired
    bounds = resolve(desired)
    if bounds.count and not bounds.surge and not bounds.unavailable and desired.allowance is None:
        block = Block(
            f"max_surge and max_unavailable both come to 0 of {bounds.count} machines: nothing could be replaced",
            "raise one of them",
        )
        return GroupPlan(desired.group, bounds, block=block, tally=roster.tally())
    if block_ := guard(roster):
        return GroupPlan(desired.group, bounds, block=block_, tally=roster.tally())
    gate_ = gate(roster, bounds, now)
    return _Sized(roster, bounds, gate_, now).plan()


@dataclass(slots=True)
class _Coming:
    """Creations under way, of the wanted version and of the last good one."""

    current: list[InFlight]
    previous: list[InFlight]


class _Sized:
    """One decision, made in steps that share their counts."""

    def __init__(self, roster: Roster, bounds: Bounds, gate_: Gate, now: float) -> None:
        self.roster, self.desired, self.bounds, self.gate, self.now = roster, roster.desired, bounds, gate_, now
        self.old_well = roster.count(_OUTDATED, _WELL, OPEN)
        self.old_sick = roster.count(_OUTDATED, (Condition.UNHEALTHY,), OPEN)
        self.evidence = len(gate_.evidence) if gate_.evidence and not self._may_heal_evidence() else 0
        evidence = {id(a) for a in gate_.evidence} if self.evidence else set()
        failed = [
            a
            for a in roster.of((*CURRENT, *_EXPIRED), (Condition.UNHEALTHY, Condition.DEAD), OPEN)
            if id(a) not in evidence
        ]
        self.healing: Healing = heal(roster, failed, now)
        self.pinned = roster.count((*_OUTDATED, *_EXPIRED), RUNS, (True,)) + roster.count(
            CURRENT, (Condition.UNHEALTHY,), (True,)
        )
        self.wanted = max(0, bounds.count - self.pinned)
        """Machines that are to be of the wanted version: all but those that somebody protects as they are."""
        self.well = roster.count(CURRENT, _WELL)
        self.worn = roster.count(_EXPIRED, _WELL, OPEN)
        self.good = self.well + (self.worn if gate_.worn_held else 0)
        self.coming = self._coming()
        new = roster.count((*CURRENT, *_EXPIRED), (*RUNS, Condition.DEAD), OPEN) + roster.count(
            CURRENT, RUNS, (True,)
        )
        self.new = new + len(self.coming.current)
        self.target = self._target()
        """How many of the wanted ones may be of the new version by now."""
        self.progress = gate_.progress
        self.waits: list[Wait] = [*gate_.waits, *self.healing.waits]
        self.dismissed: set[str] = set()
        self.switching = False

    def plan(self) -> GroupPlan:
        roster, desired = self.roster, self.desired
        removals = self._remove_dead()
        arriving = self._arrivals()
        leaving = self._departures()
        drained, drain_waits = finish_draining(roster, self.now)
        unfinished = (Condition.STARTING, Condition.UNKNOWN, Condition.UNHEALTHY)
        staying = (a for a in roster.of(CURRENT, unfinished) if a.member.id not in self.dismissed)
        arriving = [*finish(desired, staying), *arriving]
        actions: list[Action] = [
            *removals,
            *arriving,
            *drained,
            *leaving,
            *retags_due(roster, self.dismissed),
        ]
        waits = [*self.waits, *drain_waits, *waiting_for(roster, self.dismissed)]
        if not actions and not waits and (stuck := self._stuck()):
            waits.append(stuck)
        return GroupPlan(
            desired.group,
            self.bounds,
            actions=(*publishing(roster, actions), *actions),
            waits=tuple(waits),
            tally=roster.tally(),
            progress=self.progress,
            failure=self.gate.failure,
            notes=self._notes(),
        )

    def _may_heal_evidence(self) -> bool:
        """Tell whether failed new machines need no longer be kept to be looked at.

        They are fewer than would stop the rollout, and all others that it may have by now are ready: it could not go
        on without successors of the failed ones.
        """
        roster = self.roster
        if self.gate.held:
            return False
        if not self.old_well + self.old_sick:
            return True
        on_their_way = roster.count(CURRENT, (Condition.STARTING, Condition.UNKNOWN)) + len(roster.in_flight)
        allowed = min(float(self.bounds.count), self.gate.cap) - len(self.gate.evidence)
        return not on_their_way and roster.count(CURRENT, (Condition.READY,)) >= allowed

    def _coming(self) -> _Coming:
        previous = self.desired.previous.fingerprint if self.desired.previous is not None else None
        coming = _Coming([], [])
        for one in self.roster.in_flight:
            if one.logical_id is None and one.fingerprint == self.desired.fingerprint:
                coming.current.append(one)
            elif one.logical_id is None and one.fingerprint == previous:
                coming.previous.append(one)
        return coming

    def _target(self) -> int:
        if self.gate.held:
            return min(self.wanted, self.good + len(self.coming.current))
        cap = self.wanted if self.gate.cap == inf else min(self.wanted, int(self.gate.cap))
        return max(0, cap - self.evidence)

    def _remove_dead(self) -> list[Action]:
        """Destroy what does not run: it serves nobody. Its successor comes in the same plan."""
        old = list(self.roster.of(_OUTDATED, (Condition.DEAD,), OPEN))
        not_needed = self.good + len(self.coming.current) >= self.wanted
        waiting = self.healing.waiting_dead if not_needed else ()
        return [
            Destroy(a.member.provider, a.member.id, a.member.name, f"dead: {a.reason}", Cause.HEAL)
            for a in (*old, *self.healing.dead, *waiting)
        ]

    def _arrivals(self) -> list[Action]:
        """Create what is missing, as far as surge and gate allow; ask again for what was never answered."""
        roster, desired, coming = self.roster, self.desired, self.coming
        present = roster.count(EVERY, (*RUNS, Condition.DRAINING))
        room = self.bounds.count + self.bounds.surge - present - len(roster.in_flight)
        resting = len(self.healing.waiting_dead) + len(self.healing.waiting_sick)
        resting = 0 if self.good >= self.wanted else resting
        missing = self.target - self.good - len(coming.current) - resting
        if self.gate.cap < inf:
            missing = min(missing, int(self.gate.cap) - self.new)
        if desired.rollout.strategy is Strategy.RECREATE and self._old_still_there():
            missing = 0
        new = max(0, min(missing, room))
        old_kept = self.old_well + len(coming.previous)
        gaps = self.wanted - max(self.target, self.good + len(coming.current)) - old_kept - resting
        gaps = max(0, min(gaps, room - new)) if self.gate.rolling and desired.previous is not None else 0
        # What was never answered may not exist: all that is repeated has to fit in beside what is there for certain.
        fits = room + sum(not c.accepted for c in roster.in_flight)
        again = [c for c in coming.current if not c.accepted][: max(0, min(self.target - self.good, fits))]
        missing_old = self.wanted - max(self.target, self.good + len(coming.current)) - self.old_well
        fits = max(0, min(missing_old, fits - len(again)))
        again_previous = [c for c in coming.previous if not c.accepted][:fits]

        slots = roster.free_slots()
        actions: list[Action] = [resume(desired, c) for c in again]
        actions += [resume(desired, c, previous=True) for c in again_previous]
        actions += self._create_new([str(slot) for slot in islice(slots, new)])
        actions += [create(roster, str(slot), None, _GAP, previous=True, heals=True) for slot in islice(slots, gaps)]
        self.waits += [
            Wait(f"{desired.group}-{c.slot} was asked for and is not listed yet")
            for c in roster.in_flight
            if c not in again and c not in again_previous
        ]
        return actions

    def _create_new(self, slots: Sequence[str]) -> list[Action]:
        """Say of each new machine why it comes, and how many failed in a row before it."""
        if not slots:
            return []
        to_heal = [*self.healing.dead, *self.healing.sick]
        failed_old = self.old_sick + self.roster.count(_OUTDATED, (Condition.DEAD,), OPEN)
        old = self.roster.victims(
            Version.OUTDATED, (Condition.UNHEALTHY, *_WELL), self.desired.rollout.order, len(slots)
        )
        if not self.gate.worn_held and len(old) < len(slots):
            old += self.roster.victims(Version.EXPIRED, _WELL, VictimOrder.OLDEST, len(slots) - len(old))
        stale = self.old_well + self.old_sick + (0 if self.gate.worn_held else self.worn)
        there = self.good + len(self.coming.current) + stale + len(to_heal)
        short = max(0, self.wanted - there)
        actions: list[Action] = []
        for number, slot in enumerate(slots):
            failures = 0
            if number < len(to_heal):
                failed = to_heal[number]
                failures = failures_after(self.desired, failed.member, self.now)
                reason = f"to replace {failed.member.name} ({failed.reason or 'unhealthy'})"
            elif number - len(to_heal) < short or not old:
                reason = f"{there - len(to_heal)} of {self.bounds.count} wanted"
            else:
                outdated = old[min(number - len(to_heal) - short, len(old) - 1)]
                reason = f"to replace {outdated.member.name} ({outdated.reason or 'unhealthy'})"
            heals = number < len(to_heal) + failed_old
            actions.append(create(self.roster, slot, None, reason, failures=failures, heals=heals))
        return actions

    def _departures(self) -> list[Action]:
        """Dismiss what has to be replaced, then what is too many, as far as the floor allows."""
        leaving = Leaving(self.roster, self.bounds, worn_held=self.gate.worn_held)
        excess = self.old_well + self.old_sick - self._old_to_keep()
        gone = self._dismiss_sick(leaving, excess)
        self._dismiss_outdated(leaving, excess - gone)
        if not self.gate.worn_held:
            worn = self.roster.victims(
                Version.EXPIRED, _WELL, VictimOrder.OLDEST, min(self.worn, leaving.standing - leaving.floor)
            )
            leaving.dismiss(worn, "expired", Cause.REPLACE)
        self._dismiss_surplus(leaving)
        self.dismissed = leaving.dismissed
        return leaving.actions

    def _dismiss_sick(self, leaving: Leaving, excess: int) -> int:
        """Dismiss unhealthy machines; return how many of them were outdated."""
        may_be_replaced = not self.gate.restrained or self.desired.previous is not None
        quota = self.old_sick if may_be_replaced else excess
        spare = leaving.standing - leaving.floor
        if self.gate.restrained:
            # Their successors are of the last version too, and serve nobody while they start.
            spare -= self.roster.count(_OUTDATED, (Condition.STARTING,))
        sick = self._outdated((Condition.UNHEALTHY,), max(0, min(quota, spare)))
        gone = leaving.dismiss(sick, "unhealthy", Cause.HEAL)
        needed = self.good + len(self.coming.current) < self.wanted
        waiting = () if needed else self.healing.waiting_sick
        leaving.dismiss((*self.healing.sick, *waiting), "unhealthy", Cause.HEAL)
        return gone

    def _dismiss_outdated(self, leaving: Leaving, excess: int) -> None:
        """Dismiss machines of another version; of those that nobody replaces it is said that they are too many."""
        outdated = self._outdated(_WELL, min(excess, leaving.standing - leaving.floor))
        if outdated and self.desired.rollout.strategy is Strategy.RECREATE and leaving.floor:
            text = f"{names(outdated)} to go all at once, and the cluster's budget keeps {leaving.floor} up"
            self.waits.append(Wait(text))
            return
        unreplaced = self.old_well + self.old_sick - max(0, self.wanted - self.good)
        crowded = self.roster.count(EVERY, RUNS) > self.bounds.count + self.bounds.surge
        many = max(0, unreplaced) if crowded else 0
        if leaving.dismiss(outdated[:many], "outdated", Cause.SCALE_DOWN) == len(outdated[:many]):
            leaving.dismiss(outdated[many:], "outdated", Cause.REPLACE)

    def _dismiss_surplus(self, leaving: Leaving) -> None:
        surplus = self.good - self.wanted
        if surplus <= 0:
            return
        why = f"{self.good + self.pinned} machines where {self.bounds.count} are wanted"
        versions = (Version.EXPIRED, Version.CURRENT) if self.gate.worn_held else (Version.CURRENT,)
        for version in versions:
            victims = self.roster.victims(version, _WELL, self.desired.scale_down, surplus)
            surplus -= leaving.dismiss(victims, why, Cause.SCALE_DOWN, starting_stand=False)

    def _outdated(self, conditions: Sequence[Condition], limit: int) -> list[Assessed]:
        order = self.desired.rollout.order
        if self.desired.rollout.strategy is Strategy.BLUE_GREEN and not self.switching:
            order = VictimOrder.NEWEST  # of two old sets the one that has served for longer stays
        return self.roster.victims(Version.OUTDATED, conditions, order, limit)

    def _old_to_keep(self) -> int:
        """Return how many outdated machines stay for now."""
        if self.desired.rollout.strategy is Strategy.BLUE_GREEN:
            self.switching = self._may_switch()
            if not self.switching:
                return self.wanted
        return max(0, self.wanted - self.target)

    def _may_switch(self) -> bool:
        """Tell whether the new set is complete and baked, and the old one has been kept for long enough."""
        roster, desired = self.roster, self.desired
        if not self.gate.rolling or self.gate.held or desired.rolling_back:
            return desired.rolling_back
        if roster.count(CURRENT, (Condition.READY,)) < self.wanted or roster.baked < self.wanted:
            return False
        if not self.old_well + self.old_sick:
            return True
        proven = [
            (a.member.health.since if a.member.health.since is not None else a.member.instance.launched_at)
            for a in roster.of(CURRENT, (Condition.READY,))
        ]
        until = max(proven, default=self.now) + desired.rollout.bake_seconds + desired.rollout.keep_old_seconds
        if self.now >= until:
            return True
        reason = f"the new set serves; the old one is kept for {format_duration(desired.rollout.keep_old_seconds)}"
        self.waits.append(Wait(reason, until))
        self.progress = replace(self.progress, phase=RolloutPhase.BAKING, reason=reason, until=until)
        return False

    def _old_still_there(self) -> bool:
        return bool(self.roster.count(_OUTDATED, (*RUNS, Condition.DRAINING, Condition.LEAVING), OPEN))

    def _stuck(self) -> Wait | None:
        """Say what is to be replaced and why nothing happens. Where a person has to act, the phase says so."""
        stale = list(self.roster.of((*_OUTDATED, *_EXPIRED), RUNS, OPEN))
        stale += self.roster.of(CURRENT, (Condition.UNHEALTHY,), OPEN)
        if self.gate.progress.phase is RolloutPhase.STOPPED:
            return None
        missing = self.wanted - self.good - self.old_well
        if stale:
            why = stale[0].reason or "unhealthy"
            return Wait(f"{names(stale)} to be replaced ({why}); {self.bounds.floor} must stay ready")
        if missing > 0:
            return Wait(f"{missing} of {self.bounds.count} missing, and the rollout may not make more yet")
        return None

    def _notes(self) -> tuple[str, ...]:
        protected = list(self.roster.of((*_OUTDATED, *_EXPIRED), RUNS, (True,)))
        if not protected:
            return ()
        return (f"{names(protected)} protected, and left as it is ({protected[0].reason})",)
