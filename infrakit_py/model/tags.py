"""The tags that say whose an instance is and what it was made from. They are the only state there is.

Original InfraKit's own names are kept where it has one. A provider may encode them as its limits demand,
and gives back exactly these.
"""

from collections.abc import Mapping
from typing import Final
from uuid import UUID, uuid5

PREFIX: Final = "infrakit."
CLUSTER: Final = "infrakit.cluster"
GROUP: Final = "infrakit.group"
CONFIG_HASH: Final = "infrakit.config.hash"
LOGICAL_ID: Final = "infrakit.logical_id"
IMAGE: Final = "infrakit.image"
REVISION: Final = "infrakit.revision"
TOKEN: Final = "infrakit.token"
SLOT: Final = "infrakit.slot"
"""Number of an interchangeable machine, or the logical id of a named one."""
INCARNATION: Final = "infrakit.incarnation"
"""How many machines this slot had before; part of the token."""
DRAINING: Final = "infrakit.draining"
"""Unix time in seconds at which draining began; a machine that carries it is on its way out for good."""
FAILURES: Final = "infrakit.failures"
"""How many machines of the same slot and version failed in a row before this one. Absent for none."""
PROTECTED: Final = "infrakit.protected"
"""Set by a person: while it is there (and not `false`), this machine is never destroyed by us."""
REPLACE: Final = "infrakit.replace"
"""Set by a person: this machine is to be replaced, as an outdated one is."""
USER_TAGS: Final = "infrakit.tags"
"""Comma-separated keys of the user's own tags that we set, so that a key dropped from the spec can be removed."""

_TOKENS: Final = UUID("6f3d7c52-36ab-5a5d-9a0c-2f9f6c1c9d57")


def token(cluster: str, group: str, slot: str, incarnation: int) -> str:
    """Return the idempotency token of one machine-to-be: a UUID, the same for the same intent.

    It never depends on the spec's revision: an edit made while listings are stale would otherwise launch twice.
    Names cannot contain a slash, so two intents never share a token.
    """
    return str(uuid5(_TOKENS, f"{cluster}/{group}/{slot}/{incarnation}"))


def owned_by(tags: Mapping[str, str], cluster: str) -> bool:
    """Tell whether an instance is ours. A missing key never matches."""
    return tags.get(CLUSTER) == cluster and bool(tags.get(GROUP))


def incarnation_of(tags: Mapping[str, str]) -> int:
    """Return the incarnation that an instance's tags name; 0 where the tag is absent or not a number."""
    text = tags.get(INCARNATION, "")
    return int(text) if text.isdecimal() else 0


def failures_of(tags: Mapping[str, str]) -> int:
    """Return how many predecessors in a row failed; 0 where the tag is absent or not a number."""
    text = tags.get(FAILURES, "")
    return int(text) if text.isdecimal() else 0


def is_protected(tags: Mapping[str, str]) -> bool:
    """Tell whether a person has forbidden to destroy the machine. A value that is no clear `false` protects."""
    return tags.get(PROTECTED, "false").strip().lower() not in ("false", "no", "0")


def with_user_tags(own: Mapping[str, str], user: Mapping[str, str]) -> dict[str, str]:
    """Join our tags and the user's, and note which keys are the user's."""
    joined = {**user, **own}
    if user:
        joined[USER_TAGS] = ",".join(sorted(user))
    return joined


def user_tag_changes(actual: Mapping[str, str], user: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the tags to set and the keys to remove so that the user's tags become `user`.

    Keys that neither we nor the spec ever set (an operator's, the provider's) are left alone.
    """
    noted = ",".join(sorted(user))
    set_ = {key: value for key, value in user.items() if actual.get(key) != value}
    if actual.get(USER_TAGS, "") != noted and noted:
        set_[USER_TAGS] = noted
    before = [key for key in actual.get(USER_TAGS, "").split(",") if key]
    remove = [key for key in before if key not in user and key in actual]
    if not noted and USER_TAGS in actual:
        remove.append(USER_TAGS)
    return set_, tuple(sorted(remove))
