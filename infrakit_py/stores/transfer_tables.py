"""One cluster's rows of all tables as one value, and back."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

from infrakit_py.model.declared import Occurrence
from infrakit_py.stores import declared_tables, event_tables, tables
from infrakit_py.stores.transfer import Exported

_MOMENTARY: Final = ("standing",)
_LASTING: Final = ("declaration", "healthy", "history", "in_force", "intent", "pause", "revision", "version")


def clusters(db: sqlite3.Connection) -> Sequence[str]:
    """Return the names of all clusters of which anything is remembered that lasts."""
    query = " UNION ".join(f"SELECT cluster FROM {table}" for table in _LASTING)
    return [cluster for (cluster,) in db.execute(f"{query} ORDER BY cluster")]


def dump(db: sqlite3.Connection, cluster: str) -> Exported:
    """See `Transfer.dump`. The caller has begun a transaction."""
    revisions, unread_revisions = declared_tables.read_numbered(db, cluster)
    versions = tables.read_versions(db, cluster)
    (all_versions,) = db.execute("SELECT count(*) FROM version WHERE cluster = ?", (cluster,)).fetchone()
    in_force = declared_tables.read_in_force(db, cluster)
    full = {each.record.number for each in revisions if each.spec is not None}
    is_readable = in_force is not None and in_force.origin is not None and in_force.revision in full
    return Exported(
        intents=tuple(tables.read_intents(db, cluster)),
        revisions=tuple(revisions),
        in_force=in_force if is_readable else None,
        versions=tuple(versions),
        history=tuple(tables.read_history(db, cluster)),
        pauses=tables.read_pauses(db, cluster),
        healthy_since=tables.read_healthy(db, cluster),
        left_out=unread_revisions + all_versions - len(versions) + (in_force is not None and not is_readable),
    )


def restore(db: sqlite3.Connection, cluster: str, exported: Exported) -> None:
    """See `Transfer.restore`. The caller has begun a transaction."""
    for table in (*_LASTING, *_MOMENTARY):
        db.execute(f"DELETE FROM {table} WHERE cluster = ?", (cluster,))
    tables.write_intents(db, exported.intents)
    for numbered in exported.revisions:
        declared_tables.write_numbered(db, cluster, numbered)
    for record in exported.versions:
        tables.write_version_record(db, cluster, record)
    for entry in exported.history:
        tables.write_history(db, cluster, entry)
    for group, pause in exported.pauses.items():
        tables.write_pause(db, cluster, group, pause)
    tables.write_healthy(db, cluster, exported.healthy_since)
    if exported.in_force is not None:
        declared_tables.write_in_force(db, cluster, exported.in_force)
    declared_tables.prune(db, cluster)
    declared_tables.grow_mark(db)


def try_out(cluster: str, exported: Exported) -> None:
    """Restore a value to a database that nobody keeps. ValueError where a value is such as no column can hold."""
    _try_out(lambda db: restore(db, cluster, exported))


def try_out_events(occurrences: Sequence[Occurrence]) -> None:
    """Note what happened in a database that nobody keeps. ValueError, as for `try_out`."""
    _try_out(lambda db: event_tables.write_occurrences(db, occurrences))


def _try_out(write: Callable[[sqlite3.Connection], None]) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        tables.prepare(db)
        try:
            write(db)
        except (sqlite3.Error, OverflowError) as exc:
            raise ValueError(str(exc)) from exc
        except UnicodeEncodeError as exc:
            raise ValueError("a text that is no UTF-8") from exc
