"""The guards of size: how many may go at all before a person has said so."""

from collections.abc import Sequence

from infrakit_groups.policies.classify import is_of_kind, names
from infrakit_py.model.plan import Assessed, Block, Condition, Desired

_COUNTED = frozenset({Condition.READY, Condition.STARTING, Condition.UNKNOWN})


def guard(desired: Desired, members: Sequence[Assessed]) -> Block | None:
    """Block a change that would cost most of a group, or all of it by a change of kind.

    A rollout is no such change: for each machine that goes, one comes first or follows.
    """
    if desired.allow_mass_destroy:
        return None
    of_other_kind = [a for a in members if not is_of_kind(desired, a.member)]
    if of_other_kind:
        was, is_ = ("size", "logical_ids") if desired.logical_ids is not None else ("logical_ids", "size")
        return Block(
            f"group {desired.group} changed from {was} to {is_}: that would destroy {names(of_other_kind)}",
            "give the group another name to have both for a while, or run apply with --allow-mass-destroy",
        )
    present = [a for a in members if a.condition in _COUNTED]
    surplus = len(present) - desired.count
    if surplus > 0 and desired.prevent_destroy:
        return Block(
            f"group {desired.group} has prevent_destroy and {surplus} machines too many",
            "set prevent_destroy: false to let it shrink",
        )
    if surplus > len(present) / 2:
        return Block(
            f"group {desired.group} would shrink from {len(present)} to {desired.count}, losing more than half",
            "if that is meant, run apply with --allow-mass-destroy",
        )
    return None
