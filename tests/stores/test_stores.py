"""Every store keeps the same promises."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from infrakit_py.errors import ClusterLocked, StoreError
from infrakit_py.model.instance import InstanceId
from infrakit_py.spi.store import Intent, Store
from infrakit_py.stores.sqlite import SqliteStore, state_directory

INTENT = Intent("shop", "web", "local", "0", 0, None, "v1-abc", 1000.0)


def test_what_is_recorded_comes_back(store: Store) -> None:
    answered = replace(INTENT, slot="1", instance_id=InstanceId("i-1"), logical_id="db-1", gone=True)
    store.record([INTENT, answered])
    assert sorted(store.intents("shop"), key=lambda intent: intent.slot) == [INTENT, answered]


def test_clusters_do_not_see_each_other(store: Store) -> None:
    store.record([INTENT, replace(INTENT, cluster="shop-2")])
    assert store.intents("shop") == [INTENT]
    assert store.intents("sho") == []


def test_groups_have_their_intents_apart(store: Store) -> None:
    others = replace(INTENT, group="web-2"), replace(INTENT, group="we"), replace(INTENT, cluster="shop-2")
    store.record([INTENT, *others])
    assert store.intents("shop", "web") == [INTENT]
    assert store.intents("shop", "web-2") == [others[0]]
    assert store.intents("shop", "db") == []
    assert len(store.intents("shop")) == 3


def test_a_slot_has_one_intent(store: Store) -> None:
    later = replace(INTENT, incarnation=1, since=2000.0)
    store.record([INTENT])
    store.record([later])
    assert store.intents("shop") == [later]


def test_only_what_still_stands_is_forgotten(store: Store) -> None:
    later = replace(INTENT, incarnation=1, since=2000.0)
    store.record([later])
    store.forget([INTENT])
    assert store.intents("shop") == [later]
    store.forget([later])
    store.forget([later])
    assert store.intents("shop") == []


def test_a_revision_moves_with_the_spec_and_not_without(store: Store) -> None:
    assert [store.revision("shop", digest, 1.0) for digest in ("a", "a", "b", "a")] == [1, 1, 2, 3]
    assert store.revision("other", "a", 1.0) == 1


def test_a_cluster_is_held_once(store: Store) -> None:
    with store.exclusive("shop"):
        with pytest.raises(ClusterLocked), store.exclusive("shop"):
            pass
        with store.exclusive("other"):
            pass
    with store.exclusive("shop"):
        pass


def test_what_is_recorded_survives_the_process(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path)
    first.record([INTENT])
    first.close()
    second = SqliteStore(tmp_path)
    assert second.intents("shop") == [INTENT]
    second.close()


def test_a_damaged_file_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError) as caught:
        SqliteStore(tmp_path)
    assert caught.value.hint is not None
    assert "deleted" in caught.value.hint


def test_trap_8_a_killed_holder_keeps_nobody_out(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib; from infrakit_py.stores.sqlite import SqliteStore\n"
        "store = SqliteStore(pathlib.Path(sys.argv[1]))\n"
        "with store.exclusive('shop'): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        store = SqliteStore(tmp_path)
        with pytest.raises(ClusterLocked, match=f"pid {holder.pid}"), store.exclusive("shop"):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with store.exclusive("shop"):
        pass
    store.close()


def _record_many(directory: Path, group: str) -> None:
    store = SqliteStore(directory)
    for number in range(50):
        store.record([replace(INTENT, group=group, slot=str(number))])
    store.close()


def test_processes_write_side_by_side(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_record_many, args=(tmp_path, name)) for name in ("a", "b", "c")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    store = SqliteStore(tmp_path)
    assert len(store.intents("shop")) == 150
    store.close()


def test_the_file_holds_no_more_than_what_is_remembered(tmp_path: Path) -> None:
    SqliteStore(tmp_path).close()
    db = sqlite3.connect(tmp_path / "state.db")
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    db.close()
    assert tables == {
        *("intent", "version", "history", "pause", "healthy"),
        *("revision", "declaration", "in_force", "mark"),
        *("source", "standing", "occurrence", "sqlite_sequence"),
    }


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"INFRAKIT_STATE_DIR": "/a"}, Path("/a")),
        ({"XDG_STATE_HOME": "/b"}, Path("/b/infrakit-py")),
        ({}, Path.home() / ".local/state/infrakit-py"),
    ],
    ids=["own", "xdg", "home"],
)
def test_state_lives_where_the_environment_says(environment: dict[str, str], expected: Path) -> None:
    assert state_directory(environment) == expected
