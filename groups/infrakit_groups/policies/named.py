"""Named machines: one at a time, the failed one first, never below a quorum by our own act.

A name exists once: its machine goes before the next of that name comes, which finds its data disk again.
"""

from collections import defaultdict
from collections.abc import Sequence

from infrakit_groups.policies.bounds import resolve
from infrakit_groups.policies.classify import RUNS, names
from infrakit_groups.policies.gate import Gate, gate
from infrakit_groups.policies.healing import Healing, heal
from infrakit_groups.policies.order import oldest_first
from infrakit_groups.policies.parts import (
    create,
    dismiss,
    finish,
    finish_draining,
    publishing,
    resume,
    retags_due,
    waiting_for,
)
from infrakit_groups.policies.roster import CURRENT, EVERY, Roster
from infrakit_groups.policies.scaling import guard
from infrakit_py.model.plan import Action, Assessed, Bounds, Cause, Condition, GroupPlan, Version, Wait

_ON_ITS_WAY_OUT = frozenset({Condition.DRAINING, Condition.LEAVING})
_IN_TRANSITION = _ON_ITS_WAY_OUT | {Condition.STARTING}
_WORST_FIRST = (Condition.DEAD, Condition.UNHEALTHY, Condition.UNKNOWN, Condition.STARTING, Condition.READY)


def decide_named(roster: Roster, logical_ids: tuple[str, ...], now: float) -> GroupPlan:
    """Return the next tick's plan for a group of named machines."""
    bounds = resolve(roster.desired)
    if block := guard(roster):
        return GroupPlan(roster.desired.group, bounds, block=block, tally=roster.tally())
    return _Named(roster, logical_ids, bounds, gate(roster, bounds, now), now).plan()


