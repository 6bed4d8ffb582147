"""How many machines of each kind nobody has begun to destroy, and what takes up room besides.

Kept as numbers, because counting 100,000 rows for each batch would be the slowest part of all. Whoever inserts,
destroys or renames a machine tells the tally in the same transaction.
"""

from collections.abc import Iterator, Mapping
from sqlite3 import Connection
from typing import NamedTuple

from infrakit_providers.simulated.machines import Row
from infrakit_providers.simulated.placement import Occupied


class Kind(NamedTuple):
    """What machines are counted by."""

    cluster: str
    group: str
    zone: str
    type: str
    image: str


def kind_of(row: Row) -> Kind:
    return Kind(row.cluster, row.grp, row.zone, row.type, row.image)


def add(rows: Connection, changes: Mapping[Kind, int]) -> None:
    """Add to the numbers of machines, or take away."""
    query = "INSERT INTO tally VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET alive = alive + excluded.alive"
    rows.executemany(query, [(*kind, change) for kind, change in changes.items()])


def occupied(rows: Connection, now: float) -> Iterator[Occupied]:
    """Return all that takes up room: machines, and those on their way out."""
    alive = rows.execute("SELECT cluster, grp, zone, type, alive FROM tally WHERE alive > 0")
    for cluster, group, zone, type_, number in alive:
        yield Occupied(cluster, group, zone, type_, number)
    leaving = rows.execute(
        """SELECT cluster, grp, zone, type, COUNT(*) FROM machines WHERE gone_at < 9e999 AND gone_at > ?
        GROUP BY cluster, grp, zone, type""",
        (now,),
    )
    for cluster, group, zone, type_, number in leaving:
        yield Occupied(cluster, group, zone, type_, number, leaving=True)
