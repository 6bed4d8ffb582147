"""What is said to etcd's JSON gateway, and what it says. Pure.

Numbers of 64 bits arrive as texts, keys and values as base64, and zeros and empty values not at all.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Compare: TypeAlias = Mapping[str, Any]
Op: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A key as it is. `created` and `modified` are revisions of all of etcd; `lease` is 0 for none."""

    key: str
    value: bytes
    created: int
    modified: int
    lease: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a transaction: `found` holds what each operation found, in order, as of `revision`."""

    succeeded: bool
    revision: int
    term: int
    found: tuple[tuple[Found, ...], ...]


def put(key: str, value: bytes, lease: int = 0) -> Op:
    return {"request_put": {"key": encoded(key), "value": _base64(value), "lease": lease}}


def delete(key: str) -> Op:
    return {"request_delete_range": {"key": encoded(key)}}


def delete_between(first: str, end: str) -> Op:
    """Delete from `first` on, up to but without `end`."""
    return {"request_delete_range": {"key": encoded(first), "range_end": encoded(end)}}


def get(key: str) -> Op:
    return {"request_range": {"key": encoded(key)}}


def get_between(first: str, end: str, *, limit: int = 0, keys_only: bool = False, revision: int = 0) -> Op:
    """Look from `first` on, up to but without `end`, in the order of keys; at most `limit` of them (0: all).

    With a revision, as it was then. Another order would have etcd read everything before it looks at the limit.
    """
    body = {"key": encoded(first), "range_end": encoded(end), "limit": limit, "keys_only": keys_only}
    return {"request_range": {**body, "revision": revision}}


def get_under(prefix: str) -> Op:
    """Look at all that begins with `prefix`."""
    return get_between(prefix, after(prefix))


def delete_under(prefix: str) -> Op:
    return delete_between(prefix, after(prefix))


def created_at(key: str, revision: int) -> Compare:
    """Demand that a key was created then; 0: that it is not there."""
    return {"key": encoded(key), "target": "CREATE", "result": "EQUAL", "create_revision": revision}


def modified_at(key: str, revision: int) -> Compare:
    """Demand that a key was written then the last time; 0: that it is not there."""
    return {"key": encoded(key), "target": "MOD", "result": "EQUAL", "mod_revision": revision}


def after(prefix: str) -> str:
    """Return the first key after all that begin with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def encoded(key: str) -> str:
    return _base64(key.encode())


def read_answer(body: Mapping[str, Any]) -> Answer:
    """Return a transaction's answer. ValueError or KeyError for what is none."""
    header = body["header"]
    return Answer(
        succeeded=bool(body.get("succeeded", False)),
        revision=int(header["revision"]),
        term=int(header["raft_term"]),
        found=tuple(_found(response) for response in body.get("responses", ())),
    )


def _found(response: Mapping[str, Any]) -> tuple[Found, ...]:
    kvs: Sequence[Mapping[str, Any]] = response.get("response_range", {}).get("kvs", ())
    return tuple(
        Found(
            key=b64decode(kv["key"]).decode(),
            value=b64decode(kv.get("value", "")),
            created=int(kv["create_revision"]),
            modified=int(kv["mod_revision"]),
            lease=int(kv.get("lease", 0)),
        )
        for kv in kvs
    )


def _base64(content: bytes) -> str:
    return b64encode(content).decode()
