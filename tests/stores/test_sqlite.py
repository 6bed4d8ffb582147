"""The file of the default store: older ones are brought up to date, readers wait for nobody, and it stays small."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Final

import pytest

from infrakit_py.model.declared import Declared, RevisionRecord
from infrakit_py.model.fingerprint import spec_digest
from infrakit_py.model.instance import InstanceId
from infrakit_py.spi.store import Intent
from infrakit_py.stores.looking import read_only
from infrakit_py.stores.sqlite import SqliteStore
from infrakit_py.stores.tables import read_intents
from tests.stores.material import occurrence_of, origin_of, source_of, spec_of

WAIT_SECONDS: Final = 60
INTENT: Final = Intent("shop", "web", "local", "0", 0, None, "v1-abc", 1000.0)
SPEC: Final = spec_of()
KEPT: Final = 10_000
WITHOUT_CONTROLLERS: Final = f"""
CREATE TABLE intent (
    cluster TEXT NOT NULL, group_name TEXT NOT NULL, provider TEXT NOT NULL, slot TEXT NOT NULL,
    incarnation INTEGER NOT NULL, logical_id TEXT, fingerprint TEXT NOT NULL, since REAL NOT NULL, instance_id TEXT,
    gone INTEGER NOT NULL, ticket TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (cluster, group_name, provider, slot)
) STRICT;
CREATE TABLE revision (
    cluster TEXT NOT NULL, number INTEGER NOT NULL, spec_digest TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (cluster, number)
) STRICT;
INSERT INTO intent VALUES ('shop', 'web', 'local', '0', 0, NULL, 'v1-abc', 1000.0, NULL, 0, '');
INSERT INTO revision VALUES ('shop', 6, 'older', 1.0);
INSERT INTO revision VALUES ('shop', 7, '{spec_digest(SPEC)}', 2.0);
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path)) as opened:
        yield opened


def sql(directory: Path, script: str) -> None:
    with closing(sqlite3.connect(directory / "state.db")) as db:
        db.executescript(script)


class Held(list[Intent]):
    """Intents that are not all there before somebody lets them: whoever writes them is within its transaction."""

    def __init__(self, *intents: Intent) -> None:
        super().__init__(intents)
        self.asked_for = Event()
        self.let_go = Event()

    def __iter__(self) -> Iterator[Intent]:
        self.asked_for.set()
        assert self.let_go.wait(WAIT_SECONDS)
        return super().__iter__()


def test_a_reader_is_served_while_this_process_has_a_transaction_open(store: SqliteStore) -> None:
    store.record([INTENT])
    store.declare(SPEC, origin_of(), 1.0)
    held = Held(replace(INTENT, slot="1"))
    writer = Thread(target=store.record, args=(held,))
    writer.start()
    assert held.asked_for.wait(WAIT_SECONDS)
    try:
        assert store.intents("shop") == [INTENT]
        assert [*store.declared()] == ["shop"]
        assert (store.declared_mark(), len(store.revisions("shop"))) == (1, 1)
        assert store.dump("shop").intents == (INTENT,)
    finally:
        held.let_go.set()
        writer.join()
    assert len(store.intents("shop")) == 2


def test_a_reader_is_served_while_another_process_has_a_transaction_open(store: SqliteStore, tmp_path: Path) -> None:
    store.record([INTENT])
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        other.execute("DELETE FROM intent")
        assert store.intents("shop") == [INTENT]
        other.execute("ROLLBACK")


def test_a_reader_sees_what_was_just_written(store: SqliteStore) -> None:
    for slot in range(50):
        store.record([replace(INTENT, slot=str(slot))])
        assert len(store.intents("shop", "web")) == slot + 1


