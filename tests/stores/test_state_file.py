"""The file that state lies in: private, upgraded in place, shared by processes, and read without being touched."""

import multiprocessing
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from infrakit_py.errors import StoreError
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.revision import VersionState
from infrakit_py.spi.store import Intent, Pause, Store
from infrakit_py.stores.looking import read_only
from infrakit_py.stores.sqlite import SqliteStore
from tests.stores.material import version_of

INTENT = Intent("shop", "web", "local", "0", 0, None, "v1-abc", 1000.0)
A, B = version_of("v1-a"), version_of("v1-b", revision=2)
FIRST_SCHEMA = """
CREATE TABLE intent (
    cluster TEXT NOT NULL, group_name TEXT NOT NULL, provider TEXT NOT NULL, slot TEXT NOT NULL,
    incarnation INTEGER NOT NULL, logical_id TEXT, fingerprint TEXT NOT NULL, since REAL NOT NULL, instance_id TEXT,
    gone INTEGER NOT NULL,
    PRIMARY KEY (cluster, group_name, provider, slot)
) STRICT;
CREATE TABLE revision (
    cluster TEXT NOT NULL, number INTEGER NOT NULL, spec_digest TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (cluster, number)
) STRICT;
INSERT INTO intent VALUES ('shop', 'web', 'local', '0', 0, NULL, 'v1-abc', 1000.0, NULL, 0);
INSERT INTO revision VALUES ('shop', 7, 'digest', 1.0);
"""


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def fill(store: SqliteStore) -> None:
    store.record([INTENT])
    store.revision("shop", "digest", 1.0)
    store.note_version("shop", A, VersionState.GOOD, 1.0, "baked")
    store.note_version("shop", B, VersionState.ROLLING, 2.0, "wanted")
    store.pause("shop", "web", Pause("freeze", 3.0))
    store.note_healthy("shop", {InstanceId("i-1"): 4.0})


def execute(directory: Path, sql: str) -> None:
    with closing(sqlite3.connect(directory / "state.db")) as db:
        db.executescript(sql)


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


def remembered(store: Store) -> list[object]:
    """Return all that a store says of the cluster. Its next revision comes last, for asking makes it."""
    return [
        store.intents("shop"),
        store.history("shop"),
        store.pauses("shop"),
        store.healthy_since("shop"),
        store.versions("shop", "web"),
        store.revision("shop", "digest", 9.0),
        store.revision("shop", "another", 9.0),
    ]


def test_the_state_is_its_owner_s_alone(usual_umask: None, tmp_path: Path) -> None:
    """The options of flavors are in it, and may be secret."""
    directory = tmp_path / "state"
    with closing(SqliteStore(directory)) as store:
        fill(store)
        assert modes(directory) == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_state_that_others_could_read_is_closed_to_them(usual_umask: None, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db")) as older:
        older.execute("PRAGMA journal_mode=WAL")
        older.executescript(FIRST_SCHEMA)
        assert modes(tmp_path) == {"state.db": 0o644, "state.db-wal": 0o644, "state.db-shm": 0o644}
        SqliteStore(tmp_path).close()
        assert modes(tmp_path) == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


def test_opening_the_store_again_lets_go_of_no_lock(tmp_path: Path) -> None:
    """POSIX ends all locks of a process on a file as soon as it closes any descriptor of it."""
    with closing(SqliteStore(tmp_path)) as store, closing(sqlite3.connect(tmp_path / "state.db")) as holder:
        holder.execute("BEGIN IMMEDIATE")
        SqliteStore(tmp_path).close()
        context = multiprocessing.get_context("spawn")
        other = context.Process(target=_must_find_it_locked, args=(tmp_path,))
        other.start()
        other.join(60)
        assert other.exitcode == 0
        holder.execute("ROLLBACK")
        store.record([INTENT])


def _must_find_it_locked(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "state.db", timeout=0)) as db, pytest.raises(sqlite3.OperationalError):
        db.execute("BEGIN IMMEDIATE")


def test_the_file_of_the_first_release_is_upgraded_in_place(tmp_path: Path) -> None:
    execute(tmp_path, FIRST_SCHEMA)
    with closing(SqliteStore(tmp_path)) as store:
        assert store.intents("shop") == [INTENT]
        assert store.revision("shop", "digest", 2.0) == 7
        assert (store.versions("shop", "web"), store.history("shop"), store.pauses("shop")) == ([], [], {})
        fill(store)
        assert len(store.versions("shop", "web")) == 2


