"""What really happened at the provider, in order, whoever did it: written down by the simulated cloud's database."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from pathlib import Path
from typing import Final

from infrakit_providers.simulated.database import Database
from infrakit_py.model import tags

_NOW: Final = "(julianday('now') - 2440587.5) * 86400.0"
_SCHEMA: Final = f"""
CREATE TABLE ledger (
    number INTEGER PRIMARY KEY, at REAL NOT NULL, id TEXT NOT NULL, cluster TEXT NOT NULL, grp TEXT NOT NULL,
    name TEXT NOT NULL, image TEXT NOT NULL, tags TEXT NOT NULL, boots_at REAL NOT NULL, dies_at REAL NOT NULL,
    gone_at REAL NOT NULL);
CREATE TRIGGER kept AFTER INSERT ON machines BEGIN
    INSERT INTO ledger SELECT NULL, {_NOW}, NEW.id, NEW.cluster, NEW.grp, NEW.name, NEW.image_name, NEW.tags,
        NEW.boots_at, NEW.dies_at, NEW.gone_at;
END;
"""


class What(Enum):
    CREATED = auto()
    DESTROYED = auto()


@dataclass(frozen=True, slots=True)
class Change:
    """A machine that was made, or that was told to go. `number` is its place in the order of all."""

    number: int
    at: float
    what: What
    machine: str
    cluster: str
    group: str
    name: str


@dataclass(frozen=True, slots=True)
class Life:
    """A machine from its beginning to its end, in Unix time; `inf` for what has not come."""

    machine: str
    cluster: str
    group: str
    slot: str
    incarnation: str
    image: str
    created_at: float
    ready_at: float
    gone_at: float


@dataclass(frozen=True)
class Ledger:
    """Reads what was written down."""

    database: Path

    def changes(self) -> list[Change]:
        """Return all that was made and destroyed, in order."""
        found: list[Change] = []
        known: dict[str, bool] = {}
        for row in self._rows():
            number, at, machine, cluster, group, name = row[:6]
            leaving = row[10] < inf
            before = known.get(machine)
            if before is None:
                found.append(Change(number, at, What.CREATED, machine, cluster, group, name))
            if leaving and not before:
                found.append(Change(number, at, What.DESTROYED, machine, cluster, group, name))
            known[machine] = leaving
        return found

    def lives(self) -> list[Life]:
        """Return all machines that there ever were."""
        found: dict[str, Life] = {}
        for _, at, machine, cluster, group, _, image, written, boots_at, dies_at, gone_at in self._rows():
            known = found.get(machine)
            said = json.loads(written)
            created_at = known.created_at if known is not None else at
            slot, incarnation = said[tags.SLOT], said[tags.INCARNATION]
            end = min(gone_at, dies_at)
            found[machine] = Life(machine, cluster, group, slot, incarnation, image, created_at, boots_at, end)
        return list(found.values())

    def alive(self) -> list[Life]:
        """Return the machines that were not told to go."""
        return [life for life in self.lives() if life.gone_at == inf]

    def _rows(self) -> Sequence[tuple[int, float, str, str, str, str, str, str, float, float, float]]:
        with closing(sqlite3.connect(self.database, timeout=30.0)) as connection:
            return connection.execute("SELECT * FROM ledger ORDER BY number").fetchall()


def written_down(database: Path) -> Ledger:
    """Make an empty cloud that writes down what happens in it."""
    Database(database).close()
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(_SCHEMA)
    return Ledger(database)