def test_a_dump_is_of_one_moment(store: SqliteStore, tmp_path: Path) -> None:
    """Each round writes an intent and a time of health in one transaction: never is one there without the other."""
    done = Event()

    def write() -> None:
        with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None, timeout=WAIT_SECONDS)) as other:
            for number in range(300):
                other.execute("BEGIN IMMEDIATE")
                other.execute("INSERT INTO healthy VALUES ('shop', ?, 1.0)", (f"i-{number}",))
                other.execute(
                    "INSERT INTO intent VALUES ('shop', 'web', 'local', ?, 0, NULL, 'v1', 1.0, NULL, 0, '')",
                    (str(number),),
                )
                other.execute("COMMIT")
        done.set()

    writer = Thread(target=write)
    writer.start()
    rounds = 0
    while not done.is_set():
        exported = store.dump("shop")
        assert len(exported.intents) == len(exported.healthy_since)
        rounds += 1
    writer.join()
    assert rounds > 1


def test_the_intents_of_a_group_are_found_by_an_index(store: SqliteStore, tmp_path: Path) -> None:
    asked: list[str] = []
    with closing(sqlite3.connect(tmp_path / "state.db")) as db:
        db.set_trace_callback(asked.append)
        read_intents(db, "shop", "web")
        plans = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {asked[-1]}")]
    assert len(plans) == 1
    assert "SEARCH intent USING INDEX" in plans[0]
    assert "cluster=? AND group_name=?" in plans[0]


