"""The default store: one SQLite file a user, and one lock file a cluster. It may be deleted at any time.

A lock is the kernel's (flock), so it ends with its process; a stale file never keeps anybody out.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from infrakit_py.clock import Clock, SystemClock
from infrakit_py.errors import ClusterLocked, StoreError
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import GroupVersion, HistoryEntry, VersionRecord, VersionState
from infrakit_py.spi.store import Intent, Pause
from infrakit_py.stores import files, past, tables
from infrakit_py.stores.files import state_directory

__all__ = ["SqliteStore", "state_directory"]


class SqliteStore:
    """See `infrakit_py.spi.store.Store`. Safe for several processes: WAL, one transaction a call."""

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        """Open or make `directory`/state.db, and bring that of an older release up to date. StoreError.

        The clock says when a pause ended.
        """
        self._clock = clock or SystemClock()
        self._directory = directory
        self._lock = Lock()
        try:
            self._db = files.open_private(directory / files.STATE, tables.prepare)
        except (OSError, sqlite3.Error) as exc:
            raise StoreError(f"cannot use {directory}/state.db: {exc}", hint=files.HINT) from exc

    def close(self) -> None:
        self._db.close()

    def record(self, intents: Sequence[Intent]) -> None:
        with self._transaction() as db:
            tables.write_intents(db, intents)

    def intents(self, cluster: str) -> Sequence[Intent]:
        with self._reading() as db:
            return tables.read_intents(db, cluster)

    def forget(self, intents: Sequence[Intent]) -> None:
        with self._transaction() as db:
            tables.drop_intents(db, intents)

    def revision(self, cluster: str, spec_digest: str, now: float) -> int:
        with self._transaction() as db:
            number, last_digest = tables.read_revision(db, cluster)
            if number and last_digest == spec_digest:
                return number
            tables.write_revision(db, cluster, number + 1, spec_digest, now)
            return number + 1

    def note_version(self, cluster: str, version: GroupVersion, state: VersionState, now: float, reason: str) -> None:
        with self._transaction() as db:
            tables.write_version(db, cluster, version, state, now, reason)

    def versions(self, cluster: str, group: str) -> Sequence[VersionRecord]:
        with self._reading() as db:
            return tables.read_versions(db, cluster, group)

    def forget_version(self, cluster: str, group: str, fingerprint: str, now: float, reason: str) -> None:
        with self._transaction() as db:
            tables.drop_version(db, cluster, group, fingerprint, now, reason)

    def history(self, cluster: str, group: str | None = None) -> Sequence[HistoryEntry]:
        with self._reading() as db:
            return tables.read_history(db, cluster, group)

    def pause(self, cluster: str, group: str, pause: Pause | None) -> None:
        with self._transaction() as db:
            before = tables.read_pauses(db, cluster).get(group)
            entry = past.pause_entry(group, before, pause, self._clock.now())
            if entry is not None:
                tables.write_pause(db, cluster, group, pause)
                tables.write_history(db, cluster, entry)

    def pauses(self, cluster: str) -> Mapping[str, Pause]:
        with self._reading() as db:
            return tables.read_pauses(db, cluster)

    def note_healthy(self, cluster: str, since: Mapping[InstanceId, float | None]) -> None:
        with self._transaction(durable=False) as db:
            tables.write_healthy(db, cluster, since)

    def healthy_since(self, cluster: str) -> Mapping[InstanceId, float]:
        with self._reading() as db:
            return tables.read_healthy(db, cluster)

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
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One statement is its own transaction, and waits for no writer."""
        with self._lock, self._explained():
            yield self._db

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """What is not durable may be lost when the power goes, but not when the process ends."""
        with self._lock, self._explained(), self._synchronous(durable=durable):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _synchronous(self, *, durable: bool) -> Iterator[None]:
        if durable:
            yield
            return
        self._db.execute("PRAGMA synchronous=NORMAL")
        try:
            yield
        finally:
            self._db.execute("PRAGMA synchronous=FULL")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeEncodeError) as exc:  # an argument that is no UTF-8 arrives as surrogates
            raise StoreError(f"{self._directory}/state.db: {exc}") from exc
