"""What is declared, and what people and fate do, all of it drawn from one number.

Each act has its own seed, so that a story with some of its acts left out is otherwise the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import Final, TypeVar

from infrakit_py.model.quantities import Amount
from infrakit_py.model.spec import (
    FlavorSpec,
    GroupSpec,
    HealingSpec,
    HealthCheck,
    Image,
    ImageFile,
    ImageForm,
    OnFailure,
    RolloutSpec,
    Strategy,
    VictimOrder,
    Window,
)
from tests.simulation.world import START

V = TypeVar("V")

BAD_IMAGE: Final = "b1"
GOOD_IMAGES: Final = ("a1", "a2", "a3")
NAMES: Final = ("web", "db", "jobs")


class Act(StrEnum):
    """People's acts first, then faults."""

    IMAGE = "image"
    BAD_IMAGE = "bad image"
    SCALE = "scale"
    ROLLOUT = "rollout"
    USER_TAGS = "user tags"
    REMOVE_GROUP = "remove group"
    PAUSE = "pause"
    RESUME = "resume"
    UNDO = "undo"
    RETRY = "retry"
    PROTECT = "protect"
    UNPROTECT = "unprotect"
    MARK = "mark for replacement"
    DESTROY_BY_HAND = "destroy by hand"
    STOP_BY_HAND = "stop by hand"
    FOREIGN = "foreign machine"
    CRASH = "crash"
    CRASH_AT_CALL = "crash at a call"
    LOSE_STORE = "crash and lose the store"
    FAIL = "failing calls"
    LOST_REPLY = "lost reply"
    THROTTLE = "throttle"
    PARTIAL_VIEW = "partial view"
    NO_CAPACITY = "no capacity"
    QUOTA = "quota"
    NEVER_BOOT = "never boot"
    SLOW_BOOT = "slow boot"
    KILL = "kill"
    SICKEN = "sicken"
    IMPAIR = "impair"
    FLAP = "flap"
    RELIEF = "relief"
    JUMP = "clock jumps"


