"""The file that state lies in: where it is, and how it is opened. It may hold secrets, so nobody else may read it."""

import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

STATE: Final = "state.db"
HINT: Final = "set INFRAKIT_STATE_DIR to a directory of your own; a damaged state.db may simply be deleted"

_BUSY_SECONDS: Final = 10.0
_OWNER_ONLY: Final = 0o600


def state_directory(environment: Mapping[str, str]) -> Path:
    """Return where state lives: $INFRAKIT_STATE_DIR, else below $XDG_STATE_HOME, else ~/.local/state."""
    if own := environment.get("INFRAKIT_STATE_DIR"):
        return Path(own)
    base = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "infrakit-py"


def open_private(file: Path, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """Open a database that is its owner's alone, made with its directory where there is none, and prepare it.

    Each write to it is durable. OSError or sqlite3.Error where that cannot be done.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _one_at_a_time(file.parent):
        _be_private(file)
        # SQLite gives the files that it keeps beside the database the mode of the database.
        db = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            prepare(db)
        except sqlite3.Error:
            db.close()
            raise
        return db


def open_beside(file: Path) -> sqlite3.Connection:
    """Open a database that this process has open, for reads that wait for no writer. sqlite3.Error."""
    db = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA query_only=ON")
    return db


def open_read_only(file: Path) -> sqlite3.Connection:
    """Open a database that is there, and write nothing. sqlite3.Error."""
    # Without a write-ahead log the file is all there is, and SQLite need not begin one to read it.
    mode = "mode=ro" if Path(f"{file}-wal").exists() else "immutable=1"
    uri = f"{file.absolute().as_uri()}?{mode}"
    return sqlite3.connect(uri, timeout=_BUSY_SECONDS, isolation_level=None, uri=True)


def write_private(file: Path, parts: Iterable[str]) -> None:
    """Write a file that is its owner's alone: whole and in place of what was there, or not at all. OSError.

    What is no ordinary file (a pipe, a device) is written to.
    """
    file = file.resolve()
    if file.exists() and not file.is_file():
        with file.open("w", encoding="utf-8") as stream:
            stream.writelines(parts)
        return
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # made for its owner alone
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.writelines(parts)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise


@contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """SQLite fails at once, however long it may wait elsewhere, where two processes begin a write-ahead log."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _be_private(file: Path) -> None:
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ONLY))
    except FileExistsError:
        # By name: closing a descriptor of the file would end all locks that this process has on it (POSIX).
        for existing in (file, *(Path(f"{file}{suffix}") for suffix in ("-wal", "-shm"))):
            _make_private(existing)


def _make_private(file: Path) -> None:
    try:
        if file.stat().st_mode & 0o077:
            file.chmod(_OWNER_ONLY)
    except FileNotFoundError:
        return  # SQLite keeps what lies beside a database only while somebody has it open
