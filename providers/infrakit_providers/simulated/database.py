"""The rows of the simulated cloud, in SQLite: several threads and processes may use them, each may be killed.

Everything that happens with time is written down as instants when its cause happens, and read by whoever looks
later, so no thread has to be alive for a machine to boot, to die or to be gone.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Final

from infrakit_py.errors import ProviderError, Transient

VERSION: Final = 1
BUSY_TIMEOUT_MILLISECONDS: Final = 30_000

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS machines (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, token TEXT, parameters TEXT NOT NULL,
    cluster TEXT NOT NULL, grp TEXT NOT NULL, name TEXT NOT NULL, tags TEXT NOT NULL, type TEXT NOT NULL,
    zone TEXT NOT NULL, image TEXT NOT NULL, reference TEXT NOT NULL, disk TEXT, created_at REAL NOT NULL,
    listed_at REAL NOT NULL, boots_at REAL NOT NULL, dies_at REAL NOT NULL, gone_at REAL NOT NULL,
    delisted_at REAL NOT NULL, cause TEXT NOT NULL, sick INTEGER NOT NULL, cut_short INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS listed ON machines (cluster, delisted_at);
CREATE INDEX IF NOT EXISTS leaving ON machines (gone_at) WHERE gone_at < 9e999;
CREATE TABLE IF NOT EXISTS tally (
    cluster TEXT, grp TEXT, zone TEXT, type TEXT, image TEXT, alive INTEGER NOT NULL,
    PRIMARY KEY (cluster, grp, zone, type, image)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS disks (
    id TEXT PRIMARY KEY, cluster TEXT NOT NULL, grp TEXT NOT NULL, key TEXT NOT NULL, zone TEXT NOT NULL,
    size INTEGER NOT NULL, holder TEXT, UNIQUE (cluster, grp, key));
CREATE TABLE IF NOT EXISTS images (identity TEXT PRIMARY KEY, name TEXT NOT NULL, published_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, level REAL NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS faults (call TEXT NOT NULL, error TEXT NOT NULL, times INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS calls (call TEXT PRIMARY KEY, made INTEGER NOT NULL);
"""


class Database:
    """One connection, used by one thread at a time; other processes have theirs."""

    def __init__(self, path: Path | None) -> None:
        """Open or create the file; None means memory, which ends with this object."""
        self._name = str(path) if path else "memory"
        self._lock = RLock()
        with self._explained():
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                str(path or ":memory:"),
                timeout=BUSY_TIMEOUT_MILLISECONDS / 1000,
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        with self._explained():
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
        with self.read() as rows:
            (found,) = rows.execute("PRAGMA user_version").fetchone()
        if found == 0:
            with self.write() as rows:
                for statement in _statements(SCHEMA):
                    rows.execute(statement)
                rows.execute(f"PRAGMA user_version = {VERSION}")
        elif found != VERSION:
            raise ProviderError(
                f"simulated cloud {self._name}: written by another release (format {found}, not {VERSION})",
                hint="delete the file, and with it the simulated machines, or name another database",
            )

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """See one moment of the cloud."""
        with self._transaction("BEGIN") as rows:
            yield rows

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Change the cloud: all of it when the block ends, nothing if it raises or the process is killed."""
        with self._transaction("BEGIN IMMEDIATE") as rows:
            yield rows

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock, self._explained():
            self._connection.execute(begin)
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as exc:
            busy = getattr(exc, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
            raise (Transient if busy else ProviderError)(f"simulated cloud {self._name}: {exc}") from exc
        except (sqlite3.Error, OSError) as exc:
            raise ProviderError(f"simulated cloud {self._name}: {exc}") from exc


def _statements(script: str) -> Iterator[str]:
    """Split a script, because `executescript` would commit the transaction that it runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def as_list(values: Iterable[object]) -> str:
    """Write values for `IN (SELECT value FROM json_each(?))`, which knows no limit on their number."""
    return json.dumps(list(values))
