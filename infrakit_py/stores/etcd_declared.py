"""What is declared, in etcd: what is in force of each cluster, its numbers, and the specs of the last ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final

from infrakit_py.model.declared import Declared, Origin, RevisionRecord, SourceKind
from infrakit_py.model.fingerprint import spec_digest as digest_of
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.spi.claims import SOURCE_READER
from infrakit_py.stores import declaring
from infrakit_py.stores.codec import Unreadable
from infrakit_py.stores.declaring import InForce
from infrakit_py.stores.etcd_entries import in_force_entry, last_revision_entry, revision_entry, spec_entry
from infrakit_py.stores.etcd_keys import IN_FORCE, LAST, REVISIONS, SPECS, numbered
from infrakit_py.stores.etcd_ledger import EtcdLedger, Rule
from infrakit_py.stores.etcd_rows import InForceRow, RevisionRow, read_all
from infrakit_py.stores.etcd_values import read_packed, required
from infrakit_py.stores.etcd_wire import Found, Op, delete, get, put

_SPECS_AT_ONCE: Final = 10


@dataclass(frozen=True, slots=True)
class _Standing:
    """What a decision about a cluster's number is made of."""

    in_force: InForce | None
    last: int
    last_digest: str

    def number(self, spec_digest: str) -> int:
        return declaring.number(self.in_force, self.last, self.last_digest, spec_digest)


