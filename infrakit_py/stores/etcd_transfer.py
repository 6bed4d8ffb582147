"""One cluster in etcd as one value, and back."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

from infrakit_py.model.revision import HistoryEntry
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.stores import declaring, past
from infrakit_py.stores.codec import Unreadable
from infrakit_py.stores.declaring import InForce
from infrakit_py.stores.etcd_entries import (
    Entry,
    healthy_entry,
    in_force_entry,
    intent_entry,
    last_line_entry,
    last_revision_entry,
    line_entry,
    pause_entry,
    revision_entry,
    spec_entry,
    version_entry,
)
from infrakit_py.stores.etcd_keys import HISTORY, IN_FORCE, LAST, OF_CLUSTER, REVISIONS, STANDINGS
from infrakit_py.stores.etcd_ledger import EtcdLedger, Rule, in_batches
from infrakit_py.stores.etcd_machines import read_healthy, read_intents
from infrakit_py.stores.etcd_past import read_pauses
from infrakit_py.stores.etcd_rows import InForceRow, RevisionRow, VersionRow, in_order, read_all, readable
from infrakit_py.stores.etcd_values import read_packed
from infrakit_py.stores.etcd_wire import Found, delete, put
from infrakit_py.stores.transfer import Exported, Numbered


class EtcdTransfer:
    """See `infrakit_py.stores.transfer.Transfer`."""

    def __init__(self, ledger: EtcdLedger) -> None:
        self._ledger = ledger
        self._keys = ledger.keys

    def clusters(self) -> Sequence[str]:
        prefixes = [self._keys.under(part) for part in (IN_FORCE, *OF_CLUSTER)]
        parts = self._ledger.all_under(*prefixes, keys_only=True)
        return sorted({self._keys.names(found.key)[0] for part in parts for found in part})

    def dump(self, cluster: str) -> Exported:
        key = self._keys.key(IN_FORCE, cluster)
        *parts, named_so = self._ledger.all_under(*(self._keys.under(part, cluster) for part in OF_CLUSTER), key)
        return self._exported([found for found in named_so if found.key == key], *parts)

    def restore(self, cluster: str, exported: Exported) -> None:
        wanted = dict(self._wanted(cluster, exported))
        prefixes = [self._keys.under(part, cluster) for part in (*OF_CLUSTER, STANDINGS)]
        there = [found.key for part in self._ledger.all_under(*prefixes, keys_only=True) for found in part]
        spare = [delete(key) for key in [*there, *self._singles(cluster)] if key not in wanted]
        batches = list(in_batches([*spare, *(put(key, content) for key, content in wanted.items())]))
        if len(batches) > 1:  # halfway through, nothing is in force: the specs are another sequence's
            batches.insert(0, [delete(self._keys.key(IN_FORCE, cluster)), put(self._keys.mark, b"")])
        for batch in batches:
            self._ledger.write((cluster,), (Rule(cluster),), partial(list, batch))

    def _exported(
        self,
        in_force: Sequence[Found],
        intents: Sequence[Found],
        revisions: Sequence[Found],
        specs: Sequence[Found],
        versions: Sequence[Found],
        history: Sequence[Found],
        pauses: Sequence[Found],
        healthy: Sequence[Found],
    ) -> Exported:
        numbers, unread = self._numbered(revisions, specs)
        stands = _standing(in_force, numbers)
        read = readable(in_order(versions))
        return Exported(
            intents=tuple(read_intents(self._keys, intents)),
            revisions=numbers,
            in_force=stands,
            versions=tuple(read),
            history=tuple(read_all(HistoryEntry, history)),
            pauses=read_pauses(self._keys, pauses),
            healthy_since=read_healthy(self._keys, healthy),
            left_out=unread + len(versions) - len(read) + bool(in_force and stands is None),
        )

    def _numbered(self, rows: Sequence[Found], specs: Sequence[Found]) -> tuple[tuple[Numbered, ...], int]:
        """Return the numbers with their specs, and how many specs cannot be read."""
        full: dict[int, ClusterSpec] = {}
        for found in specs:
            with suppress(Unreadable):
                full[int(self._keys.names(found.key)[-1])] = read_packed(ClusterSpec, found.value)
        records = [row.value for row in read_all(RevisionRow, rows)]
        numbers = tuple(Numbered(record, full.get(record.number)) for record in records)
        return numbers, len(specs) - len(full) + len(rows) - len(records)

    def _singles(self, cluster: str) -> Sequence[str]:
        """Return the keys of the cluster that lie under no name of its own."""
        last = [self._keys.key(LAST, part, cluster) for part in (REVISIONS, HISTORY)]
        return [*last, self._keys.key(IN_FORCE, cluster)]

    def _wanted(self, cluster: str, exported: Exported) -> Iterator[Entry]:
        """Yield what shall be there, what is in force last."""
        keys = self._keys
        yield from (intent_entry(keys, intent) for intent in exported.intents)
        yield from self._wanted_numbers(cluster, exported)
        for order, record in enumerate(exported.versions):
            version = record.version
            row = VersionRow.of(version, record.state, record.at, record.reason, order)
            yield version_entry(keys, cluster, version.group.name, version.fingerprint, row)
        lines = exported.history[-past.HISTORY_KEPT :]
        yield from (line_entry(keys, cluster, number, line) for number, line in enumerate(lines, 1))
        if lines:
            yield last_line_entry(keys, cluster, len(lines))
        yield from (pause_entry(keys, cluster, group, pause) for group, pause in exported.pauses.items())
        yield from (healthy_entry(keys, cluster, each, since) for each, since in exported.healthy_since.items())
        if exported.in_force is not None:
            yield in_force_entry(keys, cluster, exported.in_force)
        yield keys.mark, b""

    def _wanted_numbers(self, cluster: str, exported: Exported) -> Iterator[Entry]:
        in_force = exported.in_force.revision if exported.in_force is not None else 0
        full = [each.record.number for each in exported.revisions if each.spec is not None]
        in_full = {in_force, *full[-declaring.CONTENTS_KEPT :]}
        kept = {in_force, *(each.record.number for each in exported.revisions[-declaring.REVISIONS_KEPT :])}
        for each in exported.revisions:
            if each.record.number in kept:
                yield revision_entry(self._keys, cluster, each.record)
            if each.spec is not None and each.record.number in in_full & kept:
                yield spec_entry(self._keys, each.record.number, each.spec)
        if exported.revisions:
            yield last_revision_entry(self._keys, cluster, exported.revisions[-1].record)


def _standing(in_force: Sequence[Found], numbers: Sequence[Numbered]) -> InForce | None:
    """Return what is in force, where it can be read with its spec."""
    full = {each.record.number for each in numbers if each.spec is not None}
    values = [row.value for row in read_all(InForceRow, in_force)]
    return next((value for value in values if value.origin is not None and value.revision in full), None)