def test_fifty_thousand_events_leave_ten_thousand_rows_and_a_file_that_does_not_grow(tmp_path: Path) -> None:
    def size() -> int:
        return sum(file.stat().st_size for file in tmp_path.iterdir())

    sizes = []
    with closing(SqliteStore(tmp_path)) as store:
        for first in range(0, 50_000, 250):
            store.note_occurrences([occurrence_of(number) for number in range(first, first + 250)])
            sizes.append(size())
            if first == 25_000:
                (last_before,) = store.occurrences(-1, limit=1)
    with closing(sqlite3.connect(tmp_path / "state.db")) as db:
        assert db.execute("SELECT count(*), max(number) FROM occurrence").fetchone() == (KEPT, 50_000)
    assert max(sizes) < 1.5 * max(sizes[: len(sizes) // 3])
    assert last_before[0] == 25_250


def test_numbers_of_events_grow_over_restarts_even_where_nothing_is_left(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        store.note_occurrences([occurrence_of(1)] * 3)
    sql(tmp_path, "DELETE FROM occurrence")
    with closing(SqliteStore(tmp_path)) as store:
        store.note_occurrences([occurrence_of(2)])
        assert [number for number, _ in store.occurrences()] == [4]


def test_all_of_it_survives_the_process(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        store.declare(SPEC, origin_of(), 1.0)
        store.note_source(source_of(shop="ab"))
        store.note_standings("shop", {"web": "{}"})
        store.note_occurrences([occurrence_of(1)])
        mark = store.declared_mark()
    with closing(SqliteStore(tmp_path)) as store:
        assert store.declared() == {"shop": Declared(SPEC, 1, origin_of(), 1.0)}
        assert store.sources() == {"git": source_of(shop="ab")}
        assert store.standings("shop") == {"web": "{}"}
        assert store.occurrences() == [(1, occurrence_of(1))]
        assert store.declared_mark() == mark


def test_one_process_sees_what_another_declares(store: SqliteStore, tmp_path: Path) -> None:
    mark = store.declared_mark()
    with closing(SqliteStore(tmp_path)) as other:
        other.declare(SPEC, origin_of(), 1.0)
    assert store.declared_mark() > mark
    assert [*store.declared()] == ["shop"]


def test_a_file_from_before_controllers_is_brought_up_to_date(tmp_path: Path) -> None:
    sql(tmp_path, WITHOUT_CONTROLLERS)
    with closing(SqliteStore(tmp_path)) as store:
        assert (store.intents("shop", "web"), store.declared()) == ([INTENT], {})
        assert store.revisions("shop") == [
            RevisionRecord(6, "older", 1.0),
            RevisionRecord(7, spec_digest(SPEC), 2.0),
        ]
        assert store.declare(SPEC, origin_of(), 3.0) == 7
        assert store.declare(spec_of(size=9), origin_of(), 4.0) == 8


def test_an_older_release_goes_on_with_a_newer_file(store: SqliteStore, tmp_path: Path) -> None:
    store.declare(SPEC, origin_of(), 1.0)
    sql(tmp_path, "INSERT INTO revision VALUES ('shop', 2, 'by an older release', 2.0)")
    assert store.declared()["shop"].revision == 1
    assert [record.number for record in store.revisions("shop")] == [1, 2]
    assert store.revision("shop", "by an older release", 3.0) == 2


@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "open elsewhere"])
def test_a_look_gives_the_number_that_is_in_force(tmp_path: Path, *, is_open: bool) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        store.declare(SPEC, origin_of(), 1.0)
        store.revision("shop", "applied", 2.0)
        seen = read_only(tmp_path, "shop")
    seen = seen if is_open else read_only(tmp_path, "shop")
    assert seen.revision("shop", spec_digest(SPEC), 3.0) == 1
    assert seen.revision("shop", "applied", 3.0) == 2
    assert seen.revision("shop", "another", 3.0) == 3


def test_a_look_at_a_file_from_before_controllers_finds_what_it_has(tmp_path: Path) -> None:
    sql(tmp_path, WITHOUT_CONTROLLERS)
    before = (tmp_path / "state.db").read_bytes()
    seen = read_only(tmp_path, "shop")
    assert (seen.intents("shop"), seen.revision("shop", spec_digest(SPEC), 3.0)) == ([INTENT], 7)
    assert (tmp_path / "state.db").read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE declaration SET content = json_set(content, '$.format', 99)",
        "UPDATE declaration SET content = json_remove(content, '$.value.groups.web.name')",
        "UPDATE declaration SET content = NULL",
        "UPDATE in_force SET origin = json_set(origin, '$.value.kind', 'oracle')",
    ],
    ids=["another format", "a field is gone", "no content", "a newer kind of source"],
)
def test_what_cannot_be_read_is_left_out_and_told_and_can_be_declared_again(
    store: SqliteStore, tmp_path: Path, damage: str
) -> None:
    store.declare(SPEC, origin_of(), 1.0)
    store.declare(spec_of("shop-2"), origin_of(), 1.0)
    sql(tmp_path, f"{damage} WHERE cluster = 'shop'")
    assert [*store.declared()] == ["shop-2"]
    exported = store.dump("shop")
    assert exported.in_force is None
    assert exported.left_out > 0
    assert store.declare(SPEC, origin_of("later"), 2.0, expected=1) == 1
    assert store.declared()["shop"] == Declared(SPEC, 1, origin_of("later"), 1.0)


def test_unreadable_sources_and_numbers_are_left_out(store: SqliteStore, tmp_path: Path) -> None:
    store.note_source(source_of("git"))
    store.note_source(source_of("files"))
    store.declare(SPEC, origin_of(), 1.0)
    store.declare(spec_of(size=9), origin_of(), 1.0)
    sql(
        tmp_path,
        "UPDATE source SET content = '{' WHERE name = 'git'; UPDATE declaration SET origin = '' WHERE number = 1",
    )
    assert [*store.sources()] == ["files"]
    assert [record.number for record in store.revisions("shop")] == [2]


def test_the_content_of_specs_is_the_only_place_of_their_secrets(store: SqliteStore, tmp_path: Path) -> None:
    store.declare(SPEC, origin_of(), 1.0)
    store.note_healthy("shop", {InstanceId("i-1"): 1.0})
    with closing(sqlite3.connect(tmp_path / "state.db")) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        holding = [
            table for table in tables if "secret" in json.dumps(db.execute(f"SELECT * FROM {table}").fetchall())
        ]
    assert holding == ["declaration"]
