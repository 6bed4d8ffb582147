"""The default store: one SQLite file a user, and one lock file a cluster. It may be deleted at any time.

A lock is the kernel's (flock), so it ends with its process; a stale file never keeps anybody out.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, replace
from pathlib import Path
from threading import Lock
from typing import Final

from infrakit_py.errors import ClusterLocked, StoreError
from infrakit_py.spi.store import Intent

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS intent (
    cluster TEXT NOT NULL, group_name TEXT NOT NULL, provider TEXT NOT NULL, slot TEXT NOT NULL,
    incarnation INTEGER NOT NULL, logical_id TEXT, fingerprint TEXT NOT NULL, since REAL NOT NULL, instance_id TEXT,
    gone INTEGER NOT NULL,
    PRIMARY KEY (cluster, group_name, provider, slot)
) STRICT;
CREATE TABLE IF NOT EXISTS revision (
    cluster TEXT NOT NULL, number INTEGER NOT NULL, spec_digest TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (cluster, number)
) STRICT;
"""
_COLUMNS: Final = (
    "cluster, group_name, provider, slot, incarnation, logical_id, fingerprint, since, instance_id, gone"
)
_FILE: Final = "state.db"
_BUSY_SECONDS: Final = 10.0
_HINT: Final = "set INFRAKIT_STATE_DIR to a directory of your own; a damaged state.db may simply be deleted"


def state_directory(environment: Mapping[str, str]) -> Path:
    """Return where state lives: $INFRAKIT_STATE_DIR, else below $XDG_STATE_HOME, else ~/.local/state."""
    if own := environment.get("INFRAKIT_STATE_DIR"):
        return Path(own)
    base = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "infrakit-py"


def read_intents(directory: Path, cluster: str) -> Sequence[Intent]:
    """Return a cluster's intents and write nothing: the directory need be neither there nor writable."""
    file = directory / _FILE
    try:
        if not file.exists():
            return []
        # Without a write-ahead log the file is all there is, and SQLite need not begin one to read it.
        mode = "mode=ro" if Path(f"{file}-wal").exists() else "immutable=1"
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?{mode}", timeout=_BUSY_SECONDS, uri=True)) as db:
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'intent'").fetchone() is None:
                return []
            return _intents(db, cluster)
    except (OSError, sqlite3.Error) as exc:
        raise StoreError(f"cannot read {file}: {exc}", hint=_HINT) from exc


class SqliteStore:
    """See `infrakit_py.spi.store.Store`. Safe for several processes: WAL, one transaction a call."""

    def __init__(self, directory: Path) -> None:
        """Open or make `directory`/state.db. StoreError where that cannot be done."""
        self._directory = directory
        self._lock = Lock()
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(
                directory / _FILE, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as exc:
            raise StoreError(f"cannot use {directory}/state.db: {exc}", hint=_HINT) from exc

    def close(self) -> None:
        self._db.close()

    def record(self, intents: Sequence[Intent]) -> None:
        rows = [astuple(intent) for intent in intents]
        with self._transaction() as db:
            db.executemany(f"INSERT OR REPLACE INTO intent ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", rows)

    def intents(self, cluster: str) -> Sequence[Intent]:
        with self._transaction() as db:
            return _intents(db, cluster)

    def forget(self, intents: Sequence[Intent]) -> None:
        rows = [(i.cluster, i.group, i.provider, i.slot, i.incarnation, i.since) for i in intents]
        with self._transaction() as db:
            db.executemany(
                "DELETE FROM intent WHERE cluster=? AND group_name=? AND provider=? AND slot=?"
                " AND incarnation=? AND since=?",
                rows,
            )

    def revision(self, cluster: str, spec_digest: str, now: float) -> int:
        with self._transaction() as db:
            row = db.execute(
                "SELECT number, spec_digest FROM revision WHERE cluster = ? ORDER BY number DESC LIMIT 1", (cluster,)
            ).fetchone()
            if row is not None and row[1] == spec_digest:
                return int(row[0])
            number = int(row[0]) + 1 if row is not None else 1
            db.execute("INSERT INTO revision VALUES (?,?,?,?)", (cluster, number, spec_digest, now))
            return number

    @contextmanager
    def exclusive(self, cluster: str) -> Iterator[None]:
        path = self._directory / f"{cluster}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StoreError(f"cannot use {path}: {exc}") from exc
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise ClusterLocked(
                    f"cluster {cluster} is being changed by another process (pid {holder})",
                    hint="wait for it to end; nothing was touched",
                ) from exc
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            except sqlite3.Error as exc:
                raise StoreError(f"{self._directory}/state.db: {exc}") from exc


def _intents(db: sqlite3.Connection, cluster: str) -> Sequence[Intent]:
    rows = db.execute(f"SELECT {_COLUMNS} FROM intent WHERE cluster = ?", (cluster,)).fetchall()
    return [replace(Intent(*row), gone=bool(row[-1])) for row in rows]
