"""The tables of where sources and groups stand, and of what happened."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from infrakit_py.model.declared import Occurrence, SourceStatus
from infrakit_py.stores import past
from infrakit_py.stores.codec import Unreadable, read_value, value_json

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS source (
    name TEXT NOT NULL PRIMARY KEY, content TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS standing (
    cluster TEXT NOT NULL, group_name TEXT NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (cluster, group_name)
) STRICT;
CREATE TABLE IF NOT EXISTS occurrence (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, cluster TEXT NOT NULL, group_name TEXT NOT NULL,
    kind TEXT NOT NULL, text TEXT NOT NULL, revision INTEGER NOT NULL, actor TEXT NOT NULL, fields TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS occurrence_of_cluster ON occurrence (cluster);
"""
_OCCURRENCE: Final = "at, cluster, group_name, kind, text, revision, actor, fields"


def write_source(db: sqlite3.Connection, status: SourceStatus) -> None:
    db.execute(
        "INSERT INTO source VALUES (?,?) ON CONFLICT DO UPDATE SET content = excluded.content"
        " WHERE content <> excluded.content",
        (status.name, value_json(status)),
    )


def read_sources(db: sqlite3.Connection) -> Mapping[str, SourceStatus]:
    """Return where sources stand; what this release cannot read is left out."""
    return dict(_sources(db.execute("SELECT name, content FROM source ORDER BY name")))


def write_standings(db: sqlite3.Connection, cluster: str, standings: Mapping[str, str]) -> None:
    """Write what is not so already, and drop those without a text."""
    db.executemany(
        "INSERT INTO standing VALUES (?,?,?) ON CONFLICT DO UPDATE SET content = excluded.content"
        " WHERE content <> excluded.content",
        [(cluster, group, text) for group, text in standings.items() if text],
    )
    db.executemany(
        "DELETE FROM standing WHERE cluster = ? AND group_name = ?",
        [(cluster, group) for group, text in standings.items() if not text],
    )


def read_standings(db: sqlite3.Connection, cluster: str) -> Mapping[str, str]:
    return dict(db.execute("SELECT group_name, content FROM standing WHERE cluster = ?", (cluster,)).fetchall())


def write_occurrences(db: sqlite3.Connection, occurrences: Sequence[Occurrence]) -> None:
    """Add what happened, and drop what is too old. A number is never given twice, not even that of a dropped one."""
    db.executemany(
        f"INSERT INTO occurrence ({_OCCURRENCE}) VALUES (?,?,?,?,?,?,?,?)",
        [(o.at, o.cluster, o.group, o.kind, o.text, o.revision, o.actor, json.dumps(dict(o.fields)))
         for o in occurrences],
    )  # fmt: skip
    db.execute(
        "DELETE FROM occurrence WHERE number <=(SELECT number FROM occurrence ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (past.OCCURRENCES_KEPT,),
    )


def read_occurrences(
    db: sqlite3.Connection, after: int, cluster: str | None, limit: int
) -> Sequence[tuple[int, Occurrence]]:
    """See `Store.occurrences`."""
    which, values = ("WHERE cluster = ?", [cluster]) if cluster is not None else ("WHERE TRUE", [])
    if after < 0:
        query = f"SELECT number, {_OCCURRENCE} FROM occurrence {which} ORDER BY number DESC LIMIT ?"
        return [_occurrence(*row) for row in db.execute(query, (*values, max(limit, 0)))][::-1]
    query = f"SELECT number, {_OCCURRENCE} FROM occurrence {which} AND number > ? ORDER BY number LIMIT ?"
    return [_occurrence(*row) for row in db.execute(query, (*values, after, max(limit, 0)))]


def _sources(rows: Iterator[tuple[str, str]]) -> Iterator[tuple[str, SourceStatus]]:
    for name, content in rows:
        try:
            yield name, read_value(SourceStatus, content)
        except Unreadable:  # of a newer release: it is asked anew
            continue


def _occurrence(
    number: int, at: float, cluster: str, group: str, kind: str, text: str, revision: int, actor: str, fields: str
) -> tuple[int, Occurrence]:
    return number, Occurrence(at, cluster, group, kind, text, revision, actor, json.loads(fields))
