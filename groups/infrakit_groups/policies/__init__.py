"""What to do next, as pure functions of what is wanted and what is there. No I/O, no clock, no memory."""

from dataclasses import replace

from infrakit_groups.policies.named import decide_named
from infrakit_groups.policies.rollout import decide_sized
from infrakit_groups.policies.roster import Roster
from infrakit_groups.policies.undeclared import decide_undeclared
from infrakit_py.model.instance import Snapshot
from infrakit_py.model.plan import Desired, GroupPlan


class Course(Roster):
    """A roster that plans. See `infrakit_py.spi.policy.Course`."""

    def plan(self, now: float) -> GroupPlan:
        self.advance(now)
        if self.desired.undeclared:
            return decide_undeclared(self, now)
        if self.desired.logical_ids is not None:
            return decide_named(self, self.desired.logical_ids, now)
        return decide_sized(self, now)


class Rolling:
    """The default: heal, roll and scale in one arithmetic that keeps the floor. See `infrakit_py.spi.policy`."""

    summary = "rolling, recreate and blue_green; named members one at a time, never below quorum"

    def decide(self, desired: Desired, snapshot: Snapshot, now: float) -> GroupPlan:
        course = self.follow(desired, snapshot, now)
        return replace(course.plan(now), members=course.members)

    def follow(self, desired: Desired, snapshot: Snapshot, now: float) -> Course:
        return Course(desired, snapshot, now)


rolling = Rolling()
