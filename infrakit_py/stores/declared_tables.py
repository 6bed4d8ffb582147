"""The tables of what is declared: numbers of specs, their content as long as it is kept, and what is in force.

A revision's number and digest lie where the first release put them, so that an older release reads on.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from infrakit_py.model.declared import Declared, Origin, RevisionRecord
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.stores import declaring
from infrakit_py.stores.codec import Unreadable, read_value, value_json
from infrakit_py.stores.declaring import InForce
from infrakit_py.stores.transfer import Numbered

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS revision (
    cluster TEXT NOT NULL, number INTEGER NOT NULL, spec_digest TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (cluster, number)
) STRICT;
CREATE TABLE IF NOT EXISTS declaration (
    cluster TEXT NOT NULL, number INTEGER NOT NULL, origin TEXT NOT NULL, content TEXT,
    PRIMARY KEY (cluster, number)
) STRICT;
CREATE TABLE IF NOT EXISTS in_force (
    cluster TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL, spec_digest TEXT NOT NULL, origin TEXT NOT NULL,
    at REAL NOT NULL, withdrawn INTEGER NOT NULL, prune INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS mark (
    name TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL
) STRICT;
"""
_IN_FORCE: Final = "number, spec_digest, origin, at, withdrawn, prune"
_NUMBERED: Final = (
    "SELECT revision.number, spec_digest, at, origin, content"
    " FROM revision LEFT JOIN declaration USING (cluster, number) WHERE cluster = ? ORDER BY revision.number"
)


def note(db: sqlite3.Connection, cluster: str, spec_digest: str, now: float) -> int:
    """Return the number of a spec that somebody applies, written where it is a new one."""
    number = _number(db, cluster, read_in_force(db, cluster), spec_digest)
    if _write_number(db, cluster, number, spec_digest, now):
        prune(db, cluster)
    return number


def declare(
    db: sqlite3.Connection,
    cluster: str,
    content: str,
    spec_digest: str,
    origin: Origin,
    now: float,
    expected: int | None,
) -> int:
    """Put a spec in force and return its number. Conflict."""
    before = read_in_force(db, cluster)
    declaring.require(cluster, before, expected)
    number = _number(db, cluster, before, spec_digest)
    in_force = declaring.declared(before, number, spec_digest, origin, now)
    if in_force == before and _content(db, cluster, number) == content:
        return number
    _write_number(db, cluster, number, spec_digest, now)
    db.execute(
        "INSERT INTO declaration VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET content = excluded.content",
        (cluster, number, value_json(origin), content),
    )
    write_in_force(db, cluster, in_force)
    prune(db, cluster)
    return number


def withdraw(db: sqlite3.Connection, cluster: str, origin: Origin, now: float, *, to_prune: bool) -> None:
    before = read_in_force(db, cluster)
    after = declaring.withdrawn(before, origin, now, prune=to_prune)
    if after is not None and after != before:
        write_in_force(db, cluster, after)


def retire(db: sqlite3.Connection, cluster: str, revision: int) -> None:
    if declaring.may_retire(read_in_force(db, cluster), revision):
        db.execute("DELETE FROM in_force WHERE cluster = ?", (cluster,))
        grow_mark(db)


def read_in_force(db: sqlite3.Connection, cluster: str) -> InForce | None:
    row = db.execute(f"SELECT {_IN_FORCE} FROM in_force WHERE cluster = ?", (cluster,)).fetchone()
    return _in_force(*row) if row is not None else None


def write_in_force(db: sqlite3.Connection, cluster: str, in_force: InForce) -> None:
    values = (
        in_force.revision,
        in_force.spec_digest,
        value_json(in_force.origin),
        in_force.at,
        in_force.withdrawn,
        in_force.prune,
    )
    db.execute("INSERT OR REPLACE INTO in_force VALUES (?,?,?,?,?,?,?)", (cluster, *values))
    grow_mark(db)


def grow_mark(db: sqlite3.Connection) -> None:
    """Tell all who have the file open that what is declared may be another now."""
    db.execute("INSERT INTO mark VALUES ('declared', 1) ON CONFLICT DO UPDATE SET number = number + 1")


