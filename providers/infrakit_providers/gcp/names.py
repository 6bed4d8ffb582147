"""Names of machines: each says whose place it is, and no two places have the same. Pure.

Compute Engine refuses a second machine of a name in a zone, so the name is a lock that no crash forgets. Machines
that are made many at a time share their labels; which of them is which is in their names.
"""

import hashlib
import re
from base64 import b32encode
from collections.abc import Mapping
from typing import Final, NamedTuple

from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceId

LIMIT: Final = 63
"""Characters of a name (RFC 1035 label). Source: Compute Engine documentation, "Naming resources"."""
_MARK_LENGTH: Final = 6
_NUMBERED: Final = re.compile(r"-([a-z2-7]{6})-(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$")
_NOT_ALLOWED: Final = re.compile(r"[^a-z0-9]+")


class Address(NamedTuple):
    """A machine by its zone and name, which is what its id is made of."""

    zone: str
    name: str

    @property
    def id(self) -> InstanceId:
        return InstanceId(f"{self.zone}/{self.name}")


class Place(NamedTuple):
    """A slot and the incarnation of its machine."""

    slot: str
    incarnation: int


def address_of(instance_id: str) -> Address | None:
    """Read an id. None for one that is none of ours."""
    zone, slash, name = instance_id.partition("/")
    return Address(zone, name) if slash and zone and name and "/" not in name else None


def name_of(own: Mapping[str, str]) -> str:
    """Return the name of the machine that shall carry these tags."""
    cluster, group, slot = own[tags.CLUSTER], own[tags.GROUP], own.get(tags.SLOT, "")
    incarnation = tags.incarnation_of(own)
    logical_id = own.get(tags.LOGICAL_ID)
    if logical_id is None and slot.isdecimal():
        return _joined(f"{cluster}-{group}", f"{_mark(cluster, group)}-{slot}-{incarnation}")
    member = logical_id if logical_id is not None else slot
    return _joined(f"{cluster}-{group}-{member}", f"{_mark(cluster, group, member)}-{incarnation}")


def kept_name(cluster: str, group: str, member: str, what: str) -> str:
    """Return the name of a thing that a named member keeps: `what` tells it from its others."""
    return _joined(f"{cluster}-{group}-{member}-{what}", _mark(cluster, group, member, what))


def place_in(name: str, cluster: str, group: str) -> Place | None:
    """Return the place that a name gives a machine of a group; None where it says nothing of that group."""
    match = _NUMBERED.search(name)
    if match is None or match[1] != _mark(cluster, group):
        return None
    place = Place(match[2], int(match[3]))
    expected = {tags.CLUSTER: cluster, tags.GROUP: group, tags.SLOT: match[2], tags.INCARNATION: match[3]}
    return place if name == name_of(expected) else None


def _joined(words: str, tail: str) -> str:
    """Join what people read and what tells names apart. The former is cut where it is too long."""
    head = _NOT_ALLOWED.sub("-", words.lower()).strip("-")
    if not head[:1].isalpha():
        head = f"m-{head}".rstrip("-")
    return f"{head[: LIMIT - len(tail) - 1].rstrip('-')}-{tail}"


def _mark(*words: str) -> str:
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    return b32encode(digest).decode().lower()[:_MARK_LENGTH]
