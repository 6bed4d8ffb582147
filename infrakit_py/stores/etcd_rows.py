"""Values as etcd keeps them, where a part may be such as this release cannot read, and the rest counts still."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from infrakit_py.model.declared import Origin, RevisionRecord
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import GroupVersion, VersionRecord, VersionState
from infrakit_py.spi.store import Intent
from infrakit_py.stores.codec import Unreadable, read_value, read_version, value_json, version_json
from infrakit_py.stores.declaring import InForce
from infrakit_py.stores.etcd_values import read_packed, required
from infrakit_py.stores.etcd_wire import Found

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InForceRow:
    revision: int
    spec_digest: str
    at: float
    withdrawn: bool
    prune: bool
    origin: str

    @classmethod
    def of(cls, value: InForce) -> "InForceRow":
        origin = _origin_text(value.origin)
        return cls(value.revision, value.spec_digest, value.at, value.withdrawn, value.prune, origin)

    @property
    def value(self) -> InForce:
        origin = _origin(self.origin)
        return InForce(self.revision, self.spec_digest, origin, self.at, self.withdrawn, self.prune)


@dataclass(frozen=True, slots=True)
class RevisionRow:
    number: int
    spec_digest: str
    at: float
    origin: str

    @classmethod
    def of(cls, value: RevisionRecord) -> "RevisionRow":
        return cls(value.number, value.spec_digest, value.at, _origin_text(value.origin))

    @property
    def value(self) -> RevisionRecord:
        return RevisionRecord(self.number, self.spec_digest, self.at, _origin(self.origin))


@dataclass(frozen=True, slots=True)
class IntentRow:
    """An intent without the names of its place."""

    incarnation: int
    logical_id: str | None
    fingerprint: str
    since: float
    instance_id: str | None
    gone: bool
    ticket: str

    @classmethod
    def of(cls, value: Intent) -> "IntentRow":
        return cls(
            value.incarnation,
            value.logical_id,
            value.fingerprint,
            value.since,
            value.instance_id,
            value.gone,
            value.ticket,
        )

    def at(self, cluster: str, group: str, provider: str, slot: str) -> Intent:
        return Intent(
            cluster,
            group,
            provider,
            slot,
            self.incarnation,
            self.logical_id,
            self.fingerprint,
            self.since,
            InstanceId(self.instance_id) if self.instance_id is not None else None,
            self.gone,
            self.ticket,
        )


@dataclass(frozen=True, slots=True)
class VersionRow:
    """`order` tells apart what was written at once."""

    state: str
    at: float
    reason: str
    revision: int
    image: str
    image_identity: str
    content: str
    order: int = 0

    @classmethod
    def of(cls, version: GroupVersion, state: VersionState, at: float, reason: str, order: int = 0) -> "VersionRow":
        image = version.image
        return cls(
            state.value, at, reason, version.revision, image.name, image.identity, version_json(version), order
        )

    @property
    def value(self) -> VersionRecord:
        """The version. ValueError, Unreadable among them, where it is damaged or of a newer release."""
        return VersionRecord(read_version(self.content), VersionState(self.state), self.at, self.reason)


def in_order(rows: Sequence[Found]) -> Sequence[tuple[Found, VersionRow]]:
    """Return the rows of versions, that of the latest change last."""
    read = [(found, required(VersionRow, found)) for found in rows]
    return sorted(read, key=lambda each: (each[0].modified, each[1].order))


def readable(rows: Sequence[tuple[Found, VersionRow]]) -> Sequence[VersionRecord]:
    """Return the versions that this release can read."""
    records: list[VersionRecord] = []
    for _, row in rows:
        try:
            records.append(row.value)
        except ValueError:
            continue
    return records


def read_all(kind: type[T], rows: Sequence[Found]) -> Sequence[T]:
    """Return the values that this release can read."""
    values: list[T] = []
    for row in rows:
        try:
            values.append(read_packed(kind, row.value))
        except Unreadable:
            continue
    return values


def _origin_text(origin: Origin | None) -> str:
    return value_json(origin) if origin is not None else ""


def _origin(text: str) -> Origin | None:
    try:
        return read_value(Origin, text)
    except Unreadable:
        return None