_WEIGHTS: Final[Mapping[Act, float]] = {
    Act.IMAGE: 6, Act.BAD_IMAGE: 2, Act.SCALE: 3, Act.ROLLOUT: 1, Act.USER_TAGS: 1, Act.REMOVE_GROUP: 0.5,
    Act.PAUSE: 0.7, Act.RESUME: 1, Act.UNDO: 1, Act.RETRY: 1, Act.PROTECT: 1, Act.UNPROTECT: 0.7, Act.MARK: 1,
    Act.DESTROY_BY_HAND: 1.5, Act.STOP_BY_HAND: 1, Act.FOREIGN: 0.7,
    Act.CRASH: 2, Act.CRASH_AT_CALL: 5, Act.LOSE_STORE: 1.2,
    Act.FAIL: 2, Act.LOST_REPLY: 3, Act.THROTTLE: 1, Act.PARTIAL_VIEW: 1.5, Act.NO_CAPACITY: 1, Act.QUOTA: 0.7,
    Act.NEVER_BOOT: 1, Act.SLOW_BOOT: 1, Act.KILL: 2, Act.SICKEN: 2, Act.IMPAIR: 1, Act.FLAP: 0.5, Act.RELIEF: 2,
    Act.JUMP: 0.5,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One act and when it happens, in seconds from the beginning."""

    at: float
    act: Act
    seed: int

    def __str__(self) -> str:
        return f"{self.act} at {self.at:.1f}s"


@dataclass(frozen=True, slots=True)
class Story:
    """The beginning, and what happens afterwards."""

    seed: int
    groups: Sequence[GroupSpec]
    settings: Mapping[str, object]
    images: Mapping[str, Image]
    drain_seconds: Mapping[str, float]
    budget: Amount | None
    poll_seconds: float
    stride_seconds: float
    """How late a busy machine runs the program's steps."""
    endless: bool
    """As a controller runs; otherwise once for each change, and then now and again."""
    hears_events: bool
    ends_at: float
    steps: Sequence[Step] = field(default=())


def draw_story(seed: int) -> Story:
    chance = Random(f"story {seed}")
    budget = chance.choice((Amount(1), Amount(2), Amount(3))) if chance.random() < 0.25 else None
    groups = draw_groups(chance, has_budget=budget is not None)
    ends_at = chance.uniform(600.0, 2400.0)
    steps = draw_steps(chance, ends_at)
    published = chance.random() < 0.3
    return Story(
        seed=seed,
        groups=groups,
        settings=_draw_cloud(seed, chance),
        images={name: _image(name, published=published) for name in (*GOOD_IMAGES, BAD_IMAGE)},
        drain_seconds={g.name: chance.choice((3.0, 20.0, 60.0)) for g in groups if chance.random() < 0.3},
        budget=budget,
        poll_seconds=chance.choice((5.0, 15.0)),
        stride_seconds=chance.choice((3.0, 8.0, 20.0)),
        endless=chance.random() < 0.7,
        hears_events=chance.random() < 0.5,
        ends_at=ends_at,
        steps=steps,
    )


def draw_steps(chance: Random, seconds: float) -> Sequence[Step]:
    """Draw what happens in the course of so many seconds."""
    steps: list[Step] = []
    for _ in range(chance.randint(4, 18)):
        (act,) = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        steps.append(Step(chance.uniform(0.0, seconds), act, chance.getrandbits(32)))
    return sorted(steps, key=lambda step: step.at)


def draw_groups(chance: Random, *, has_budget: bool) -> tuple[GroupSpec, ...]:
    names = NAMES[: chance.choice((1, 1, 1, 2, 2, 3))]
    groups: list[GroupSpec] = []
    for name in names:
        named = chance.random() < 0.3
        size = chance.randint(1, 4) if named else chance.choice((1, 2, 3, 3, 4, 5, 6, 8))
        depends = tuple(g.name for g in groups if chance.random() < 0.3)
        groups.append(
            GroupSpec(
                name=name,
                provider="sim",
                image=chance.choice(GOOD_IMAGES),
                size=None if named else size,
                logical_ids=tuple(f"{name}-{n}" for n in range(1, size + 1)) if named else None,
                machine={"data_disk": "1GiB"} if named and chance.random() < 0.5 else {},
                health=_draw_health(chance),
                rollout=draw_rollout(chance, named=named, has_budget=has_budget),
                healing=HealingSpec(retry_seconds=600.0),
                scale_down=chance.choice(list(VictimOrder)),
                max_age_seconds=chance.uniform(600.0, 1800.0) if chance.random() < 0.15 else None,
                rebalance=chance.random() < 0.2,
                depends_on=depends,
            )
        )
    return tuple(groups)


def draw_rollout(chance: Random, *, named: bool, has_budget: bool) -> RolloutSpec:
    """Draw what may be declared: no steps where all goes at once, and no room for names to be there twice."""
    surges = [Amount(0), Amount(1), Amount(2), Amount(25, percent=True), Amount(100, percent=True)]
    surge = _maybe(chance, 0.6, surges)
    unavailable = _maybe(chance, 0.5, [Amount(1), Amount(2), Amount(25, percent=True), Amount(50, percent=True)])
    if surge == Amount(0):
        unavailable = Amount(chance.randint(1, 2))
    (strategy,) = chance.choices(list(Strategy), (7, 1, 2))
    if named or (strategy is Strategy.RECREATE and has_budget):
        strategy = Strategy.ROLLING
    some_steps = [(Amount(1),), (Amount(1), Amount(50, percent=True)), (Amount(2),), (Amount(20, percent=True),)]
    steps = _maybe(chance, 0.35, some_steps) or ()
    if strategy is not Strategy.ROLLING:
        steps = ()
    if named or strategy is not Strategy.ROLLING:
        surge = unavailable = None
    return RolloutSpec(
        strategy=strategy,
        max_surge=surge,
        max_unavailable=unavailable,
        steps=steps,
        bake_seconds=chance.choice((0.0, 0.0, 30.0, 120.0)),
        min_ready_seconds=chance.choice((0.0, 0.0, 0.0, 20.0)),
        failure_limit=chance.choice((Amount(5, percent=True), Amount(1), Amount(2), Amount(50, percent=True))),
        on_failure=chance.choice(list(OnFailure)),
        order=chance.choice(list(VictimOrder)),
        windows=_draw_windows(chance) if chance.random() < 0.1 else (),
        keep_old_seconds=chance.choice((0.0, 60.0)),
        drain_timeout_seconds=30.0,
        progress_deadline_seconds=chance.choice((300.0, 600.0)),
    )


def _draw_windows(chance: Random) -> tuple[Window, ...]:
    """Open now and again from the beginning on, so that nothing waits for the next day."""
    start = int(START % 86400 // 60) + chance.randint(0, 10)
    return tuple(Window((start + 30 * n) % 1440, 600.0) for n in range(3))


def _draw_health(chance: Random) -> HealthCheck:
    return HealthCheck(
        tcp=8080 if chance.random() < 0.9 else None,
        interval_seconds=chance.choice((15.0, 30.0)),
        healthy_after=chance.choice((1, 1, 2)),
        unhealthy_after=chance.choice((1, 2, 3)),
        grace_seconds=chance.choice((90.0, 180.0)),
    )


def _draw_cloud(seed: int, chance: Random) -> dict[str, object]:
    room = chance.randint(6, 14)
    return {
        "seed": seed,
        "boot_time": chance.choice(("1s", "20s", {"min": "5s", "max": "50s"})),
        "provision_delay": chance.choice(("0s", "0s", "1s")),
        "destroy_time": chance.choice(("0s", "5s", "40s")),
        "gone_listed_for": chance.choice(("0s", "30s")),
        "listing_lag": chance.choice(("0s", "8s", "25s")),
        "zones": chance.choice(({"a": None}, {"a": None, "b": None}, {"a": room, "b": room, "c": None})),
        "limits": chance.choice(("none", "none", "ec2")),
        "sick_images": [BAD_IMAGE],
    }


def _image(name: str, *, published: bool) -> Image:
    identity = (name * 32)[:64]
    if not published:
        return Image(name, identity, ImageForm.REFERENCE, reference=name)
    return Image(name, identity, ImageForm.DISK, {"disk": ImageFile(f"{name}.img", identity, 4096)})


def _maybe(chance: Random, share: float, values: Sequence[V]) -> V | None:
    return chance.choice(values) if chance.random() < share else None


def scaled(group: GroupSpec, size: int) -> GroupSpec:
    """Return a group with another number of machines; a named one keeps the names that it can."""
    if group.logical_ids is None:
        return replace(group, size=size)
    return replace(group, logical_ids=tuple(f"{group.name}-{n}" for n in range(1, size + 1)))


def calmed(group: GroupSpec, image: str) -> GroupSpec:
    """Return a group as people would have it at last: an image that works, and nothing that blocks it."""
    rollout = group.rollout
    if not group.logical_ids and rollout.strategy is Strategy.ROLLING:
        rollout = replace(rollout, max_surge=Amount(1))
    return replace(group, image=image, rollout=replace(rollout, windows=()), max_age_seconds=None)


def tagged(group: GroupSpec, value: str) -> GroupSpec:
    return replace(group, flavor=FlavorSpec(tags={"tier": value} if value else {}))
