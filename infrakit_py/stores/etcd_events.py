"""What is told about in etcd: where sources and groups stand, and what happened."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Final

from infrakit_py.model.declared import Occurrence, SourceStatus
from infrakit_py.spi.claims import SOURCE_READER
from infrakit_py.stores import etcd_wire, past
from infrakit_py.stores.codec import Unreadable
from infrakit_py.stores.etcd_keys import EVENTS, HIGHEST, LAST, SOURCES, STANDINGS, numbered
from infrakit_py.stores.etcd_ledger import OPS_AT_ONCE, EtcdLedger, Rule, in_batches
from infrakit_py.stores.etcd_values import packed, packed_value, read_packed, unpacked
from infrakit_py.stores.etcd_wire import Found, Op, delete, delete_between, get, get_between, put

_NOBODY_S: Final = ""
"""In place of a cluster's name: turns that belong to no cluster."""
_PAGE: Final = 500


class EtcdEvents:
    """See `infrakit_py.spi.store.Store`. Standings are written by the owner of a cluster, all else from anywhere."""

    def __init__(self, ledger: EtcdLedger) -> None:
        self._ledger = ledger
        self._keys = ledger.keys

    def note_source(self, status: SourceStatus) -> None:
        content = packed_value(status, f"where source {status.name} stands")
        key = self._keys.key(SOURCES, status.name)
        reader = (Rule(SOURCE_READER, anyone=True),)
        self._ledger.write((_NOBODY_S, SOURCES), reader, lambda: [put(key, content)])

    def sources(self) -> Mapping[str, SourceStatus]:
        (rows,) = self._ledger.all_under(self._keys.under(SOURCES))
        statuses: dict[str, SourceStatus] = {}
        for row in rows:
            with suppress(Unreadable):  # of a newer release: it is read and noted again
                statuses[self._keys.names(row.key)[-1]] = read_packed(SourceStatus, row.value)
        return statuses

    def note_standings(self, cluster: str, standings: Mapping[str, str]) -> None:
        ops = [self._standing(cluster, group, text) for group, text in standings.items()]
        for batch in in_batches(ops):  # they are large, so they make nothing else of the cluster wait
            self._ledger.write((cluster, STANDINGS), (Rule(cluster),), partial(list, batch))

    def standings(self, cluster: str) -> Mapping[str, str]:
        (rows,) = self._ledger.all_under(self._keys.under(STANDINGS, cluster))
        return {self._keys.names(row.key)[-1]: unpacked(row.value) for row in rows}

    def note_occurrences(self, occurrences: Sequence[Occurrence]) -> None:
        contents = [packed_value(occurrence, "what happened") for occurrence in occurrences]
        for first in range(0, len(contents), OPS_AT_ONCE):
            change = partial(self._entering, contents[first : first + OPS_AT_ONCE])
            self._ledger.write((_NOBODY_S, EVENTS), (), change)

    def occurrences(
        self, after: int = 0, *, cluster: str | None = None, limit: int = 1000
    ) -> Sequence[tuple[int, Occurrence]]:
        if limit <= 0:
            return []
        found = self._backwards() if after < 0 else self._forwards(after)
        wanted = list(islice((each for each in found if cluster in (None, each[1].cluster)), limit))
        return wanted[::-1] if after < 0 else wanted

    def _standing(self, cluster: str, group: str, text: str) -> Op:
        key = self._keys.key(STANDINGS, cluster, group)
        return put(key, packed(text, f"where group {group} stands")) if text else delete(key)

    def _entering(self, contents: Sequence[bytes]) -> Sequence[Op]:
        """Number what happened, and drop what is too much. Called while it is this writer's turn."""
        last = self._last()
        ops = [put(self._key(number), content) for number, content in enumerate(contents, last + 1)]
        last += len(contents)
        end = max(last - past.OCCURRENCES_KEPT + 1, 0)
        return [
            *ops,
            put(self._keys.key(LAST, EVENTS), str(last).encode()),
            delete_between(self._key(0), self._key(end)),
        ]

    def _forwards(self, number: int) -> Iterator[tuple[int, Occurrence]]:
        """Yield what happened after a number, a page at a time."""
        end = etcd_wire.after(self._keys.under(EVENTS))
        while number < HIGHEST:
            (rows,) = self._ledger.look(get_between(self._key(number + 1), end, limit=_PAGE))
            yield from self._read(rows)
            if len(rows) < _PAGE:
                return
            number = self._number(rows[-1])

    def _backwards(self) -> Iterator[tuple[int, Occurrence]]:
        """Yield what happened, the latest first."""
        end = self._last() + 1
        while end > 1:
            first = max(end - _PAGE, 1)
            (rows,) = self._ledger.look(get_between(self._key(first), self._key(end)))
            if not rows:
                return
            yield from reversed(list(self._read(rows)))
            end = first

    def _last(self) -> int:
        (found,) = self._ledger.look(get(self._keys.key(LAST, EVENTS)))
        return int(found[0].value) if found else 0

    def _read(self, rows: Sequence[Found]) -> Iterator[tuple[int, Occurrence]]:
        for row in rows:
            with suppress(Unreadable):  # of a newer release
                yield self._number(row), read_packed(Occurrence, row.value)

    def _key(self, number: int) -> str:
        return self._keys.key(EVENTS, numbered(number))

    def _number(self, row: Found) -> int:
        return int(self._keys.names(row.key)[-1])
