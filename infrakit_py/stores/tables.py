"""The tables of the SQLite store that a tick needs: how values become rows and rows values.

Those of what is declared and of what happened are beside this module. No transaction begins or ends in any of them.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Final, TypeAlias

from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import GroupVersion, HistoryEntry, VersionRecord, VersionState
from infrakit_py.spi.store import Intent, Pause
from infrakit_py.stores import declared_tables, event_tables, past
from infrakit_py.stores.codec import read_version, version_json

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS intent (
    cluster TEXT NOT NULL, group_name TEXT NOT NULL, provider TEXT NOT NULL, slot TEXT NOT NULL,
    incarnation INTEGER NOT NULL, logical_id TEXT, fingerprint TEXT NOT NULL, since REAL NOT NULL, instance_id TEXT,
    gone INTEGER NOT NULL, ticket TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (cluster, group_name, provider, slot)
) STRICT;
CREATE TABLE IF NOT EXISTS version (
    id INTEGER PRIMARY KEY, cluster TEXT NOT NULL, group_name TEXT NOT NULL, fingerprint TEXT NOT NULL,
    state TEXT NOT NULL, at REAL NOT NULL, reason TEXT NOT NULL,
    revision INTEGER NOT NULL, image TEXT NOT NULL, image_identity TEXT NOT NULL, content TEXT NOT NULL,
    UNIQUE (cluster, group_name, fingerprint)
) STRICT;
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY, cluster TEXT NOT NULL, at REAL NOT NULL, group_name TEXT NOT NULL, event TEXT NOT NULL,
    revision INTEGER NOT NULL, image TEXT NOT NULL, image_identity TEXT NOT NULL, fingerprint TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS history_of_cluster ON history (cluster);
CREATE TABLE IF NOT EXISTS pause (
    cluster TEXT NOT NULL, group_name TEXT NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (cluster, group_name)
) STRICT;
CREATE TABLE IF NOT EXISTS healthy (
    cluster TEXT NOT NULL, instance_id TEXT NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (cluster, instance_id)
) STRICT, WITHOUT ROWID;
"""
_TICKET: Final = "ALTER TABLE intent ADD COLUMN ticket TEXT NOT NULL DEFAULT ''"
_INTENT: Final = (
    "cluster, group_name, provider, slot, incarnation, logical_id, fingerprint, since, instance_id, gone, ticket"
)
VersionRow: TypeAlias = tuple[str, str, float, str]
_HISTORY: Final = "at, group_name, event, revision, image, image_identity, fingerprint, reason"


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables that are not there, and bring those of an older release up to date."""
    db.executescript(SCHEMA + declared_tables.SCHEMA + event_tables.SCHEMA)
    if not _has_tickets(db):
        db.execute(_TICKET)


def names(db: sqlite3.Connection) -> frozenset[str]:
    """Return the tables that are there: an older release made fewer."""
    return frozenset(row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))


def write_intents(db: sqlite3.Connection, intents: Sequence[Intent]) -> None:
    rows = [astuple(intent) for intent in intents]
    db.executemany(f"INSERT OR REPLACE INTO intent ({_INTENT}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", rows)


def read_intents(db: sqlite3.Connection, cluster: str, group: str | None = None) -> Sequence[Intent]:
    columns = _INTENT if _has_tickets(db) else _INTENT.replace("ticket", "''")
    query = f"SELECT {columns} FROM intent WHERE cluster = ?"
    if group is None:
        rows = db.execute(query, (cluster,))
    else:  # as a query of its own, so that the key's index is used to its end
        rows = db.execute(f"{query} AND group_name = ?", (cluster, group))
    return [replace(intent, gone=bool(intent.gone)) for intent in (Intent(*row) for row in rows)]


def _has_tickets(db: sqlite3.Connection) -> bool:
    return any(column[1] == "ticket" for column in db.execute("PRAGMA table_info(intent)"))


def drop_intents(db: sqlite3.Connection, intents: Sequence[Intent]) -> None:
    db.executemany(
        "DELETE FROM intent WHERE cluster=? AND group_name=? AND provider=? AND slot=? AND incarnation=? AND since=?",
        [(i.cluster, i.group, i.provider, i.slot, i.incarnation, i.since) for i in intents],
    )


def write_version(
    db: sqlite3.Connection, cluster: str, version: GroupVersion, state: VersionState, at: float, reason: str
) -> None:
    """Write a version as the latest of its group, enter it into the history, and drop what is one too many."""
    place = (cluster, version.group.name)
    before = db.execute(
        "SELECT state, reason FROM version WHERE cluster=? AND group_name=? AND fingerprint=?",
        (*place, version.fingerprint),
    ).fetchone()
    if before == (state.value, reason):
        return
    write_version_record(db, cluster, VersionRecord(version, state, at, reason))
    alike = "cluster = ? AND group_name = ? AND (state = 'good') = ?"
    which = (*place, state is VersionState.GOOD)
    db.execute(
        f"DELETE FROM version WHERE {alike} AND id <="
        f" (SELECT id FROM version WHERE {alike} ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (*which, *which, past.kept(state)),
    )
    write_history(db, cluster, past.version_entry(version, state.value, at, reason))


def write_version_record(db: sqlite3.Connection, cluster: str, record: VersionRecord) -> None:
    """Write a version as the latest of its group, and nothing else."""
    version = record.version
    db.execute(
        "INSERT OR REPLACE INTO version (cluster, group_name, fingerprint, state, at, reason, revision, image,"
        " image_identity, content) VALUES (?,?,?,?,?,?,?,?,?,?)",
        (cluster, version.group.name, version.fingerprint, record.state.value, record.at, record.reason,
         version.revision, version.image.name, version.image.identity, version_json(version)),
    )  # fmt: skip


def read_image_identities(db: sqlite3.Connection) -> frozenset[str]:
    """Return the identities of the images of all versions, of all clusters."""
    return frozenset(identity for (identity,) in db.execute("SELECT DISTINCT image_identity FROM version"))


def read_versions(db: sqlite3.Connection, cluster: str, group: str | None = None) -> Sequence[VersionRecord]:
    """Return the versions of a group, or of all, that can be read; that of the latest change last."""
    return readable(version_rows(db, cluster, group))


def version_rows(db: sqlite3.Connection, cluster: str, group: str | None = None) -> Sequence[VersionRow]:
    """Return versions as they are written, for `readable`: reading them takes longer than all the rest."""
    return db.execute(
        "SELECT content, state, at, reason FROM version WHERE cluster = ?1 AND (?2 IS NULL OR group_name = ?2)"
        " ORDER BY id",
        (cluster, group),
    ).fetchall()


def drop_version(db: sqlite3.Connection, cluster: str, group: str, fingerprint: str, at: float, reason: str) -> None:
    """Drop a version, readable or not, and enter that into the history."""
    dropped = db.execute(
        "DELETE FROM version WHERE cluster=? AND group_name=? AND fingerprint=?"
        " RETURNING revision, image, image_identity",
        (cluster, group, fingerprint),
    ).fetchall()
    for revision, image, identity in dropped:
        entry = HistoryEntry(at, group, past.RETRIED, revision, image, identity, fingerprint, reason)
        write_history(db, cluster, entry)


def write_history(db: sqlite3.Connection, cluster: str, entry: HistoryEntry) -> None:
    """Add a line, and drop those that are too many."""
    db.execute(f"INSERT INTO history (cluster, {_HISTORY}) VALUES (?,?,?,?,?,?,?,?,?)", (cluster, *astuple(entry)))
    db.execute(
        "DELETE FROM history WHERE cluster = ?1 AND id <="
        " (SELECT id FROM history WHERE cluster = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        (cluster, past.HISTORY_KEPT),
    )


def read_history(db: sqlite3.Connection, cluster: str, group: str | None = None) -> Sequence[HistoryEntry]:
    rows = db.execute(
        f"SELECT {_HISTORY} FROM history WHERE cluster = ?1 AND (?2 IS NULL OR group_name = ?2) ORDER BY id",
        (cluster, group),
    )
    return [HistoryEntry(*row) for row in rows]


def write_pause(db: sqlite3.Connection, cluster: str, group: str, pause: Pause | None) -> None:
    if pause is None:
        db.execute("DELETE FROM pause WHERE cluster = ? AND group_name = ?", (cluster, group))
    else:
        db.execute("INSERT OR REPLACE INTO pause VALUES (?,?,?,?)", (cluster, group, pause.reason, pause.at))


def read_pauses(db: sqlite3.Connection, cluster: str) -> Mapping[str, Pause]:
    rows = db.execute("SELECT group_name, reason, at FROM pause WHERE cluster = ?", (cluster,))
    return {group: Pause(reason, at) for group, reason, at in rows}


def write_healthy(db: sqlite3.Connection, cluster: str, since: Mapping[InstanceId, float | None]) -> None:
    """Write what is not so already: pages that do not change need not be written."""
    db.executemany(
        "INSERT INTO healthy VALUES (?,?,?) ON CONFLICT DO UPDATE SET since = excluded.since"
        " WHERE since <> excluded.since",
        [(cluster, instance, at) for instance, at in since.items() if at is not None],
    )
    db.executemany(
        "DELETE FROM healthy WHERE cluster = ? AND instance_id = ?",
        [(cluster, instance) for instance, at in since.items() if at is None],
    )


def read_healthy(db: sqlite3.Connection, cluster: str) -> Mapping[InstanceId, float]:
    rows = db.execute("SELECT instance_id, since FROM healthy WHERE cluster = ?", (cluster,))
    return {InstanceId(instance): since for instance, since in rows}


def readable(rows: Iterable[VersionRow]) -> Sequence[VersionRecord]:
    """Return the versions that can be read."""
    return list(_readable(rows))


def _readable(rows: Iterable[VersionRow]) -> Iterable[VersionRecord]:
    for content, state, at, reason in rows:
        try:
            yield VersionRecord(read_version(content), VersionState(state), at, reason)
        except ValueError:  # Unreadable among them: of a newer release, or damaged
            continue
