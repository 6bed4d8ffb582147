"""A look at what is remembered, for commands that change nothing: nothing is written, not even an empty file."""

import sqlite3
from contextlib import closing
from pathlib import Path

from infrakit_py.clock import Clock
from infrakit_py.errors import StoreError
from infrakit_py.stores import declared_tables, files, tables
from infrakit_py.stores.memory import MemoryStore
from infrakit_py.stores.past import Remembered


def read_only(directory: Path, cluster: str, clock: Clock | None = None) -> MemoryStore:
    """Return a store of its own with all that is remembered of the cluster, as of now.

    The directory need be neither there nor writable. StoreError where there is something that cannot be read.
    """
    file = directory / files.STATE
    try:
        return MemoryStore.remembering(cluster, _remembered(file, cluster), clock)
    except (OSError, sqlite3.Error) as exc:
        raise StoreError(f"cannot read {file}: {exc}", hint=files.HINT) from exc


def remembered_images(directory: Path) -> frozenset[str]:
    """Return the identities of all images that any version of any cluster's groups names. Write nothing."""
    file = directory / files.STATE
    try:
        if not file.exists():
            return frozenset()
        with closing(files.open_read_only(file)) as db:
            return tables.read_image_identities(db) if "version" in tables.names(db) else frozenset()
    except (OSError, sqlite3.Error) as exc:
        raise StoreError(f"cannot read {file}: {exc}", hint=files.HINT) from exc


def _remembered(file: Path, cluster: str) -> Remembered:
    if not file.exists():
        return Remembered()
    with closing(files.open_read_only(file)) as db:
        db.execute("BEGIN")  # all of it as of one moment
        there = tables.names(db)
        revision, spec_digest = declared_tables.read_last(db, cluster) if "revision" in there else (0, "")
        return Remembered(
            intents=tables.read_intents(db, cluster) if "intent" in there else (),
            revision=revision,
            spec_digest=spec_digest,
            versions=tables.read_versions(db, cluster) if "version" in there else (),
            history=tables.read_history(db, cluster) if "history" in there else (),
            pauses=tables.read_pauses(db, cluster) if "pause" in there else {},
            healthy_since=tables.read_healthy(db, cluster) if "healthy" in there else {},
            in_force=declared_tables.read_in_force(db, cluster) if "in_force" in there else None,
        )
