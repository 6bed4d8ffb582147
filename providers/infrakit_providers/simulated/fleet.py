"""What one process remembers of the machines, so that nobody reads or builds twice what has not changed.

The rows are the truth; this is told of every change of theirs, in whichever process it was made, and works out what
time does by itself. It knows neither the database nor why anything changes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from infrakit_providers.simulated.machines import NEVER, Machine, Row, is_sick, life
from infrakit_providers.simulated.placement import Occupied

TOKEN_MEMORY_SECONDS: Final = 7 * 86_400.0
"""How long the token of a machine that is not listed any more still stands for it: longer than anybody asks."""
_CLEANING_SECONDS: Final = 3600.0


class _Kind(NamedTuple):
    """What machines that take up room are counted by."""

    cluster: str
    group: str
    zone: str
    type: str
    image: str
    leaving: bool


class _Known:
    """A machine that is not delisted yet: what it was last seen as holds from `since` until just before `until`."""

    __slots__ = ("counted", "machine", "row", "since", "until")

    def __init__(self, row: Row) -> None:
        self.counted: _Kind | None = None
        self.show(row)

    def show(self, row: Row) -> None:
        self.row = row
        self.machine: Machine | None = None
        self.since, self.until = NEVER, -NEVER

    def at(self, now: float) -> Machine:
        if self.machine is None or not self.since <= now < self.until:
            state, self.since, self.until = life(self.row, now)
            if self.row.flaps:
                self.until = now
            self.machine = Machine(self.row, state, is_sick(self.row, now))
        return self.machine


class Fleet:
    """All machines that the cloud remembers. The same Machine is given again until something about it changes."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._by_token: dict[str, str] = {}
        self._there: dict[str, _Known] = {}  # in order of creation, as are those of a cluster
        self._of_cluster: dict[str, dict[str, _Known]] = {}
        self._taken: Counter[_Kind] = Counter()
        self._ends: list[tuple[float, str]] = []
        self._clean_at = -NEVER

    def find(self, machine_id: str) -> Row | None:
        return self._rows.get(machine_id)

    def of_token(self, token: str) -> Row | None:
        """Return the machine that a token stands for."""
        machine_id = self._by_token.get(token)
        return self._rows[machine_id] if machine_id is not None else None

    def see(self, machine_id: str, now: float) -> Machine | None:
        """Return a machine that is there, however new, or is still listed as gone."""
        known = self._there.get(machine_id)
        return known.at(now) if known else None

    def everything(self, now: float) -> list[Machine]:
        return [known.at(now) for known in self._there.values()]

    def listed(self, now: float, cluster: str | None) -> list[Machine]:
        """Return what a listing shows of a cluster, or of all."""
        known = self._there if cluster is None else self._of_cluster.get(cluster, {})
        return [one.at(now) for one in known.values() if one.row.listed_at <= now]

    def occupied(self) -> Iterator[Occupied]:
        """Return all that takes up room: machines, and those on their way out."""
        for kind, number in self._taken.items():
            yield Occupied(kind.cluster, kind.group, kind.zone, kind.type, number, kind.leaving)

    def images_used(self, *, but_by: str | None = None) -> frozenset[str]:
        """Return the images of all machines that are not gone, or of those outside a cluster."""
        return frozenset(kind.image for kind in self._taken if but_by is None or kind.cluster != but_by)

    def learn(self, rows: Iterable[Row]) -> None:
        """Take note of new and of changed machines. The new ones come in order of creation."""
        for row in rows:
            self._rows[row.id] = row
            if row.token is not None:
                self._by_token[row.token] = row.id
            known = self._there.get(row.id)
            if known is None:
                known = self._there[row.id] = self._of_cluster.setdefault(row.cluster, {})[row.id] = _Known(row)
            else:
                if row.cluster != known.row.cluster:
                    self._move(known, row.cluster)
                known.show(row)
            leaving = row.gone_at < NEVER
            if leaving:
                heappush(self._ends, (row.gone_at, row.id))
            kind = _Kind(row.cluster, row.grp, row.zone, row.type, row.image, leaving)
            self._count(known, kind)

    def pass_time(self, now: float) -> None:
        """Take note of what is gone or delisted by now."""
        while self._ends and self._ends[0][0] <= now:
            _, machine_id = heappop(self._ends)
            known = self._there.get(machine_id)
            if known is None:
                continue
            self._count(known, None)
            if known.row.delisted_at > now:
                heappush(self._ends, (known.row.delisted_at, machine_id))
            else:
                del self._there[machine_id], self._of_cluster[known.row.cluster][machine_id]

    def forgettable(self, now: float) -> list[Row]:
        """Return, once in a while, the machines that were delisted so long ago that nobody asks for them."""
        if now < self._clean_at:
            return []
        self._clean_at = now + _CLEANING_SECONDS
        return [row for row in self._rows.values() if row.delisted_at <= now - TOKEN_MEMORY_SECONDS]

    def forget(self, rows: Iterable[Row]) -> None:
        for row in rows:
            del self._rows[row.id]
            if row.token is not None and self._by_token.get(row.token) == row.id:
                del self._by_token[row.token]

    def _count(self, known: _Known, kind: _Kind | None) -> None:
        if kind == known.counted:
            return
        if known.counted:
            self._taken[known.counted] -= 1
            if not self._taken[known.counted]:
                del self._taken[known.counted]
        if kind:
            self._taken[kind] += 1
        known.counted = kind

    def _move(self, known: _Known, cluster: str) -> None:
        del self._of_cluster[known.row.cluster][known.row.id]
        others = self._of_cluster.get(cluster, {}) | {known.row.id: known}
        self._of_cluster[cluster] = dict(sorted(others.items(), key=lambda item: item[1].row.seq))
