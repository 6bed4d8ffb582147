"""Keeps the fleet in step with the rows: reads what other processes changed, writes what this one changes."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from sqlite3 import Connection
from typing import Final

from infrakit_providers.simulated.database import Database
from infrakit_providers.simulated.fleet import Fleet
from infrakit_providers.simulated.machines import Row
from infrakit_py.spi.provider import Now


class Changes:
    """What one transaction does to machines. It sees that at once, everybody else when all of it is done."""

    def __init__(self, rows: Connection, fleet: Fleet, now: float, last_seq: int) -> None:
        self.rows = rows
        self.fleet = fleet
        self.now = now
        self.made: dict[str, Row] = {}
        self.last_seq = last_seq
        self._tokens: dict[str, str] = {}

    def find(self, machine_id: str) -> Row | None:
        return self.made.get(machine_id) or self.fleet.find(machine_id)

    def of_token(self, token: str) -> Row | None:
        """Return the machine that a token stands for."""
        made = self._tokens.get(token)
        return self.made[made] if made is not None else self.fleet.of_token(token)

    def number(self) -> int:
        """Return the number of the next machine. None comes twice."""
        self.last_seq += 1
        return self.last_seq

    def put(self, row: Row) -> None:
        """Make a machine, or change one."""
        self.made[row.id] = row
        if row.token is not None:
            self._tokens[row.token] = row.id


class Registry:
    """The machines of a cloud. Use it from any thread."""

    def __init__(self, database: Database, clock: Now) -> None:
        self._database = database
        self._clock = clock
        self._fleet = Fleet()
        self._change = 0
        self._last_seq = 0
        self._in_step_with: int | None = None

    @contextmanager
    def look(self) -> Iterator[tuple[Fleet, float]]:
        """See the machines as they are now, and when that is; they hold still meanwhile."""
        with self._database.lock:
            now = self._clock.now()
            self._fleet.pass_time(now)
            others = self._database.others()
            if others != self._in_step_with:
                with self._database.read() as rows:
                    self._catch_up(rows)
                self._fleet.pass_time(now)
                self._in_step_with = others
            yield self._fleet, now

    @contextmanager
    def change(self) -> Iterator[Changes]:
        """Change machines: all that the block does when it ends, nothing if it raises or the process is killed."""
        with self._database.lock:
            with self._database.write() as rows, self.look() as (fleet, now):
                changes = Changes(rows, fleet, now, self._last_seq)
                yield changes
                forgotten = fleet.forgettable(now)
                if self._database.shared:  # nobody else could read it
                    _store(rows, changes, forgotten, self._change + 1)
                in_step_with, self._in_step_with = self._in_step_with, None  # so, if interrupted, it is read again
            self._last_seq = changes.last_seq
            fleet.forget(forgotten)
            fleet.learn(changes.made.values())
            self._change, self._in_step_with = self._change + 1, in_step_with

    def _catch_up(self, rows: Connection) -> None:
        found = rows.execute("SELECT * FROM machines WHERE changed > ? ORDER BY seq", (self._change,)).fetchall()
        self._fleet.learn(_read(row) for row in found)
        self._change, last_seq = rows.execute("SELECT changed, seq FROM numbers").fetchone()
        self._last_seq = max(self._last_seq, last_seq)


_TAGS: Final = Row._fields.index("tags")
_INSERT: Final = f"INTO machines VALUES ({', '.join('?' * (len(Row._fields) + 1))})"


def _read(stored: tuple[object, ...]) -> Row:
    fields = list(stored[:-1])
    fields[_TAGS] = json.loads(str(fields[_TAGS]))
    return Row._make(fields)


def _store(rows: Connection, changes: Changes, forgotten: Iterable[Row], change: int) -> None:
    rows.executemany("DELETE FROM machines WHERE seq = ?", [(row.seq,) for row in forgotten])
    new: list[tuple[object, ...]] = []
    changed: list[tuple[object, ...]] = []
    for row in changes.made.values():
        known = changes.fleet.find(row.id)
        stored = (*row[:_TAGS], json.dumps(dict(row.tags)), *row[_TAGS + 1 :], change)
        (changed if known and known.seq == row.seq else new).append(stored)
    rows.executemany(f"INSERT {_INSERT}", new)
    rows.executemany(f"REPLACE {_INSERT}", changed)
    rows.execute("UPDATE numbers SET changed = ?, seq = ?", (change, changes.last_seq))
