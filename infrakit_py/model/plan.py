"""What will be done, as values: actions, each with its reason, in the order in which they happen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import NamedTuple, TypeAlias

from infrakit_py.model.instance import InstanceId, Member
from infrakit_py.model.spec import HealingSpec, Image, RolloutSpec, VictimOrder


class Version(StrEnum):
    CURRENT = "current"
    OUTDATED = "outdated"
    EXPIRED = "expired"
    """Of the current version, and to be replaced all the same: too old, in a crowded zone, or by a person's word."""


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


class Assessed(NamedTuple):  # a tuple is made three times as fast as a frozen dataclass, and there are many
    """A member and what the policy takes it for.

    `baked`: ready for so long that the next step may follow. `until`: when time alone may change all this.
    """

    member: Member
    version: Version
    condition: Condition
    reason: str = ""
    baked: bool = False
    until: float = inf


@dataclass(frozen=True, slots=True)
class Previous:
    """The last version of a group that was on all machines and healthy: it fills gaps while a rollout holds."""

    fingerprint: str
    image: Image


@dataclass(frozen=True, slots=True)
class Desired:
    """What a policy is asked to reach for one group.

    `count` and `logical_ids` as in the spec; `image`, `provider` and `fingerprint` say what a current member
    is. `user_tags` go on every member. `drains`: the flavor has something to drain. `undeclared`: the
    group left the spec (or the cluster is being destroyed) and nothing of it shall remain.
    `allow_mass_destroy` lifts the guard against losing most of a group.

    Of the rollout: `previous` is known where a store remembers it; `unproven` says that the wanted version was never
    yet on all machines, though another was; `rolling_back`, that it is the way back from a failure, which heeds
    neither steps nor windows; `paused` and `stopped` hold it and say why; failed machines launched before
    `forgiven_before` (Unix time in seconds) no longer stop it. `allowance`: machines that may be missing, of this
    group, so that the cluster keeps its own budget.
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
    healing: HealingSpec = field(default_factory=HealingSpec)
    scale_down: VictimOrder = VictimOrder.NEWEST
    max_age_seconds: float | None = None
    rebalance: bool = False
    user_tags: Mapping[str, str] = field(default_factory=dict)
    drains: bool = False
    undeclared: bool = False
    prevent_destroy: bool = False
    allow_mass_destroy: bool = False
    previous: Previous | None = None
    unproven: bool = False
    rolling_back: bool = False
    paused: str = ""
    stopped: str = ""
    forgiven_before: float = -inf
    allowance: int | None = None


class Cause(StrEnum):
    """Why a machine goes."""

    REPLACE = "replace"
    HEAL = "heal"
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
    """Boot a machine into a slot. `resumes`: finish a creation that was begun with the same token. `completes`: the
    machine is there, and only lacks something.

    `previous`: of the last good version, not of the wanted one. `failures`: how many before it failed in a row.
    `heals`: it takes the place of one that failed or went away.
    """

    provider: str
    slot: str
    incarnation: int
    logical_id: str | None
    name: str
    reason: str
    resumes: bool = False
    previous: bool = False
    failures: int = 0
    heals: bool = False
    completes: bool = False


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
class Tally:
    """Members counted: all, of the current version, of it ready, ready at all, outdated or expired, failed."""

    members: int = 0
    current: int = 0
    current_ready: int = 0
    ready: int = 0
    outdated: int = 0
    failed: int = 0


class RolloutPhase(StrEnum):
    COMPLETE = "complete"
    ROLLING = "rolling"
    BAKING = "baking"
    PAUSED = "paused"
    OUTSIDE_WINDOW = "outside its windows"
    STOPPED = "stopped"
    ROLLING_BACK = "rolling back"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a rollout stands, read off the snapshot. `step` of `steps` is how many new machines there may be now.

    `failed` new machines of `failure_limit` stop it. `until` (Unix time in seconds): when `reason` will have passed.
    """

    phase: RolloutPhase
    step: int = 0
    steps: tuple[int, ...] = ()
    failed: int = 0
    failure_limit: int = 0
    reason: str = ""
    until: float | None = None


COMPLETE = Progress(RolloutPhase.COMPLETE)


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """What one tick does for one group, and the view of its members that led to it.

    `failure` says that the rollout has failed by what is seen now; `notes` are things that a person may want to know
    and that nothing waits for. `members` may be left out where nobody asked for them.
    """

    group: str
    bounds: Bounds
    members: tuple[Assessed, ...] = ()
    actions: tuple[Action, ...] = ()
    waits: tuple[Wait, ...] = ()
    block: Block | None = None
    tally: Tally = Tally()
    progress: Progress = COMPLETE
    failure: str = ""
    notes: tuple[str, ...] = ()

    @property
    def converged(self) -> bool:
        return not self.actions and not self.waits and self.block is None and not self.stopped

    @property
    def stopped(self) -> bool:
        """Tell whether the rollout waits for a person (or to be rolled back)."""
        return self.progress.phase is RolloutPhase.STOPPED

    @property
    def ready(self) -> int:
        return self.tally.ready

    @property
    def outdated(self) -> int:
        return self.tally.outdated