def read_mark(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT number FROM mark WHERE name = 'declared'").fetchone()
    return int(row[0]) if row is not None else 0


def read_contents(db: sqlite3.Connection) -> Sequence[tuple[str, InForce, str]]:
    """Return what is in force, by cluster, each with its spec's text, as far as that is there."""
    rows = db.execute(
        "SELECT cluster, in_force.number, spec_digest, in_force.origin, at, withdrawn, prune, content"
        " FROM in_force JOIN declaration USING (cluster, number) WHERE content IS NOT NULL ORDER BY cluster"
    )
    return [(cluster, _in_force(*rest), content) for cluster, *rest, content in rows]


def specs_of(
    contents: Sequence[tuple[str, InForce, str]], known: Mapping[str, ClusterSpec | None]
) -> Mapping[str, ClusterSpec | None]:
    """Return the specs of texts, None for those that this release cannot read. `known` ones are not read again."""
    return {text: known[text] if text in known else _spec(text) for _, _, text in contents}


def declared(
    contents: Sequence[tuple[str, InForce, str]], specs: Mapping[str, ClusterSpec | None]
) -> Mapping[str, Declared]:
    """Return what is in force, by cluster; what this release cannot read is left out."""
    found = {
        cluster: declaring.as_declared(in_force, spec)
        for cluster, in_force, text in contents
        if (spec := specs[text]) is not None
    }
    return {cluster: one for cluster, one in found.items() if one is not None}


def read_last(db: sqlite3.Connection, cluster: str) -> tuple[int, str]:
    """Return the last number and its digest; 0 before the first."""
    row = db.execute(
        "SELECT number, spec_digest FROM revision WHERE cluster = ? ORDER BY number DESC LIMIT 1", (cluster,)
    ).fetchone()
    return (int(row[0]), str(row[1])) if row is not None else (0, "")


def read_records(db: sqlite3.Connection, cluster: str) -> Sequence[RevisionRecord]:
    """Return the numbers of a cluster, the oldest first; those with an origin that cannot be read are left out."""
    rows = db.execute(_NUMBERED.replace("content", "NULL"), (cluster,))
    return [each.record for each in _readable(rows) if each is not None]


def read_numbered(db: sqlite3.Connection, cluster: str) -> tuple[Sequence[Numbered], int]:
    """Return the numbers of a cluster with their specs, and how many of them cannot be read."""
    found = list(_readable(db.execute(_NUMBERED, (cluster,))))
    return [each for each in found if each is not None], found.count(None)


def write_numbered(db: sqlite3.Connection, cluster: str, numbered: Numbered) -> None:
    """Write a number that is not there yet, as it was elsewhere."""
    record = numbered.record
    _write_number(db, cluster, record.number, record.spec_digest, record.at)
    if record.origin is not None:
        content = value_json(numbered.spec) if numbered.spec is not None else None
        db.execute(
            "INSERT INTO declaration VALUES (?,?,?,?)", (cluster, record.number, value_json(record.origin), content)
        )


def prune(db: sqlite3.Connection, cluster: str) -> None:
    """Drop the numbers and the specs that are too many; those in force stay."""
    stays = "number NOT IN (SELECT number FROM in_force WHERE cluster = ?1)"
    too_old = "number <= (SELECT number FROM {} ORDER BY number DESC LIMIT 1 OFFSET ?2)"
    old_number = too_old.format("revision WHERE cluster = ?1")
    for table in ("declaration", "revision"):
        db.execute(
            f"DELETE FROM {table} WHERE cluster = ?1 AND {old_number} AND {stays}",
            (cluster, declaring.REVISIONS_KEPT),
        )
    old_content = too_old.format("declaration WHERE cluster = ?1 AND content IS NOT NULL")
    db.execute(
        f"UPDATE declaration SET content = NULL"
        f" WHERE cluster = ?1 AND content IS NOT NULL AND {old_content} AND {stays}",
        (cluster, declaring.CONTENTS_KEPT),
    )


def _number(db: sqlite3.Connection, cluster: str, in_force: InForce | None, spec_digest: str) -> int:
    return declaring.number(in_force, *read_last(db, cluster), spec_digest)


def _write_number(db: sqlite3.Connection, cluster: str, number: int, spec_digest: str, at: float) -> bool:
    """Write a number where it is not there yet; tell whether it was not."""
    values = (cluster, number, spec_digest, at)
    return db.execute("INSERT INTO revision VALUES (?,?,?,?) ON CONFLICT DO NOTHING", values).rowcount > 0


def _content(db: sqlite3.Connection, cluster: str, number: int) -> str | None:
    row = db.execute("SELECT content FROM declaration WHERE cluster = ? AND number = ?", (cluster, number)).fetchone()
    return row[0] if row is not None else None


def _in_force(number: int, spec_digest: str, origin: str, at: float, withdrawn: int, prune: int) -> InForce:
    try:
        by: Origin | None = read_value(Origin, origin)
    except Unreadable:
        by = None
    return InForce(number, spec_digest, by, at, bool(withdrawn), bool(prune))


def _spec(text: str) -> ClusterSpec | None:
    try:
        return read_value(ClusterSpec, text)
    except Unreadable:  # of a newer release, or damaged
        return None


def _readable(rows: Iterator[tuple[int, str, float, str | None, str | None]]) -> Iterator[Numbered | None]:
    for number, spec_digest, at, origin, content in rows:
        try:
            by = read_value(Origin, origin) if origin is not None else None
            spec = read_value(ClusterSpec, content) if content is not None else None
        except Unreadable:
            yield None
            continue
        yield Numbered(RevisionRecord(number, spec_digest, at, by), spec)
