"""Partial answers: which members a caller wants of one, as `items/*/instances(name,labels)`."""

import re
from collections.abc import Mapping
from typing import Any, Final

from tests.fakes.gce.checking import Checked
from tests.fakes.gce.document import Schema, schema
from tests.fakes.gce.errors import GceError

Mask = Mapping[str, "Mask"]
"""Members that are wanted, and of each what; empty means all of it. `*` is any member of a map."""

_TOKEN: Final = re.compile(r"\s*([A-Za-z0-9_*-]+|[/.,()])\s*")


def read_mask(written: str, reply: str) -> Mask:
    """Return what is wanted of a reply of a schema. GceError for what it cannot have."""
    tokens: list[str] = []
    at = 0
    while at < len(written):
        found = _TOKEN.match(written, at)
        if not found:
            raise _bad(written)
        tokens.append(found[1])
        at = found.end()
    mask, rest = _several(tokens, written)
    if rest:
        raise _bad(written)
    _check(mask, {"$ref": reply}, written)
    return mask


def masked(value: Any, mask: Mask) -> Any:
    """Return what a mask leaves of a value."""
    if not mask:
        return value
    if type(value) is Checked:
        return masked(value.value, mask)
    if isinstance(value, list):
        return [masked(one, mask) for one in value]
    if not isinstance(value, dict):
        return value
    if "*" in mask:
        return {name: masked(one, mask["*"]) for name, one in value.items()}
    return {name: masked(value[name], inner) for name, inner in mask.items() if name in value}


def _several(tokens: list[str], written: str) -> tuple[dict[str, Mask], list[str]]:
    mask, tokens = _one(tokens, written)
    while tokens and tokens[0] == ",":
        more, tokens = _one(tokens[1:], written)
        mask = _joined(mask, more)
    return mask, tokens


def _one(tokens: list[str], written: str) -> tuple[dict[str, Mask], list[str]]:
    if not tokens or tokens[0] in "/.,()":
        raise _bad(written)
    name, rest = tokens[0], tokens[1:]
    if rest and rest[0] in "/.":
        inner, rest = _one(rest[1:], written)
        return {name: inner}, rest
    if rest and rest[0] == "(":
        inner, rest = _several(rest[1:], written)
        if not rest or rest[0] != ")":
            raise _bad(written)
        return {name: inner}, rest[1:]
    return {name: {}}, rest


def _joined(one: Mask, other: Mask) -> dict[str, Mask]:
    both = dict(one)
    for name, inner in other.items():
        both[name] = _joined(both[name], inner) if both.get(name) and inner else {} if name in both else inner
    return both


def _check(mask: Mask, now: Schema, written: str) -> None:
    while now.get("type") == "array":
        now = now["items"]
    if "$ref" in now:
        now = schema(now["$ref"])
    for name, inner in mask.items():
        properties = now.get("properties", {})
        if "additionalProperties" in now:
            _check(inner, now["additionalProperties"], written)
        elif name == "*":
            if inner:
                raise _bad(written)
        elif name in properties:
            _check(inner, properties[name], written)
        else:
            raise _bad(written, name)


def _bad(written: str, name: str = "") -> GceError:
    return GceError(400, "invalidParameter", f"Invalid field selection {name or written}", by_front=True)
