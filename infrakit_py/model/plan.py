"""What will be done, as values: actions, each with its reason, in the order in which they happen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from infrakit_py.model.instance import InstanceId, Member
from infrakit_py.model.spec import Image, RolloutSpec


class Version(StrEnum):
    CURRENT = "current"
    OUTDATED = "outdated"


class Condition(StrEnum):
    """What a member is good for now."""

    READY = "ready"
    STARTING = "starting"
    UNKNOWN = "unknown"
    """It runs, and its health is not known: not counted on, and not replaced either."""
    UNHEALTHY = "unhealthy"
    DEAD = "dead"
    DRAINING = "draining"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Assessed:
    """A member and what the policy takes it for."""

    member: Member
    version: Version
    condition: Condition
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Desired:
    """What a policy is asked to reach for one group.

    `count` and `logical_ids` as in the spec; `image`, `provider` and `fingerprint` say what a current member
    is. `user_tags` go on every member. `drains`: the flavor has something to drain. `undeclared`: the
    group left the spec (or the cluster is being destroyed) and nothing of it shall remain.
    `allow_mass_destroy` lifts the guard against losing most of a group.
    """

    cluster: str
    group: str
    provider: str
    image: Image | None
    fingerprint: str
    count: int
    logical_ids: tuple[str, ...] | None = None
    grace_seconds: float = 120.0
    checks_health: bool = False
    rollout: RolloutSpec = field(default_factory=RolloutSpec)
    user_tags: Mapping[str, str] = field(default_factory=dict)
    drains: bool = False
    undeclared: bool = False
    prevent_destroy: bool = False
    allow_mass_destroy: bool = False


class Cause(StrEnum):
    """Why a machine goes."""

    REPLACE = "replace"
    SCALE_DOWN = "scale-down"
    UNDECLARED = "undeclared"


@dataclass(frozen=True, slots=True)
class Publish:
    """Make the image ready at the provider, once."""

    provider: str
    image: Image
    reason: str


@dataclass(frozen=True, slots=True)
class Create:
    """Boot a machine into a slot. `resumes`: finish a creation that was begun with the same token."""

    provider: str
    slot: str
    incarnation: int
    logical_id: str | None
    name: str
    reason: str
    resumes: bool = False


@dataclass(frozen=True, slots=True)
class Drain:
    """Begin to take a machine out of service; it is destroyed when drained or at the deadline."""

    provider: str
    instance_id: InstanceId
    name: str
    reason: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class Destroy:
    """Destroy a machine, after its ownership tags were checked once more."""

    provider: str
    instance_id: InstanceId
    name: str
    reason: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class Retag:
    """Set and remove the user's tags on a machine that stays."""

    provider: str
    instance_id: InstanceId
    name: str
    reason: str
    set_tags: Mapping[str, str]
    remove_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do but wait. `until` (Unix time in seconds) is when something will be decided at the latest."""

    reason: str
    until: float | None = None


Action: TypeAlias = Publish | Create | Drain | Destroy | Retag


@dataclass(frozen=True, slots=True)
class Block:
    """A person has to decide. Nothing is done for the group until then."""

    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The resolved integers that a plan keeps to: wanted machines, surge, unavailable, floor of ready ones."""

    count: int
    surge: int
    unavailable: int
    floor: int


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """What one tick does for one group, and the view of its members that led to it."""

    group: str
    bounds: Bounds
    members: tuple[Assessed, ...] = ()
    actions: tuple[Action, ...] = ()
    waits: tuple[Wait, ...] = ()
    block: Block | None = None

    @property
    def converged(self) -> bool:
        return not self.actions and not self.waits and self.block is None

    @property
    def ready(self) -> int:
        return sum(assessed.condition is Condition.READY for assessed in self.members)

    @property
    def outdated(self) -> int:
        return sum(assessed.version is Version.OUTDATED for assessed in self.members)
