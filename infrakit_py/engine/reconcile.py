"""One tick: observe, decide, execute, record. Plan, apply and the controller all come through here."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from infrakit_py.clock import Clock
from infrakit_py.engine.cluster import Group
from infrakit_py.engine.execute import Execution, Executor
from infrakit_py.engine.observe import Observation, Observer
from infrakit_py.model.plan import GroupPlan, Wait


@dataclass(frozen=True, slots=True)
class Tick:
    """What a tick saw, decided and did. `acted_turn` says which listings are too old for the next one."""

    plan: GroupPlan
    observation: Observation
    execution: Execution
    acted_turn: int


@dataclass(slots=True)
class Reconciler:
    """Runs ticks of one cluster's groups."""

    observer: Observer
    executor: Executor
    clock: Clock

    def decide(self, group: Group, *, after_turn: int, max_age_seconds: float) -> tuple[GroupPlan, Observation]:
        """Observe and decide, and touch nothing."""
        observation = self.observer.observe(group, after_turn=after_turn, max_age_seconds=max_age_seconds)
        return group.policy.decide(group.desired, observation.snapshot, self.clock.now()), observation

    def tick(
        self,
        group: Group,
        *,
        after_turn: int,
        max_age_seconds: float,
        waits_for: tuple[str, ...],
        decided: Callable[[GroupPlan, Observation], None],
    ) -> Tick:
        """Run one tick, calling `decided` before anything is done.

        While `waits_for` names groups that have not settled, decide but do not act.
        """
        plan, observation = self.decide(group, after_turn=after_turn, max_age_seconds=max_age_seconds)
        if waits_for and plan.actions:
            plan = replace(plan, actions=(), waits=(*plan.waits, Wait(f"waits for {', '.join(waits_for)}")))
        decided(plan, observation)
        if not plan.actions or plan.block is not None:
            return Tick(plan, observation, Execution(), after_turn)
        execution = self.executor.execute(group, plan)
        return Tick(plan, observation, execution, self.observer.turn())
