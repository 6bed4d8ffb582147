"""Which members are current, and what each is good for. Every policy starts from this one view."""

from collections.abc import Iterable
from math import inf

from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceState, Member, Verdict
from infrakit_py.model.plan import Assessed, Condition, Desired, Version
from infrakit_py.model.quantities import format_duration

RUNS = (Condition.READY, Condition.STARTING, Condition.UNKNOWN, Condition.UNHEALTHY)
"""Conditions of machines that may be serving, or soon will."""


def assess(desired: Desired, member: Member, now: float, *, crowded: bool = False) -> Assessed:
    """Say whether a member is current, what it is good for, why, and until when that is so."""
    version, stale_because, version_until = _version(desired, member, now, crowded=crowded)
    condition, reason, until = _condition(desired, member, version, now)
    baked = False
    if condition is Condition.READY:
        bakes_until = _healthy_since(member) + desired.rollout.bake_seconds
        baked = now >= bakes_until
        if not baked:
            until = min(until, bakes_until)
    return Assessed(member, version, condition, reason or stale_because, baked, min(until, version_until))


def names(members: Iterable[Assessed], limit: int = 3) -> str:
    """Name the first few members: `web-0, web-1 and 7 more`."""
    all_ = [assessed.member.name for assessed in members]
    if len(all_) <= limit + 1:
        return ", ".join(all_)
    return f"{', '.join(all_[:limit])} and {len(all_) - limit} more"


def is_of_kind(desired: Desired, member: Member) -> bool:
    """Tell whether a member is named where names are wanted, and unnamed where not."""
    return (member.logical_id is not None) == (desired.logical_ids is not None)


def outdated_reason(desired: Desired, member: Member) -> str:
    """Say what about a member is outdated; empty when nothing is."""
    if desired.undeclared:
        return ""
    if member.provider != desired.provider:
        return f"runs on provider {member.provider}, not {desired.provider}"
    if not is_of_kind(desired, member):
        return "has no name" if desired.logical_ids is not None else "has a name that the group no longer gives"
    if member.fingerprint == desired.fingerprint:
        return ""
    image = member.instance.tags.get(tags.IMAGE, "")
    if desired.image is not None and image != desired.image.identity:
        return f"image {image[:12] or 'unknown'} → {desired.image.short}"
    return "machine properties or user data changed"


def _version(desired: Desired, member: Member, now: float, *, crowded: bool) -> tuple[Version, str, float]:
    if reason := outdated_reason(desired, member):
        return Version.OUTDATED, reason, inf
    if desired.undeclared:
        return Version.CURRENT, "", inf
    if tags.REPLACE in member.instance.tags:
        return Version.EXPIRED, "a person marked it for replacement", inf
    if member.instance.doomed:
        return Version.EXPIRED, member.instance.doomed, inf
    if crowded:
        return Version.EXPIRED, f"zone {member.instance.zone} has more machines than others", inf
    if desired.max_age_seconds is None:
        return Version.CURRENT, "", inf
    expires = member.instance.launched_at + desired.max_age_seconds
    if now >= expires:
        return Version.EXPIRED, f"older than {format_duration(desired.max_age_seconds)}", inf
    return Version.CURRENT, "", expires


def _condition(desired: Desired, member: Member, version: Version, now: float) -> tuple[Condition, str, float]:
    instance = member.instance
    match instance.state:
        case InstanceState.LEAVING | InstanceState.GONE:
            return Condition.LEAVING, instance.detail, inf
        case InstanceState.STOPPED:
            return Condition.DEAD, instance.detail or "not running", inf
        case InstanceState.INCOMPLETE:
            # One that nobody would finish is rubbish; one that is wanted is finished with its own token.
            unwanted = desired.logical_ids is not None and member.logical_id not in desired.logical_ids
            rubbish = unwanted or version is Version.OUTDATED
            return (Condition.DEAD if rubbish else Condition.STARTING), "its creation was cut short", inf
        case InstanceState.PENDING | InstanceState.RUNNING:
            pass
    if member.draining_since is not None:
        return Condition.DRAINING, "draining", inf
    grace_ends = instance.launched_at + desired.grace_seconds
    in_grace = now < grace_ends and not member.health.ever_healthy
    until = grace_ends if in_grace else inf
    if instance.state is InstanceState.PENDING:
        reason = instance.detail or "not running yet"
        return (Condition.STARTING if in_grace else Condition.UNHEALTHY), reason, until
    verdict = member.health.verdict
    unfinished = bool(instance.lacks or instance.awaits)
    if not unfinished and (
        verdict is Verdict.HEALTHY or (not desired.checks_health and verdict is not Verdict.UNHEALTHY)
    ):
        return _ready(desired, member, version, now)
    said = dict.fromkeys((member.health.reason, instance.lacks, instance.awaits, instance.detail))
    reason = "; ".join(part for part in said if part)
    if in_grace:
        return Condition.STARTING, reason, until
    return (Condition.UNHEALTHY if verdict is Verdict.UNHEALTHY else Condition.UNKNOWN), reason, inf


def _ready(desired: Desired, member: Member, version: Version, now: float) -> tuple[Condition, str, float]:
    """A machine that is healthy is ready, but for a new one that has not been so for long enough.

    One that is older than any new one could be was ready before this program looked.
    """
    wanted = desired.rollout.min_ready_seconds
    if not wanted or version is Version.OUTDATED:
        return Condition.READY, "", inf
    proven = min(_healthy_since(member) + wanted, member.instance.launched_at + desired.grace_seconds + wanted)
    if now >= proven:
        return Condition.READY, "", inf
    return Condition.STARTING, f"healthy, and ready when it has been so for {format_duration(wanted)}", proven


def _healthy_since(member: Member) -> float:
    return member.health.since if member.health.since is not None else member.instance.launched_at