def test_everything_survives_the_process(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        fill(store)
    with closing(SqliteStore(tmp_path)) as store:
        assert [record.version for record in store.versions("shop", "web")] == [A, B]
        assert len(store.history("shop")) == 3
        assert store.pauses("shop") == {"web": Pause("freeze", 3.0)}
        assert store.healthy_since("shop") == {InstanceId("i-1"): 4.0}


def _note_many(directory: Path, name: str) -> None:
    with closing(SqliteStore(directory)) as store:
        for number in range(30):
            store.note_version("shop", version_of(f"v1-{name}{number}"), VersionState.GOOD, 1.0, "")
            store.note_healthy("shop", {InstanceId(f"{name}-{number}"): 1.0})


def test_processes_note_versions_side_by_side(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_note_many, args=(tmp_path, name)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    with closing(SqliteStore(tmp_path)) as store:
        assert len(store.versions("shop", "web")) == 10
        assert len(store.history("shop")) == 60
        assert len(store.healthy_since("shop")) == 60


def _open_at_once(directory: Path, rounds: int, start: Barrier) -> None:
    for number in range(rounds):
        start.wait(20)
        SqliteStore(directory / str(number)).close()


def test_processes_may_make_the_file_at_the_same_moment(tmp_path: Path) -> None:
    """SQLite waits for nobody while a write-ahead log is begun."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(6)
    openers = [context.Process(target=_open_at_once, args=(tmp_path, 15, start)) for _ in range(6)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(60)
    assert [opener.exitcode for opener in openers] == [0] * 6


def test_text_that_no_file_can_hold_is_an_error_and_leaves_the_rest(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        fill(store)
        with pytest.raises(StoreError):
            store.pause("shop", "web", Pause("an argument in Latin-1: \udce9", 9.0))
        assert store.pauses("shop") == {"web": Pause("freeze", 3.0)}
        store.pause("shop", "web", None)


def test_one_process_sees_what_another_noted(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        other = multiprocessing.get_context("spawn").Process(target=_note_many, args=(tmp_path, "a"))
        other.start()
        other.join(60)
        assert store.versions("shop", "web")[-1].version.fingerprint == "v1-a29"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE version SET content = '{' WHERE fingerprint = 'v1-a'",
        "UPDATE version SET content = json_set(content, '$.format', 99) WHERE fingerprint = 'v1-a'",
        "UPDATE version SET content = json_remove(content, '$.version.group.name') WHERE fingerprint = 'v1-a'",
        "UPDATE version SET state = 'splendid' WHERE fingerprint = 'v1-a'",
    ],
    ids=["no JSON", "another format", "a field is gone", "a newer state"],
)
def test_a_version_that_cannot_be_read_is_left_out_and_can_be_forgotten(tmp_path: Path, damage: str) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        fill(store)
        execute(tmp_path, damage)
        assert [record.version for record in store.versions("shop", "web")] == [B]
        assert [record.version for record in read_only(tmp_path, "shop").versions("shop", "web")] == [B]
        store.forget_version("shop", "web", "v1-a", 5.0, "")
        assert store.history("shop")[-1].fingerprint == "v1-a"


@pytest.mark.parametrize("open_meanwhile", [False, True], ids=["closed", "open elsewhere"])
def test_a_look_finds_all_that_is_remembered(tmp_path: Path, *, open_meanwhile: bool) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        fill(store)
        store.record([Intent("shop-2", "web", "local", "0", 0, None, "v1-abc", 1000.0)])
        store.note_version("shop-2", A, VersionState.GOOD, 1.0, "")
        if open_meanwhile:
            seen = read_only(tmp_path, "shop")
    if not open_meanwhile:
        seen = read_only(tmp_path, "shop")
    assert seen.intents("shop-2") == []
    assert seen.versions("shop-2", "web") == []
    with closing(SqliteStore(tmp_path)) as store:
        assert remembered(seen) == remembered(store)


def test_a_look_writes_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    assert remembered(read_only(directory, "shop"))[:-2] == [[], [], {}, {}, []]
    assert not directory.exists()
    with closing(SqliteStore(directory)) as store:
        fill(store)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}
    seen = read_only(directory, "shop")
    seen.note_version("shop", A, VersionState.UNDONE, 9.0, "")
    seen.pause("shop", "web", None)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()} == before


def test_a_look_at_the_file_of_the_first_release_finds_what_it_has(tmp_path: Path) -> None:
    execute(tmp_path, FIRST_SCHEMA)
    assert remembered(read_only(tmp_path, "shop")) == [[INTENT], [], {}, {}, [], 7, 8]


def test_a_look_at_an_empty_file_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    assert read_only(tmp_path, "shop").revision("shop", "digest", 1.0) == 1


def test_a_look_at_a_damaged_file_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError) as caught:
        read_only(tmp_path, "shop")
    assert "deleted" in (caught.value.hint or "")
