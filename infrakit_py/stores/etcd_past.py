"""What became of versions, and what a person paused, in etcd."""

from collections.abc import Mapping, Sequence

from infrakit_py.model.revision import GroupVersion, HistoryEntry, VersionRecord, VersionState
from infrakit_py.spi.store import Pause
from infrakit_py.stores import past
from infrakit_py.stores.etcd_entries import last_line_entry, line_entry, pause_entry, version_entry
from infrakit_py.stores.etcd_keys import HISTORY, LAST, PAUSES, VERSIONS, Keys, numbered
from infrakit_py.stores.etcd_ledger import EtcdLedger, Rule
from infrakit_py.stores.etcd_rows import VersionRow, in_order, read_all, readable
from infrakit_py.stores.etcd_values import required
from infrakit_py.stores.etcd_wire import Found, Op, delete, delete_between, get, put


class EtcdPast:
    """See `infrakit_py.spi.store.Store`. A person's word counts from anywhere."""

    def __init__(self, ledger: EtcdLedger) -> None:
        self._ledger = ledger
        self._keys = ledger.keys

    def note_version(self, cluster: str, version: GroupVersion, state: VersionState, now: float, reason: str) -> None:
        key = self._keys.key(VERSIONS, cluster, version.group.name, version.fingerprint)

        def change() -> Sequence[Op] | None:
            rows = self._versions(cluster, version.group.name)
            if any(found.key == key and (row.state, row.reason) == (state.value, reason) for found, row in rows):
                return None
            alike = [found.key for found, row in rows if found.key != key and _is_alike(row, state)]
            row = VersionRow.of(version, state, now, reason)
            return [
                put(*version_entry(self._keys, cluster, version.group.name, version.fingerprint, row)),
                *(delete(old) for old in [*alike, key][: -past.kept(state)]),
                *self._entered(cluster, past.version_entry(version, state.value, now, reason)),
            ]

        self._ledger.write((cluster,), (Rule(cluster, anyone=state is VersionState.UNDONE),), change)

    def versions(self, cluster: str, group: str) -> Sequence[VersionRecord]:
        return readable(self._versions(cluster, group))

    def forget_version(self, cluster: str, group: str, fingerprint: str, now: float, reason: str) -> None:
        key = self._keys.key(VERSIONS, cluster, group, fingerprint)

        def change() -> Sequence[Op] | None:
            (found,) = self._ledger.look(get(key))
            if not found:
                return None
            row = required(VersionRow, found[0])
            entry = HistoryEntry(
                now, group, past.RETRIED, row.revision, row.image, row.image_identity, fingerprint, reason
            )
            return [delete(key), *self._entered(cluster, entry)]

        self._ledger.write((cluster,), (Rule(cluster, anyone=True),), change)

    def history(self, cluster: str, group: str | None = None) -> Sequence[HistoryEntry]:
        (rows,) = self._ledger.all_under(self._keys.under(HISTORY, cluster))
        return [entry for entry in read_all(HistoryEntry, rows) if group in (None, entry.group)]

    def pause(self, cluster: str, group: str, pause: Pause | None) -> None:
        key = self._keys.key(PAUSES, cluster, group)

        def change() -> Sequence[Op] | None:
            (found,) = self._ledger.look(get(key))
            before = required(Pause, found[0]) if found else None
            entry = past.pause_entry(group, before, pause, self._ledger.clock.now())
            if entry is None:
                return None
            if pause is None:
                return [delete(key), *self._entered(cluster, entry)]
            return [put(*pause_entry(self._keys, cluster, group, pause)), *self._entered(cluster, entry)]

        self._ledger.write((cluster,), (Rule(cluster, anyone=True),), change)

    def pauses(self, cluster: str) -> Mapping[str, Pause]:
        (rows,) = self._ledger.all_under(self._keys.under(PAUSES, cluster))
        return read_pauses(self._keys, rows)

    def _versions(self, cluster: str, group: str) -> Sequence[tuple[Found, VersionRow]]:
        (rows,) = self._ledger.all_under(self._keys.under(VERSIONS, cluster, group))
        return in_order(rows)

    def _entered(self, cluster: str, entry: HistoryEntry) -> Sequence[Op]:
        """Add a line, and drop those that are too many. Called while it is this writer's turn."""
        (found,) = self._ledger.look(get(self._keys.key(LAST, HISTORY, cluster)))
        number = int(found[0].value) + 1 if found else 1
        first, end = numbered(0), numbered(max(number - past.HISTORY_KEPT + 1, 0))
        return [
            put(*line_entry(self._keys, cluster, number, entry)),
            put(*last_line_entry(self._keys, cluster, number)),
            delete_between(self._keys.key(HISTORY, cluster, first), self._keys.key(HISTORY, cluster, end)),
        ]


def read_pauses(keys: Keys, rows: Sequence[Found]) -> Mapping[str, Pause]:
    return {keys.names(row.key)[-1]: required(Pause, row) for row in rows}


def _is_alike(row: VersionRow, state: VersionState) -> bool:
    """Tell whether versions in these states are kept beside one another. One of a newer release is not good."""
    return (row.state == VersionState.GOOD.value) == (state is VersionState.GOOD)