class _Named:
    """One decision, made in steps that share what was counted."""

    def __init__(self, roster: Roster, logical_ids: tuple[str, ...], bounds: Bounds, gate_: Gate, now: float) -> None:
        self.roster, self.desired, self.logical_ids, self.bounds = roster, roster.desired, logical_ids, bounds
        self.gate, self.now = gate_, now
        self.members = roster.members
        self.holders = _holders(self.members)
        self.kept = [self.holders[name][0] for name in logical_ids if name in self.holders]
        kept = {id(a) for a in self.kept}
        self.unwanted = [a for a in self.members if id(a) not in kept]
        outdated = any(a.version is Version.OUTDATED for a in self.kept)
        # Once all old ones are gone, failed new ones are no longer kept to be looked at, but healed.
        self.evidence = {id(a) for a in gate_.evidence} if gate_.held or outdated else set()
        failed = [
            a
            for a in self.kept
            if a.version is not Version.OUTDATED
            and a.condition in (Condition.UNHEALTHY, Condition.DEAD)
            and id(a) not in self.evidence
        ]
        self.healing: Healing = heal(roster, failed, now)
        resting = (*self.healing.waiting_sick, *self.healing.waiting_dead)
        self.resting = {id(a) for a in resting}
        self.missing: list[Wait] = []
        self.waits: list[Wait] = [*gate_.waits, *self.healing.waits]

    def plan(self) -> GroupPlan:
        roster, desired = self.roster, self.desired
        arriving, waits = self._arrivals()
        drained, drain_waits = finish_draining(roster, self.now)
        actions: list[Action] = [*drained, *arriving]
        dismissed: set[str] = set()
        to_go = self._to_go()
        if self.missing:  # a name that nobody may fill yet: only what serves nobody may go, and make room for it
            to_go = [a for a in to_go if a.condition in (Condition.DEAD, Condition.UNHEALTHY)]
        victim = None if actions or waits else self._next_victim(to_go)
        waits += self.missing
        if victim:
            unwanted = any(victim is a for a in self.unwanted)
            reason = victim.reason or ("no longer declared" if unwanted else "unhealthy")
            actions.append(dismiss(desired, victim, reason, self._cause(victim, unwanted=unwanted)))
            dismissed.add(victim.member.id)
        elif to_go and not actions:
            floor, count = self.bounds.floor, len(self.logical_ids)
            waits.append(Wait(f"{names(to_go)} to be replaced, one at a time; {floor} of {count} must stay ready"))
        actions += retags_due(roster, dismissed)
        return GroupPlan(
            desired.group,
            self.bounds,
            actions=(*publishing(roster, actions), *actions),
            waits=(*self.waits, *waits, *drain_waits, *waiting_for(roster, dismissed)),
            tally=roster.tally(),
            progress=self.gate.progress,
            failure=self.gate.failure,
            notes=self._notes(),
        )

    def _arrivals(self) -> tuple[list[Action], list[Wait]]:
        """Create every name that nobody holds: that only adds to what is there."""
        roster, desired = self.roster, self.desired
        coming = {c.logical_id: c for c in roster.in_flight if c.logical_id is not None}
        previous = desired.previous.fingerprint if desired.previous is not None else None
        actions: list[Action] = finish(desired, self.kept)
        waits: list[Wait] = []
        new = roster.count((Version.CURRENT, Version.EXPIRED), (*RUNS, Condition.DEAD))
        new += sum(c.fingerprint == desired.fingerprint for c in coming.values())
        for name in self.logical_ids:
            if name in self.holders:
                continue
            if name in coming:
                if coming[name].accepted:
                    waits.append(Wait(f"{name} was asked for and is not listed yet"))
                elif coming[name].fingerprint in (desired.fingerprint, previous):
                    actions.append(
                        resume(desired, coming[name], previous=coming[name].fingerprint != desired.fingerprint)
                    )
                else:
                    waits.append(Wait(f"{name} may still be coming up, of a version that is no longer wanted"))
                continue
            reason = "its predecessor is gone" if roster.incarnations.get(name) else "it has no machine yet"
            may_be_new = not self.gate.rolling or (not self.gate.held and new < self.gate.cap)
            if may_be_new:
                new += 1
                actions.append(create(roster, name, name, reason, heals=bool(roster.incarnations.get(name))))
            elif desired.previous is not None:
                reason = f"{reason}; the rollout may not fill it yet: the last version"
                actions.append(create(roster, name, name, reason, previous=True, heals=True))
            else:
                self.missing.append(Wait(f"{name} is missing, and the rollout may not make more yet"))
        waits += [
            Wait(f"{c.slot} may still be coming up") for c in roster.in_flight if c.logical_id not in self.logical_ids
        ]
        return actions, waits

    def _to_go(self) -> list[Assessed]:
        unwanted = [a for a in self.unwanted if a.condition not in _ON_ITS_WAY_OUT and not a.member.protected]
        stale = [a for a in self.kept if self._needs_replacement(a) and not a.member.protected]
        return [*_in_order(unwanted), *_in_order(stale)]

    def _needs_replacement(self, assessed: Assessed) -> bool:
        if assessed.condition in _ON_ITS_WAY_OUT or id(assessed) in self.evidence or id(assessed) in self.resting:
            return False
        failed = assessed.condition in (Condition.DEAD, Condition.UNHEALTHY)
        match assessed.version:
            case Version.OUTDATED:
                new = self.roster.count(CURRENT, (*RUNS, Condition.DEAD))
                may_roll = not self.gate.held and new < self.gate.cap
                return may_roll or (failed and self.desired.previous is not None)
            case Version.EXPIRED:
                return failed or not self.gate.worn_held
            case Version.CURRENT:
                return failed

    def _next_victim(self, to_go: Sequence[Assessed]) -> Assessed | None:
        """Choose the one that goes now: the failed first, and one that may serve only if a quorum is known to stay.

        Nobody goes while another is on its way in or out.
        """
        ready = self.roster.count(EVERY, (Condition.READY,))
        moving = [a for a in self.members if a.condition in _IN_TRANSITION]
        for victim in sorted(to_go, key=lambda a: a.condition is Condition.READY):
            if any(a is not victim for a in moving):
                continue
            may_serve = victim.condition in (Condition.READY, Condition.UNKNOWN)
            if not may_serve or ready - (victim.condition is Condition.READY) >= self.bounds.floor:
                return victim
        return None

    def _cause(self, victim: Assessed, *, unwanted: bool) -> Cause:
        if unwanted:
            return Cause.SCALE_DOWN
        return Cause.HEAL if victim.condition in (Condition.DEAD, Condition.UNHEALTHY) else Cause.REPLACE

    def _notes(self) -> tuple[str, ...]:
        stale = (Version.OUTDATED, Version.EXPIRED)
        protected = list(self.roster.of(stale, RUNS, (True,)))
        if not protected:
            return ()
        return (f"{names(protected)} protected, and left as it is ({protected[0].reason})",)


def _holders(members: Sequence[Assessed]) -> dict[str, list[Assessed]]:
    """Group members by name, the one to keep first: ready before current before lower incarnation."""
    holders: dict[str, list[Assessed]] = defaultdict(list)
    for assessed in members:
        if assessed.member.logical_id is not None:
            holders[assessed.member.logical_id].append(assessed)
    for held in holders.values():
        held.sort(
            key=lambda a: (
                a.condition is not Condition.READY,
                a.version is not Version.CURRENT,
                a.member.incarnation,
                a.member.id,
            )
        )
    return holders


def _in_order(members: Sequence[Assessed]) -> list[Assessed]:
    return sorted(
        members,
        key=lambda a: (_WORST_FIRST.index(a.condition), a.version is Version.CURRENT, oldest_first(a)),
    )
