"""Which members are current, and what each is good for. Every policy starts from this one view."""

from collections.abc import Iterable

from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceState, Member, Snapshot, Verdict
from infrakit_py.model.plan import Assessed, Condition, Desired, Version

RUNS = frozenset({Condition.READY, Condition.STARTING, Condition.UNKNOWN, Condition.UNHEALTHY})
"""Conditions of machines that may be serving, or soon will."""


def classify(desired: Desired, snapshot: Snapshot, now: float) -> tuple[Assessed, ...]:
    """Assess every member that still exists."""
    return tuple(
        assess(desired, member, now) for member in snapshot.members if member.instance.state is not InstanceState.GONE
    )


def assess(desired: Desired, member: Member, now: float) -> Assessed:
    """Say whether a member is current, what it is good for, and why."""
    version, outdated_because = _version(desired, member)
    condition, reason = _condition(desired, member, version, now)
    return Assessed(member, version, condition, reason or outdated_because)


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


def _version(desired: Desired, member: Member) -> tuple[Version, str]:
    reason = outdated_reason(desired, member)
    return (Version.OUTDATED, reason) if reason else (Version.CURRENT, "")


def _condition(desired: Desired, member: Member, version: Version, now: float) -> tuple[Condition, str]:
    instance = member.instance
    match instance.state:
        case InstanceState.LEAVING | InstanceState.GONE:
            return Condition.LEAVING, instance.detail
        case InstanceState.STOPPED:
            return Condition.DEAD, instance.detail or "not running"
        case InstanceState.INCOMPLETE:
            # One that nobody would finish is rubbish; one that is wanted is finished with its own token.
            unwanted = desired.logical_ids is not None and member.logical_id not in desired.logical_ids
            rubbish = unwanted or version is Version.OUTDATED
            return (Condition.DEAD if rubbish else Condition.STARTING), "its creation was cut short"
        case InstanceState.PENDING | InstanceState.RUNNING:
            pass
    if member.draining_since is not None:
        return Condition.DRAINING, "draining"
    in_grace = now < instance.launched_at + desired.grace_seconds and not member.health.ever_healthy
    if instance.state is InstanceState.PENDING:
        reason = instance.detail or "not running yet"
        return (Condition.STARTING if in_grace else Condition.UNHEALTHY), reason
    if not desired.checks_health:
        return Condition.READY, ""
    reason = "; ".join(part for part in (member.health.reason, instance.detail) if part)
    match member.health.verdict:
        case Verdict.HEALTHY:
            return Condition.READY, ""
        case Verdict.UNKNOWN:
            return (Condition.STARTING if in_grace else Condition.UNKNOWN), reason
        case Verdict.UNHEALTHY:
            return (Condition.STARTING if in_grace else Condition.UNHEALTHY), reason
