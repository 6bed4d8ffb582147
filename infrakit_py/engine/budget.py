"""The cluster's own disruption budget: how many machines of all groups together may be missing by our own act.

Each group's last plan says how many it lacks once that is carried out. What others lack is not this group's to lack.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

from infrakit_py.model.plan import Assessed, Cause, Condition, Destroy, Drain, GroupPlan
from infrakit_py.model.quantities import Amount


class Budget:
    """Shared by all groups of a cluster. Without a limit nothing is counted. What was not seen may lack anything."""

    def __init__(self, limit: Amount | None, sizes: Mapping[str, int]) -> None:
        """`sizes`: of all groups. A percentage (rounded down) is of all their machines together."""
        self._limit = limit.rounded_down(sum(sizes.values())) if limit is not None else None
        self._lacking: dict[str, int] = dict(sizes)
        self._taken: dict[str, int] = {}
        self._lock = Lock()

    @contextmanager
    def deciding(self, group: str, *, waits: bool = False) -> Iterator[Callable[[GroupPlan], None] | None]:
        """Hold the budget while a group decides. The yielded call notes its plan; None where there is no budget.

        `waits`: the group may not act on its plan, because it depends on others.
        """
        if self._limit is None:
            yield None
            return
        with self._lock:
            yield lambda plan: self._wait(group, plan) if waits else self._note(group, plan)

    def allowance(self, group: str) -> int | None:
        """Return how many machines this group may lack. Call it while deciding."""
        if self._limit is None:
            return None
        return max(0, self._limit - sum(lacks for name, lacks in self._lacking.items() if name != group))

    def taken(self, group: str) -> int:
        """Return how many machines of a group are missing by our own act, as far as this process knows."""
        return self._taken.get(group, 0)

    def _note(self, group: str, plan: GroupPlan) -> None:
        by_id = {(a.member.provider, a.member.id): a for a in plan.members}
        leaving = [
            by_id[action.provider, action.instance_id]
            for action in plan.actions
            if isinstance(action, Destroy | Drain) and (action.provider, action.instance_id) in by_id
        ]
        ready = plan.ready - sum(_serves(assessed) for assessed in leaving)
        self._lacking[group] = max(0, plan.bounds.count - ready)
        if leaving:
            self._taken[group] = self._lacking[group]

    def _wait(self, group: str, plan: GroupPlan) -> None:
        """Note a group that waits for others: what it never had is nobody's to miss, or both would wait for ever."""
        lacks = max(0, plan.bounds.count - plan.ready)
        broken = plan.tally.members - plan.ready
        if any(isinstance(action, Destroy | Drain) and action.cause is Cause.HEAL for action in plan.actions):
            self._taken[group] = lacks
        self._taken[group] = min(lacks, self._taken.get(group, 0))
        self._lacking[group] = min(lacks, max(broken, self._taken[group]))


def _serves(assessed: Assessed) -> bool:
    return assessed.condition is Condition.READY
