"""The pure heart: from what is wanted and what is there to what to do next."""

from typing import Protocol

from infrakit_py.model.instance import Snapshot
from infrakit_py.model.plan import Desired, GroupPlan


class Policy(Protocol):
    """The object behind an entry point of group `infrakit.policies`.

    `decide` is a pure function: the same input gives the same plan, `now` (Unix time in seconds) is an
    argument, nothing is remembered between calls. Its plan may be carried out in part, or twice, or not at
    all: the next call sees what came of it. Whatever is carried out, ready members never drop below the
    floor by it, and present ones never exceed count and surge.
    """

    def decide(self, desired: Desired, snapshot: Snapshot, now: float) -> GroupPlan:
        """Return the next tick's plan for one group."""
        ...
