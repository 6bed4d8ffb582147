"""Our tags as labels, and back. Pure.

Labels have no dots, no capitals and no spaces, so a tag is written in an alphabet of its own: `.` in a key of ours is
`-`, and what has no sign of its own is written with `_`. What is too long even so is kept in the machine's metadata,
under a digest that a label names: whoever reads the label finds exactly what was written with it.
"""

import hashlib
import json
import re
from base64 import b32decode, b32encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from infrakit_providers.gcp.names import place_in
from infrakit_py.errors import ProviderError
from infrakit_py.model import tags

MOST: Final = 64
LONGEST: Final = 63
"""Labels of a machine, and characters of a key or a value. Source: Compute Engine documentation, "Labels"."""
OWN: Final = "infrakit-gcp-"
"""Labels that are this provider's own business, and are shown to nobody."""
MORE: Final = "infrakit-more"
"""Names the entry of `ITEM` that holds what did not fit."""
ITEM: Final = "infrakit-tags"
NOTHING: Final[Mapping[str, Mapping[str, str]]] = {}
_FOREIGN: Final = "goog-"
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_PACKED: Final = "_h"
"""Before a SHA-256 digest in base32: 64 digits do not fit, 52 do."""
_ESCAPE: Final = re.compile(r"_(_|-|[0-9a-f]{2})")
_WRITTEN: Final = re.compile(r"(?:[a-z0-9-]|_(?:_|-|[0-9a-f]{2}))*")
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


@dataclass(frozen=True, slots=True)
class Written:
    """Tags as they are written: `more` is what did not fit into labels, under the digest that `MORE` names."""

    labels: Mapping[str, str]
    more: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def written(own: Mapping[str, str]) -> Written:
    """Write tags. ProviderError where there are more of them than a machine can have labels."""
    labels: dict[str, str] = {}
    long: dict[str, str] = {}
    for key, value in own.items():
        key_label, value_label = key_of(key), value_of(value)
        if key_label is None or value_label is None:
            long[key] = value
        else:
            labels[key_label] = value_label
    more: dict[str, Mapping[str, str]] = {}
    if long:
        digest = _digest(long)
        labels[MORE] = digest
        more[digest] = long
    if len(labels) > MOST:
        raise ProviderError(f"gcp: {len(labels)} tags do not fit: a machine has at most {MOST} labels")
    return Written(labels, more)


def read(
    labels: Mapping[str, str], name: str = "", more: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, str]:
    """Read the tags of a machine: those in its labels, those in its metadata, and what its name says.

    Labels that are not written as `written` writes them are somebody else's, and are given back as they are.
    """
    own: dict[str, str] = {}
    for key, value in labels.items():
        if key == MORE or key.startswith((OWN, _FOREIGN)):
            continue
        own[_read_key(key)] = read_value(value)
    own |= (more or {}).get(labels.get(MORE, ""), {})
    if tags.SLOT not in own and tags.CLUSTER in own and tags.GROUP in own:
        cluster, group = own[tags.CLUSTER], own[tags.GROUP]
        place = place_in(name, cluster, group)
        if place is not None:
            own[tags.SLOT], own[tags.INCARNATION] = place.slot, str(place.incarnation)
            own[tags.TOKEN] = tags.token(cluster, group, place.slot, place.incarnation)
    return own


def has_more(labels: Mapping[str, str]) -> bool:
    """Tell whether some of a machine's tags are in its metadata."""
    return MORE in labels


def shared(own: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that machines made by one call share: a machine's place is in its name."""
    return {key: value for key, value in own.items() if key not in (tags.SLOT, tags.INCARNATION, tags.TOKEN)}


def item(more: Mapping[str, Mapping[str, str]]) -> str:
    """Return the metadata item that holds what did not fit into labels."""
    return json.dumps(more, sort_keys=True, separators=(",", ":"))


def read_item(text: str) -> dict[str, Mapping[str, str]]:
    """Read a metadata item; nothing where somebody else has written it."""
    try:
        document: Any = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    return {digest: long for digest, long in document.items() if isinstance(long, dict) and _digest(long) == digest}


def filter_of(cluster: str) -> str:
    """Return the filter for a cluster's machines, on the server's side."""
    value = value_of(cluster)
    if value is None:
        raise ProviderError(f"gcp: the cluster's name does not fit into a label: {cluster}")
    return f'labels.{key_of(tags.CLUSTER)}="{value}"'


def key_of(key: str) -> str | None:
    """Return the label's key of a tag; None where there can be none."""
    if key.startswith(("infrakit-", _FOREIGN)):
        return None  # it would be taken for another
    ours = key.startswith(tags.PREFIX)
    text = _escaped(key, dot="-" if ours else "_2e", hyphen="_-" if ours else "-")
    return text if text[:1] in _PLAIN and not text[:1].isdecimal() and len(text) <= LONGEST else None


def value_of(value: str) -> str | None:
    """Return the label's value of a tag's value; None where it is too long."""
    if _HEX.fullmatch(value):
        return _PACKED + b32encode(bytes.fromhex(value)).decode().lower().rstrip("=")
    text = _escaped(value, dot="_2e", hyphen="-")
    return text if len(text) <= LONGEST else None


def _escaped(text: str, *, dot: str, hyphen: str) -> str:
    signs = {".": dot, "-": hyphen, "_": "__"}
    return "".join(
        char if char in _PLAIN else signs.get(char) or "".join(f"_{byte:02x}" for byte in char.encode())
        for char in text
    )


def _read_key(key: str) -> str:
    return _unescaped(key, dot="-" if key.startswith("infrakit-") else "") if _WRITTEN.fullmatch(key) else key


def read_value(value: str) -> str:
    """Return the tag's value that a label's value stands for."""
    if value.startswith(_PACKED):
        try:
            digest = b32decode(value.removeprefix(_PACKED).upper() + "====").hex()
        except ValueError:
            return value
        return digest if _HEX.fullmatch(digest) else value
    return _unescaped(value, dot="") if _WRITTEN.fullmatch(value) else value


def _unescaped(text: str, *, dot: str) -> str:
    """Undo `_escaped`; a text that is not UTF-8 then was written by somebody else, and stays as it is."""
    raw = bytearray()
    at = 0
    for match in _ESCAPE.finditer(text):
        raw += _plain(text[at : match.start()], dot)
        sign = match[1]
        raw += sign.encode() if sign in ("_", "-") else bytes.fromhex(sign)
        at = match.end()
    raw += _plain(text[at:], dot)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return text


def _plain(text: str, dot: str) -> bytes:
    return (text.replace(dot, ".") if dot else text).encode()


def _digest(long: Mapping[str, str]) -> str:
    text = json.dumps(long, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:40]
