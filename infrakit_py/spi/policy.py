"""The pure heart: from what is wanted and what is there to what to do next."""

from typing import Protocol

from infrakit_py.model.instance import InFlight, InstanceId, Member, Snapshot
from infrakit_py.model.plan import Assessed, Desired, GroupPlan


class Course(Protocol):
    """A policy's view of one group that is told of changes instead of a whole new snapshot each time.

    After any changes `plan` gives what `Policy.decide` gives for the snapshot that they make, members left out, but
    takes time for what changed and what is done only. For rehearsals of large groups; it is not thread-safe.
    """

    @property
    def members(self) -> tuple[Assessed, ...]:
        """Return all members as the policy takes them now."""
        ...

    def member(self, provider: str, instance_id: InstanceId) -> Member | None:
        """Return a member as it was put last; None if there is none."""
        ...

    def put(self, member: Member) -> None:
        """Add a member, or replace the one of the same provider and id."""
        ...

    def drop(self, provider: str, instance_id: InstanceId) -> None:
        """Forget a member. Idempotent."""
        ...

    def expect(self, in_flight: tuple[InFlight, ...]) -> None:
        """Replace the creations that are under way."""
        ...

    def publish(self, identity: str) -> None:
        """Note that an image is published."""
        ...

    def plan(self, now: float) -> GroupPlan:
        """Return the next tick's plan. `now` never goes back."""
        ...


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

    def follow(self, desired: Desired, snapshot: Snapshot, now: float) -> Course:
        """Begin a course at this snapshot."""
        ...