class EtcdDeclared:
    """See `infrakit_py.spi.store.Store`. What a source declares is written by its reader alone."""

    def __init__(self, ledger: EtcdLedger) -> None:
        self._ledger = ledger
        self._keys = ledger.keys
        self._read: dict[str, tuple[int, Declared | None]] = {}
        self._lock = Lock()

    def revision(self, cluster: str, spec_digest: str, now: float) -> int:
        number = 0

        def change() -> Sequence[Op] | None:
            nonlocal number
            standing = self._standing(cluster)
            number = standing.number(spec_digest)
            if number <= standing.last:
                return None
            record = RevisionRecord(number, spec_digest, now)
            return [*self._numbering(cluster, record, standing), *self._pruning(cluster, number, standing.in_force)]

        self._ledger.write((cluster,), (Rule(cluster, anyone=True),), change)
        return number

    def declare(self, spec: ClusterSpec, origin: Origin, now: float, *, expected: int | None = None) -> int:
        cluster, spec_digest = spec.name, digest_of(spec)
        number = 0

        def change() -> Sequence[Op] | None:
            nonlocal number
            standing = self._standing(cluster)
            declaring.require(cluster, standing.in_force, expected)
            number = standing.number(spec_digest)
            in_force = declaring.declared(standing.in_force, number, spec_digest, origin, now)
            record, content = self._numbered(cluster, number)
            key, wanted = spec_entry(self._keys, number, spec)
            if in_force == standing.in_force and record is not None and content == wanted:
                return None
            record = record or RevisionRecord(number, spec_digest, now)
            record = replace(record, origin=record.origin or origin)
            return [
                *self._numbering(cluster, record, standing),
                put(key, wanted),
                *self._in_force(cluster, in_force),
                *self._pruning(cluster, number, in_force, full=True),
            ]

        self._ledger.write((cluster,), self._rules(cluster, origin), change)
        return number

    def withdraw(self, cluster: str, origin: Origin, now: float, *, prune: bool) -> None:
        def change() -> Sequence[Op] | None:
            before = self._standing(cluster).in_force
            in_force = declaring.withdrawn(before, origin, now, prune=prune)
            if in_force is None or in_force == before:
                return None
            return self._in_force(cluster, in_force)

        self._ledger.write((cluster,), self._rules(cluster, origin), change)

    def retire(self, cluster: str, revision: int) -> None:
        def change() -> Sequence[Op] | None:
            if not declaring.may_retire(self._standing(cluster).in_force, revision):
                return None
            return [delete(self._keys.key(IN_FORCE, cluster)), put(self._keys.mark, b"")]

        self._ledger.write((cluster,), (Rule(cluster),), change)

    def declared(self) -> Mapping[str, Declared]:
        (rows,) = self._ledger.all_under(self._keys.under(IN_FORCE))
        with self._lock:
            known = dict(self._read)
        read = {row.key: known[row.key] for row in rows if row.key in known and known[row.key][0] == row.modified}
        unread = [row for row in rows if row.key not in read]
        for first in range(0, len(unread), _SPECS_AT_ONCE):
            read.update(self._specs_of(unread[first : first + _SPECS_AT_ONCE]))
        with self._lock:
            self._read = read
        return {declared.spec.name: declared for row in rows if (declared := read[row.key][1]) is not None}

    def declared_mark(self) -> int:
        found = self._ledger.look(get(self._keys.mark))[0]
        return found[0].modified if found else 0

    def revisions(self, cluster: str) -> Sequence[RevisionRecord]:
        (rows,) = self._ledger.all_under(self._keys.under(REVISIONS, cluster))
        return read_records(rows)

    def _standing(self, cluster: str) -> _Standing:
        in_force, last = self._ledger.look(
            get(self._keys.key(IN_FORCE, cluster)), get(self._keys.key(LAST, REVISIONS, cluster))
        )
        row = required(RevisionRow, last[0]) if last else RevisionRow(0, "", 0.0, "")
        stands = required(InForceRow, in_force[0]).value if in_force else None
        return _Standing(stands, row.number, row.spec_digest)

    def _numbered(self, cluster: str, number: int) -> tuple[RevisionRecord | None, bytes]:
        rows, specs = self._ledger.look(
            get(self._keys.key(REVISIONS, cluster, numbered(number))),
            get(self._keys.key(SPECS, cluster, numbered(number))),
        )
        record = read_records(rows)[0] if rows else None
        return record, specs[0].value if specs else b""

    def _numbering(self, cluster: str, record: RevisionRecord, standing: _Standing) -> Sequence[Op]:
        """Write a number, and that it is the last one unless a later one is there."""
        row = put(*revision_entry(self._keys, cluster, record))
        is_last = record.number >= standing.last
        return [row, put(*last_revision_entry(self._keys, cluster, record))] if is_last else [row]

    def _in_force(self, cluster: str, in_force: InForce) -> Sequence[Op]:
        return [put(*in_force_entry(self._keys, cluster, in_force)), put(self._keys.mark, b"")]

    def _pruning(self, cluster: str, number: int, in_force: InForce | None, *, full: bool = False) -> Sequence[Op]:
        """Drop the numbers and the specs that are too many once this one is there; those in force stay."""
        kept = numbered(in_force.revision) if in_force is not None else ""
        dropped: list[str] = []
        if number > declaring.REVISIONS_KEPT:
            dropped += self._too_many(REVISIONS, cluster, number, declaring.REVISIONS_KEPT)
        if full:
            dropped += self._too_many(SPECS, cluster, number, declaring.CONTENTS_KEPT)
        return [delete(key) for key in dropped if self._keys.names(key)[-1] != kept]

    def _too_many(self, part: str, cluster: str, number: int, kept: int) -> Sequence[str]:
        (rows,) = self._ledger.all_under(self._keys.under(part, cluster), keys_only=True)
        keys = sorted({*(row.key for row in rows), self._keys.key(part, cluster, numbered(number))})
        return keys[:-kept]

    def _rules(self, cluster: str, origin: Origin) -> Sequence[Rule]:
        """A source's reader that lost its claim may have read what is not so any more."""
        everybody = (Rule(cluster, anyone=True),)
        return everybody if origin.kind is SourceKind.API else (*everybody, Rule(SOURCE_READER, anyone=True))

    def _specs_of(self, rows: Sequence[Found]) -> Mapping[str, tuple[int, Declared | None]]:
        """Return what rows say is in force, by key, each with its revision in etcd: what cannot be read is None."""
        wanted: list[tuple[Found, InForce]] = []
        read: dict[str, tuple[int, Declared | None]] = {row.key: (row.modified, None) for row in rows}
        for row in rows:
            try:
                wanted.append((row, read_packed(InForceRow, row.value).value))
            except Unreadable:
                continue
        if not wanted:
            return read
        specs = self._ledger.look(*(get(self._spec_key(row, in_force)) for row, in_force in wanted))
        for (row, in_force), found in zip(wanted, specs, strict=True):
            read[row.key] = row.modified, _declared(in_force, found)
        return read

    def _spec_key(self, row: Found, in_force: InForce) -> str:
        return self._keys.key(SPECS, *self._keys.names(row.key), numbered(in_force.revision))


def read_records(rows: Sequence[Found]) -> Sequence[RevisionRecord]:
    return [row.value for row in read_all(RevisionRow, rows)]


def _declared(in_force: InForce, found: Sequence[Found]) -> Declared | None:
    try:
        return declaring.as_declared(in_force, read_packed(ClusterSpec, found[0].value)) if found else None
    except Unreadable:
        return None
