"""What is remembered of machines in etcd: creations under way, and since when which ones are healthy."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

from infrakit_py.model.instance import InstanceId
from infrakit_py.spi.store import Intent
from infrakit_py.stores.etcd_entries import healthy_entry, intent_entry
from infrakit_py.stores.etcd_keys import HEALTHY, INTENTS, Keys
from infrakit_py.stores.etcd_ledger import OPS_AT_ONCE, EtcdLedger, Rule, in_batches
from infrakit_py.stores.etcd_rows import IntentRow
from infrakit_py.stores.etcd_values import required
from infrakit_py.stores.etcd_wire import Found, Op, delete, get, put


class EtcdMachines:
    """See `infrakit_py.spi.store.Store`. Only the owner of a cluster writes, where it has one."""

    def __init__(self, ledger: EtcdLedger) -> None:
        self._ledger = ledger
        self._keys = ledger.keys

    def record(self, intents: Sequence[Intent]) -> None:
        for cluster, placed in self._placed(intents).items():
            self._write(cluster, [put(*intent_entry(self._keys, intent)) for intent in placed.values()])

    def intents(self, cluster: str, group: str | None = None) -> Sequence[Intent]:
        names = (cluster,) if group is None else (cluster, group)
        (rows,) = self._ledger.all_under(self._keys.under(INTENTS, *names))
        return read_intents(self._keys, rows)

    def forget(self, intents: Sequence[Intent]) -> None:
        for cluster, placed in self._placed(intents).items():
            several = list(placed.items())
            for first in range(0, len(several), OPS_AT_ONCE):
                change = partial(self._forgetting, several[first : first + OPS_AT_ONCE])
                self._ledger.write((cluster,), (Rule(cluster),), change)

    def note_healthy(self, cluster: str, since: Mapping[InstanceId, float | None]) -> None:
        self._write(cluster, [self._healthy(cluster, instance, at) for instance, at in since.items()])

    def healthy_since(self, cluster: str) -> Mapping[InstanceId, float]:
        (rows,) = self._ledger.all_under(self._keys.under(HEALTHY, cluster))
        return read_healthy(self._keys, rows)

    def _write(self, cluster: str, ops: Sequence[Op]) -> None:
        for batch in in_batches(ops):
            self._ledger.write((cluster,), (Rule(cluster),), partial(list, batch))

    def _placed(self, intents: Sequence[Intent]) -> Mapping[str, Mapping[str, Intent]]:
        """Return the intents of each cluster by their keys; of two in one place the last one counts."""
        placed: defaultdict[str, dict[str, Intent]] = defaultdict(dict)
        for intent in intents:
            placed[intent.cluster][intent_entry(self._keys, intent)[0]] = intent
        return placed

    def _forgetting(self, placed: Sequence[tuple[str, Intent]]) -> Sequence[Op] | None:
        there = self._ledger.look(*(get(key) for key, _ in placed))
        gone = [
            key
            for (key, intent), found in zip(placed, there, strict=True)
            if read_intents(self._keys, found) == [intent]
        ]
        return [delete(key) for key in gone] or None

    def _healthy(self, cluster: str, instance: InstanceId, at: float | None) -> Op:
        if at is None:
            return delete(self._keys.key(HEALTHY, cluster, instance))
        return put(*healthy_entry(self._keys, cluster, instance, at))


def read_intents(keys: Keys, rows: Sequence[Found]) -> Sequence[Intent]:
    """Return the intents, each with the names of its place. StoreError where one cannot be read."""
    return [required(IntentRow, row).at(*keys.names(row.key)) for row in rows]


def read_healthy(keys: Keys, rows: Sequence[Found]) -> Mapping[InstanceId, float]:
    return {InstanceId(keys.names(row.key)[-1]): float(row.value) for row in rows}
