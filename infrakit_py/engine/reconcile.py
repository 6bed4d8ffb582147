"""One tick: observe, decide, execute, record. Plan, apply and the controller all come through here."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from infrakit_py.clock import Clock
from infrakit_py.engine.budget import Budget
from infrakit_py.engine.cluster import Group
from infrakit_py.engine.execute import Execution, Executor
from infrakit_py.engine.observe import Observation, Observer
from infrakit_py.engine.versions import Target, Versions
from infrakit_py.model.plan import Action, Cause, Create, Destroy, Drain, GroupPlan, Publish, RolloutPhase, Wait


@dataclass(frozen=True, slots=True)
class Tick:
    """What a tick saw, decided and did. `acted_turn` says which listings are too old for the next one."""

    target: Target
    plan: GroupPlan
    observation: Observation
    execution: Execution
    acted_turn: int


@dataclass(slots=True)
class Reconciler:
    """Runs ticks of one cluster's groups."""

    observer: Observer
    executor: Executor
    versions: Versions
    budget: Budget
    clock: Clock
    _whole: set[str] = field(default_factory=set, init=False)
    """Groups that have had all their machines: what they lack since then they have lost."""

    def decide(self, group: Group, *, after_turn: int, max_age_seconds: float) -> tuple[GroupPlan, Observation]:
        """Observe and decide, and touch nothing."""
        target = self.versions.target(group)
        observation = self.observer.observe(target.group, after_turn=after_turn, max_age_seconds=max_age_seconds)
        return self._decide(target, observation), observation

    def tick(
        self,
        group: Group,
        *,
        after_turn: int,
        max_age_seconds: float,
        waits_for: tuple[str, ...],
        decided: Callable[[GroupPlan, Observation], None],
        glance_seconds: float = 0.0,
    ) -> Tick:
        """Run one tick, calling `decided` before anything is done.

        While `waits_for` names groups that have not settled, replace what failed and do nothing else. That all is
        well may be told by a listing as old as `glance_seconds`, anything else by one as old as `max_age_seconds`.
        """
        target = self.versions.target(group)
        glances = glance_seconds > max_age_seconds
        look = partial(self._look, target, after_turn, waits=bool(waits_for))
        plan, observation = look(glance_seconds if glances else max_age_seconds, at_rest=glances)
        if glances and not (plan.converged and observation.all_well):
            plan, observation = look(max_age_seconds)
        if waits_for and plan.actions:
            plan = replace(
                plan,
                actions=_healing(plan, self.budget.taken(group.name)),
                waits=(*plan.waits, Wait(f"waits for {', '.join(waits_for)}")),
            )
        decided(plan, observation)
        if plan.converged:
            self._whole.add(group.name)
        if not plan.actions or plan.block is not None:
            return Tick(target, plan, observation, Execution(), after_turn)
        self.observer.about_to_act(group.name)
        if target.back_from is None and _rolls(plan):
            self.versions.began(target.group)
        execution = self.executor.execute(target.group, plan, target.previous, whole=group.name in self._whole)
        return Tick(target, plan, observation, execution, self.observer.turn())

    def _look(
        self, target: Target, after_turn: int, max_age_seconds: float, *, waits: bool, at_rest: bool = False
    ) -> tuple[GroupPlan, Observation]:
        observation = self.observer.observe(
            target.group, after_turn=after_turn, max_age_seconds=max_age_seconds, at_rest=at_rest
        )
        return self._decide(target, observation, waits=waits), observation

    def _decide(self, target: Target, observation: Observation, *, waits: bool = False) -> GroupPlan:
        group = target.group
        with self.budget.deciding(group.name, waits=waits) as note:
            desired = replace(group.desired, allowance=self.budget.allowance(group.name))
            plan = group.policy.decide(desired, observation.snapshot, self.clock.now())
            if note is not None:
                note(plan)
        return plan


def _rolls(plan: GroupPlan) -> bool:
    """Tell whether a plan takes a group towards its declared version."""
    acts = any(isinstance(action, Create | Drain | Destroy) for action in plan.actions)
    return acts and plan.progress.phase is not RolloutPhase.STOPPED


def _healing(plan: GroupPlan, taken: int) -> tuple[Action, ...]:
    """Return the part of a plan that only heals: a group that waits for others is not left broken meanwhile.

    `taken` machines are missing because we took them; their places are filled, too.
    """
    creates = [action for action in plan.actions if isinstance(action, Create)]
    healing: list[Action] = [action for action in creates if action.heals]
    healing += [action for action in creates if not action.heals][: max(0, taken - len(healing))]
    publishes = [action for action in plan.actions if isinstance(action, Publish)] if healing else []
    leaving = [a for a in plan.actions if isinstance(a, Destroy | Drain) and a.cause is Cause.HEAL]
    return (*publishes, *healing, *leaving)
