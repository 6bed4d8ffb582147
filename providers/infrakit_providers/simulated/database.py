"""The rows of the simulated cloud, in SQLite: several threads and processes may use them, each may be killed.

Everything that happens with time is written down as instants when its cause happens, and read by whoever looks
later, so no thread has to be alive for a machine to boot, to die or to be gone. What a process remembers of the
rows is stale once `others` says so.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Final

from infrakit_py.errors import ProviderError, Transient

VERSION: Final = 2
BUSY_TIMEOUT_MILLISECONDS: Final = 30_000
JOURNAL_ATTEMPTS: Final = 20

SCHEMA: Final = f"""
CREATE TABLE machines (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, token TEXT, parameters TEXT NOT NULL,
    cluster TEXT NOT NULL, grp TEXT NOT NULL, name TEXT NOT NULL, tags TEXT NOT NULL, type TEXT NOT NULL,
    zone TEXT NOT NULL, host TEXT NOT NULL, image TEXT NOT NULL, image_name TEXT NOT NULL, reference TEXT NOT NULL,
    disk TEXT, created_at REAL NOT NULL, listed_at REAL NOT NULL, boots_at REAL NOT NULL, dies_at REAL NOT NULL,
    gone_at REAL NOT NULL, delisted_at REAL NOT NULL, cause TEXT NOT NULL, sick_since REAL NOT NULL,
    flaps REAL NOT NULL, impaired TEXT NOT NULL, cut_short INTEGER NOT NULL, changed INTEGER NOT NULL);
CREATE INDEX changes ON machines (changed);
CREATE TABLE numbers (changed INTEGER NOT NULL, seq INTEGER NOT NULL);
CREATE TABLE disks (
    id TEXT PRIMARY KEY, cluster TEXT NOT NULL, grp TEXT NOT NULL, key TEXT NOT NULL, zone TEXT NOT NULL,
    size INTEGER NOT NULL, holder TEXT, UNIQUE (cluster, grp, key));
CREATE TABLE images (identity TEXT PRIMARY KEY, name TEXT NOT NULL, published_at REAL NOT NULL);
CREATE TABLE buckets (name TEXT PRIMARY KEY, level REAL NOT NULL, at REAL NOT NULL);
CREATE TABLE faults (call TEXT NOT NULL, error TEXT NOT NULL, times INTEGER NOT NULL);
CREATE TABLE calls (call TEXT PRIMARY KEY, made INTEGER NOT NULL);
CREATE TABLE conditions (
    kind TEXT, amount REAL NOT NULL, target TEXT, PRIMARY KEY (kind, target)) WITHOUT ROWID;
INSERT INTO numbers VALUES (0, 0);
PRAGMA user_version = {VERSION};
"""


class Database:
    """One connection, used by one thread at a time; other processes have theirs."""

    def __init__(self, path: Path | None) -> None:
        """Open or create the file; None means memory, which ends with this object."""
        self.shared = path is not None
        self.lock = RLock()
        self._name = str(path) if path else "memory"
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
            self._connection.execute("PRAGMA synchronous = NORMAL")
        self._begin_journal()
        with self.read() as rows:
            found = _version(rows)
        if found == 0:
            with self.write() as rows:
                if _version(rows) == 0:  # another process may have been quicker
                    for statement in _statements(SCHEMA):
                        rows.execute(statement)
        elif found != VERSION:
            raise ProviderError(
                f"simulated cloud {self._name}: written by another release (format {found}, not {VERSION})",
                hint="delete the file, and with it the simulated machines, or name another database",
            )

    def _begin_journal(self) -> None:
        """Let readers and a writer go on at once. SQLite does not wait for the lock that this takes, so wait here."""
        for attempt in range(JOURNAL_ATTEMPTS):
            with self._explained():
                try:
                    self._connection.execute("PRAGMA journal_mode = WAL")
                    return
                except sqlite3.OperationalError as exc:
                    if not _is_busy(exc) or attempt == JOURNAL_ATTEMPTS - 1:
                        raise
            with self.write():
                pass

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """See one moment of the cloud; within a change, that which it has made."""
        with self.lock:
            if self._connection.in_transaction:  # this thread's own, as it has the lock
                yield self._connection
            else:
                with self._transaction("BEGIN") as rows:
                    yield rows

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Change the cloud: all of it when the block ends, nothing if it raises or the process is killed."""
        with self._transaction("BEGIN IMMEDIATE") as rows:
            yield rows

    def others(self) -> int:
        """Return a number that is another one after any other connection has changed the cloud."""
        if not self.shared:
            return 0
        with self.lock, self._explained():
            (number,) = self._connection.execute("PRAGMA data_version").fetchone()
            return int(number)

    def close(self) -> None:
        with self.lock:
            self._connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self.lock, self._explained():
            try:
                self._connection.execute(begin)
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
            raise (Transient if _is_busy(exc) else ProviderError)(f"simulated cloud {self._name}: {exc}") from exc
        except (sqlite3.Error, OSError) as exc:
            raise ProviderError(f"simulated cloud {self._name}: {exc}") from exc


def _version(rows: sqlite3.Connection) -> int:
    (version,) = rows.execute("PRAGMA user_version").fetchone()
    return int(version)


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


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
