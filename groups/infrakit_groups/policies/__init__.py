"""What to do next, as pure functions of what is wanted and what is there. No I/O, no clock, no memory."""

from infrakit_groups.policies.quorum import decide_named
from infrakit_groups.policies.rollout import decide_sized
from infrakit_groups.policies.undeclared import decide_undeclared
from infrakit_py.model.instance import Snapshot
from infrakit_py.model.plan import Desired, GroupPlan


class Rolling:
    """The default: heal, roll and scale in one arithmetic that keeps the floor. See `infrakit_py.spi.policy`."""

    summary = "rolling replacement with surge and floor; named members one at a time, never below quorum"

    def decide(self, desired: Desired, snapshot: Snapshot, now: float) -> GroupPlan:
        if desired.undeclared:
            return decide_undeclared(desired, snapshot, now)
        if desired.logical_ids is not None:
            return decide_named(desired, desired.logical_ids, snapshot, now)
        return decide_sized(desired, snapshot, now)


rolling = Rolling()
