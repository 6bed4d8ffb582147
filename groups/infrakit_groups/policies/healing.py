"""Which failed machines are replaced now, which later, and which not, because they are not to blame."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from infrakit_groups.policies.classify import names
from infrakit_groups.policies.order import oldest_first
from infrakit_groups.policies.roster import CURRENT, EVERY, Roster
from infrakit_py.model import tags
from infrakit_py.model.instance import Member
from infrakit_py.model.plan import Assessed, Condition, Desired, Version, Wait

_PROVEN_SECONDS: Final = 600.0
_TWICE: Final = 2
_FEW: Final = 3
"""So few unhealthy machines are no sign of anything, whatever share of a small group they are."""

_DIMENSIONS: Final[Sequence[tuple[str, Callable[[Member], str]]]] = (
    ("zone", lambda member: member.instance.zone),
    ("host", lambda member: member.instance.host),
    ("image", lambda member: member.instance.tags.get(tags.IMAGE, "")[:12]),
)


@dataclass(frozen=True, slots=True)
class Healing:
    """Failed machines of the wanted version: those to replace now, those left alone for now, and why."""

    sick: tuple[Assessed, ...] = ()
    dead: tuple[Assessed, ...] = ()
    waiting_sick: tuple[Assessed, ...] = ()
    waiting_dead: tuple[Assessed, ...] = ()
    waits: tuple[Wait, ...] = ()


def is_new(desired: Desired, member: Member, now: float) -> bool:
    """Tell whether a machine is so young that its failure speaks against its version."""
    if member.instance.launched_at < desired.forgiven_before:
        return False
    if not member.health.ever_healthy:
        return True
    rollout = desired.rollout
    proven = max(_PROVEN_SECONDS, desired.grace_seconds + rollout.min_ready_seconds + rollout.bake_seconds)
    return now < member.instance.launched_at + proven


def failures_after(desired: Desired, member: Member, now: float) -> int:
    """Return how many failed in a row, this one included: none if it had proved itself before it failed."""
    proven = member.health.ever_healthy and now >= member.instance.launched_at + max(
        _PROVEN_SECONDS, desired.grace_seconds
    )
    forgiven = member.instance.launched_at < desired.forgiven_before
    return 0 if proven or forgiven else member.failures + 1


def heal(roster: Roster, failed: Iterable[Assessed], now: float) -> Healing:
    """Sort out the failed machines of the wanted version that a rollout does not keep as evidence."""
    desired = roster.desired
    failed = sorted(failed, key=oldest_first)  # whatever the listing's order
    if not failed:
        return Healing()
    sick = [a for a in failed if a.condition is Condition.UNHEALTHY]
    waits: list[Wait] = []
    left_alone: set[tuple[str, str]] = set()
    if reason := _too_many(roster):
        left_alone = {(a.member.provider, a.member.id) for a in sick}
        waits.append(Wait(f"{names(sick)} left alone: {reason}"))
    else:
        alike, reason = _alike(roster, failed)
        if alike := [a for a in alike if a.condition is Condition.UNHEALTHY]:
            left_alone = {(a.member.provider, a.member.id) for a in alike}
            waits.append(Wait(f"{names(alike)} left alone: {reason}"))
    later = {id(a): due for a in failed if (due := _due(desired, a.member, now)) > now}
    if backing_off := [a for a in failed if id(a) in later and (a.member.provider, a.member.id) not in left_alone]:
        due = min(later[id(a)] for a in backing_off)
        most = max(failures_after(desired, a.member, now) for a in backing_off)
        times = "once" if most == 1 else f"{most} times in a row"
        breaker = "; the breaker is open" if most >= desired.healing.max_failed_launches else ""
        waits.append(Wait(f"{names(backing_off)} failed {times}: backing off{breaker}", due))
    held = {id(a) for a in failed if id(a) in later or (a.member.provider, a.member.id) in left_alone}
    return Healing(
        sick=tuple(a for a in sick if id(a) not in held),
        dead=tuple(a for a in failed if a.condition is Condition.DEAD and id(a) not in held),
        waiting_sick=tuple(a for a in sick if id(a) in held),
        waiting_dead=tuple(a for a in failed if a.condition is Condition.DEAD and id(a) in held),
        waits=tuple(waits),
    )


def _due(desired: Desired, member: Member, now: float) -> float:
    """Return when a failed machine may have a successor: the later, the more failed in a row."""
    failures = failures_after(desired, member, now)
    healing = desired.healing
    if failures < _TWICE or member.instance.launched_at < desired.forgiven_before:
        return -inf
    if failures >= healing.max_failed_launches:
        return member.instance.launched_at + healing.retry_seconds
    delay = min(healing.back_off_seconds * 2.0 ** (failures - _TWICE), healing.max_back_off_seconds)
    return member.instance.launched_at + delay


def _too_many(roster: Roster) -> str:
    """Say why nobody is replaced for bad health: when most of a group is ill, the check may be."""
    desired = roster.desired
    unhealthy = roster.count(EVERY, (Condition.UNHEALTHY,))
    most = desired.healing.max_unhealthy.rounded_down(desired.count)
    if unhealthy < _FEW or unhealthy <= most:
        return ""
    return (
        f"{unhealthy} of {desired.count} are unhealthy, more than {most} (healing.max_unhealthy); the breaker is open"
    )


def _alike(roster: Roster, failed: list[Assessed]) -> tuple[list[Assessed], str]:
    """Return failed machines that share what no healthy machine has, while healthy ones elsewhere show it is that."""
    if len(failed) < roster.desired.healing.max_alike:
        return [], ""
    ready = list(roster.of(CURRENT, (Condition.READY,))) + list(roster.of((Version.EXPIRED,), (Condition.READY,)))
    if not ready:
        return [], ""
    for dimension, value_of in _DIMENSIONS:
        shares = Counter(value_of(a.member) for a in failed)
        value, most = max(shares.items(), key=lambda item: (item[1], item[0]))
        if not value or most < max(roster.desired.healing.max_alike, len(failed)):
            continue
        if all(value_of(a.member) != value for a in ready):
            alike = [a for a in failed if value_of(a.member) == value]
            return (
                alike,
                f"all {most} that fail share {dimension} {value}, where none is healthy; the breaker is open",
            )
    return [], ""
