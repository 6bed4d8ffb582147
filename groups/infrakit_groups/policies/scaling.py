"""The guards of size: how many may go at all before a person has said so."""

from infrakit_groups.policies.classify import RUNS, names
from infrakit_groups.policies.roster import EVERY, Roster
from infrakit_py.model.plan import Block, Version


def guard(roster: Roster) -> Block | None:
    """Block a change that would cost most of a group, or all of it by a change of kind.

    A rollout is no such change: for each machine that goes, one comes first or follows. So machines that are too
    many are counted among the current and among the outdated, never both together.
    """
    desired = roster.desired
    if desired.allow_mass_destroy:
        return None
    if roster.strangers:
        was, is_ = ("size", "logical_ids") if desired.logical_ids is not None else ("logical_ids", "size")
        return Block(
            f"group {desired.group} changed from {was} to {is_}: that would destroy {names(roster.strangers)}",
            "give the group another name to have both for a while, or run apply with --allow-mass-destroy",
        )
    surplus, out_of = _surplus(roster)
    if surplus > 0 and desired.prevent_destroy:
        return Block(
            f"group {desired.group} has prevent_destroy and {surplus} machines too many",
            "set prevent_destroy: false to let it shrink",
        )
    if surplus > out_of / 2:
        return Block(
            f"group {desired.group} would shrink from {out_of} to {out_of - surplus}, losing more than half",
            "if that is meant, run apply with --allow-mass-destroy",
        )
    return None


def _surplus(roster: Roster) -> tuple[int, int]:
    """Return how many of how many machines nobody wants any more."""
    desired = roster.desired
    if desired.logical_ids is not None:
        before = {a.member.logical_id for a in roster.of(EVERY, RUNS)}
        return len(before - set(desired.logical_ids)), len(before)
    outdated = roster.count((Version.OUTDATED,), RUNS)
    most = max(roster.count(EVERY, RUNS) - outdated, outdated)
    return most - desired.count, most
