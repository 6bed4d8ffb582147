"""Who declares is killed with SIGKILL, between its writes and within them: the store stays whole, with all of it."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

import pytest

from infrakit_py.model.revision import HistoryEntry
from infrakit_py.stores.looking import read_only
from infrakit_py.stores.sqlite import SqliteStore
from infrakit_py.stores.transfer import require_whole
from tests.stores.material import occurrence_of, origin_of, source_of, spec_of

pytestmark = pytest.mark.crash

SEED: Final = 11
KILLS: Final = 15
LONGEST_LIFE_SECONDS: Final = 0.3
WAIT_SECONDS: Final = 60
CLUSTER: Final = "shop"


def _declare_for_ever(directory: Path, said: Path, begun: Event) -> None:
    """Declare specs whose size is their number, and write down each number once it was promised."""
    begun.set()
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with closing(SqliteStore(directory)) as store:
        while True:
            last = store.revisions(CLUSTER)[-1:]
            wanted = last[0].number + 1 if last else 1
            number = store.declare(spec_of(CLUSTER, wanted), origin_of(str(wanted)), float(wanted))
            os.write(descriptor, f"{number}\n".encode())
            store.note_source(source_of(shop=str(number)))
            store.note_occurrences([occurrence_of(number)])
            if number % 7 == 0:
                store.withdraw(CLUSTER, origin_of(str(wanted)), float(wanted), prune=True)


def _promised(said: Path) -> int:
    lines = said.read_text().splitlines() if said.exists() else []
    return int(lines[-1]) if lines else 0


@pytest.mark.long
@pytest.mark.slow
def test_whatever_moment_it_dies_at_all_that_was_promised_is_in_force_and_whole(tmp_path: Path) -> None:
    chance, context = random.Random(SEED), get_context("forkserver")
    directory, said = tmp_path / "state", tmp_path / "said"
    for _ in range(KILLS):
        begun = context.Event()
        process = context.Process(target=_declare_for_ever, args=(directory, said, begun))
        process.start()
        assert begun.wait(WAIT_SECONDS)
        process.join(chance.uniform(0.0, LONGEST_LIFE_SECONDS))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        if not (directory / "state.db").exists():
            continue
        read_only(directory, CLUSTER)
        with closing(SqliteStore(directory)) as store:
            _check(store, _promised(said))
    assert _promised(said) > KILLS, "it was killed so early that nothing was tried"


def _check(store: SqliteStore, promised: int) -> None:
    exported = store.dump(CLUSTER)
    require_whole(CLUSTER, exported)
    assert exported.left_out == 0
    numbers = [each.record.number for each in exported.revisions]
    assert numbers == [*range(1, len(numbers) + 1)]
    assert len(numbers) in (promised, promised + 1), "one may have been written and not been promised yet"
    if not numbers:
        return
    declared = store.declared()[CLUSTER]
    assert (declared.revision, declared.spec.groups["web"].size) == (numbers[-1], numbers[-1])
    assert declared.withdrawn <= (numbers[-1] % 7 == 0)
    assert store.declared_mark() >= numbers[-1]


class Deadly(tuple[HistoryEntry, ...]):
    """Lines whose reader dies over the last of them, within its transaction."""

    def __iter__(self) -> Iterator[HistoryEntry]:
        yield from super().__iter__()
        os.kill(os.getpid(), signal.SIGKILL)


def _restore_and_die(directory: Path) -> None:
    with closing(SqliteStore(directory)) as store:
        entry = HistoryEntry(1.0, "web", "good", 1, "linux", "", "v1-a")
        store.restore(CLUSTER, replace(store.dump("other"), intents=(), history=Deadly([entry] * 3)))


def test_a_restore_that_dies_half_way_leaves_all_that_was_there(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        store.declare(spec_of(CLUSTER), origin_of(), 1.0)
        before = store.dump(CLUSTER)
    process = get_context("forkserver").Process(target=_restore_and_die, args=(tmp_path,))
    process.start()
    process.join(WAIT_SECONDS)
    assert process.exitcode == -signal.SIGKILL
    with closing(SqliteStore(tmp_path)) as store:
        assert store.dump(CLUSTER) == before
        store.restore(CLUSTER, before)
