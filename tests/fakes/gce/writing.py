"""How replies are written: JSON in which what was written before is not written again, instants, fingerprints."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from tests.fakes.gce.checking import Checked, Misfit, check_of
from tests.fakes.gce.errors import OwnMistake

Reply = dict[str, Any]

_ZONE: Final = timezone(timedelta(hours=-7))
_NOTHING: Final = "42WmSpB8rSM="
"""What Google answers as the fingerprint of no labels."""

_encode: Final[Callable[[Any], str]] = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def checked(name: str, value: Reply) -> Checked:
    """Return a value with its JSON if it fits a schema. OwnMistake if not."""
    try:
        check_of(name)(value, name)
    except Misfit as exc:
        raise OwnMistake(str(exc)) from exc
    return Checked(name, value, _encode(value))


def write(value: Any) -> str:
    """Return a value's JSON."""
    if type(value) is Checked:
        return value.text
    if type(value) is dict:
        return "{" + ",".join([f"{_encode(name)}:{write(inner)}" for name, inner in value.items()]) + "}"
    if type(value) is list:
        return "[" + ",".join([write(inner) for inner in value]) + "]"
    return _encode(value)


def instant(at: float) -> str:
    """Return an instant as Google writes it, with the offset of its home."""
    return datetime.fromtimestamp(at, UTC).astimezone(_ZONE).isoformat(timespec="milliseconds")


def fingerprint(value: object) -> str:
    """Return what changes when a value does."""
    if not value:
        return _NOTHING
    text = json.dumps(value, sort_keys=True)
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def without_none(reply: Mapping[str, Any]) -> Reply:
    """Return what of a reply is there: Google leaves out what is empty."""
    return {name: value for name, value in reply.items() if value is not None and value != [] and value != ""}


def fixed_id(name: str) -> str:
    """Return the id of a thing that Google made, which is the same in each project."""
    return str(10**18 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % (8 * 10**18))
