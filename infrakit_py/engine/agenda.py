"""When each group is to be looked at next: the earliest first, those due at once in the order of the cluster."""

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final

_STALE_PER_GROUP: Final = 4
"""Entries that no longer count are passed over when their time comes; before they are that many, they are dropped."""


class Agenda:
    """One instant for each name at most. What it costs to change one hardly grows with how many there are."""

    def __init__(self, names: Iterable[str]) -> None:
        """Begin with all of them due."""
        self._order = {name: number for number, name in enumerate(names)}
        self._due = dict.fromkeys(self._order, -inf)
        self._heap = self._entries()

    def put(self, name: str, due: float) -> None:
        """Plan a name for an instant, in place of the one it was planned for. Infinity: for none."""
        if self._due.get(name) == due:
            return
        if due == inf:
            self._due.pop(name, None)
            return
        self._due[name] = due
        heappush(self._heap, (due, self._order[name], name))
        if len(self._heap) > _STALE_PER_GROUP * (len(self._order) + 1):
            self._heap = self._entries()

    def take(self, now: float) -> Sequence[tuple[str, float]]:
        """Remove what is due, and return it with the instants that it was planned for."""
        taken: list[tuple[str, float]] = []
        while self.next() <= now:
            due, _, name = heappop(self._heap)
            del self._due[name]
            taken.append((name, due))
        return taken

    def next(self) -> float:
        """Return the earliest instant, or infinity."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else inf

    def _entries(self) -> list[tuple[float, int, str]]:
        entries = [(due, self._order[name], name) for name, due in self._due.items()]
        heapify(entries)
        return entries
