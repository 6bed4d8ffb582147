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
from infrakit_py.model.declared import Declared, Occurrence, Origin, RevisionRecord, SourceStatus
from infrakit_py.model.fingerprint import spec_digest as digest_of
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import GroupVersion, HistoryEntry, VersionRecord, VersionState
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.spi.store import Intent, Pause
from infrakit_py.stores import declared_tables, event_tables, files, past, tables, transfer_tables
from infrakit_py.stores.codec import value_json
from infrakit_py.stores.files import state_directory
from infrakit_py.stores.transfer import Exported

__all__ = ["SqliteStore", "state_directory"]


class SqliteStore:
    """See `infrakit_py.spi.store.Store`. Safe for several processes: WAL, one transaction a call."""

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        """Open or make `directory`/state.db, and bring that of an older release up to date. StoreError.

        The clock says when a pause ended.
        """
        self._clock = clock or SystemClock()
        self._directory = directory
        self._writing = Lock()
        self._looking = Lock()
        self._versions: dict[tuple[str, str], tuple[Sequence[tables.VersionRow], Sequence[VersionRecord]]] = {}
        self._specs: Mapping[str, ClusterSpec | None] = {}
        try:
            self._db = files.open_private(directory / files.STATE, tables.prepare)
            self._reader = files.open_beside(directory / files.STATE)
        except (OSError, sqlite3.Error) as exc:
            raise StoreError(f"cannot use {directory}/state.db: {exc}", hint=files.HINT) from exc

    def close(self) -> None:
        self._reader.close()
        self._db.close()

    def record(self, intents: Sequence[Intent]) -> None:
        with self._transaction() as db:
            tables.write_intents(db, intents)

    def intents(self, cluster: str, group: str | None = None) -> Sequence[Intent]:
        with self._reading() as db:
            return tables.read_intents(db, cluster, group)

    def forget(self, intents: Sequence[Intent]) -> None:
        with self._transaction() as db:
            tables.drop_intents(db, intents)

    def revision(self, cluster: str, spec_digest: str, now: float) -> int:
        with self._transaction() as db:
            return declared_tables.note(db, cluster, spec_digest, now)

    def note_version(self, cluster: str, version: GroupVersion, state: VersionState, now: float, reason: str) -> None:
        with self._transaction() as db:
            tables.write_version(db, cluster, version, state, now, reason)

    def versions(self, cluster: str, group: str) -> Sequence[VersionRecord]:
        with self._reading() as db:
            rows = tables.version_rows(db, cluster, group)
        known = self._versions.get((cluster, group))
        if known is None or known[0] != rows:  # who asks again and again asks for the same
            known = self._versions[cluster, group] = rows, tables.readable(rows)
        return list(known[1])

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

    def declare(self, spec: ClusterSpec, origin: Origin, now: float, *, expected: int | None = None) -> int:
        content, digest = value_json(spec), digest_of(spec)
        with self._transaction() as db:
            return declared_tables.declare(db, spec.name, content, digest, origin, now, expected)

    def withdraw(self, cluster: str, origin: Origin, now: float, *, prune: bool) -> None:
        with self._transaction() as db:
            declared_tables.withdraw(db, cluster, origin, now, to_prune=prune)

    def retire(self, cluster: str, revision: int) -> None:
        with self._transaction() as db:
            declared_tables.retire(db, cluster, revision)

    def declared(self) -> Mapping[str, Declared]:
        with self._reading() as db:
            contents = declared_tables.read_contents(db)
        # Texts become specs when nobody is kept waiting, and only those that are new.
        self._specs = specs = declared_tables.specs_of(contents, self._specs)
        return declared_tables.declared(contents, specs)

    def declared_mark(self) -> int:
        with self._reading() as db:
            return declared_tables.read_mark(db)

    def revisions(self, cluster: str) -> Sequence[RevisionRecord]:
        with self._reading() as db:
            return declared_tables.read_records(db, cluster)

    def note_source(self, status: SourceStatus) -> None:
        with self._transaction() as db:
            event_tables.write_source(db, status)

    def sources(self) -> Mapping[str, SourceStatus]:
        with self._reading() as db:
            return event_tables.read_sources(db)

    def note_standings(self, cluster: str, standings: Mapping[str, str]) -> None:
        with self._transaction(durable=False) as db:
            event_tables.write_standings(db, cluster, standings)

    def standings(self, cluster: str) -> Mapping[str, str]:
        with self._reading() as db:
            return event_tables.read_standings(db, cluster)

    def note_occurrences(self, occurrences: Sequence[Occurrence]) -> None:
        with self._transaction(durable=False) as db:
            event_tables.write_occurrences(db, occurrences)

    def occurrences(
        self, after: int = 0, *, cluster: str | None = None, limit: int = 1000
    ) -> Sequence[tuple[int, Occurrence]]:
        with self._reading() as db:
            return event_tables.read_occurrences(db, after, cluster, limit)

    def clusters(self) -> Sequence[str]:
        with self._reading() as db:
            return transfer_tables.clusters(db)

    def dump(self, cluster: str) -> Exported:
        with self._reading() as db:
            db.execute("BEGIN")  # all of it as of one moment
            try:
                return transfer_tables.dump(db, cluster)
            finally:
                db.execute("ROLLBACK")

    def restore(self, cluster: str, exported: Exported) -> None:
        with self._transaction() as db:
            transfer_tables.restore(db, cluster, exported)

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
        """One statement is its own transaction, and waits for no writer: neither of this process nor of another."""
        with self._looking, self._explained():
            yield self._reader

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """What is not durable may be lost when the power goes, but not when the process ends."""
        with self._writing, self._explained(), self._synchronous(durable=durable):
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
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as exc:
            # an argument that is no UTF-8 arrives as surrogates
            raise StoreError(f"{self._directory}/state.db: {exc}") from exc
