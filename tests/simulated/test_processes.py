"""Several processes use one cloud, and may be killed at any instruction."""

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from threading import Timer

import pytest

from infrakit_py.model import tags
from infrakit_py.spi.provider import DestroyRequest
from tests.simulated.processes import CAPACITY, open_shared, start
from tests.simulated.worlds import errors, open_world, request


def test_processes_that_start_at_once_with_the_same_tokens_share_the_machines(tmp_path: Path) -> None:
    processes = [start("same_tokens", tmp_path) for _ in range(4)]
    answers = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert answers[0] == answers[1] == answers[2] == answers[3]
    world = open_shared(tmp_path)
    assert sorted(world.listed()) == sorted(answers[0])
    assert len(set(answers[0])) == 50
    world.provider.close()


def test_a_cloud_that_another_process_is_just_making_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "sim.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE something (of_theirs)")
        other.execute("BEGIN IMMEDIATE")
        done = Timer(0.1, lambda: other.execute("ROLLBACK"))  # SQLite waits in real time only
        done.start()
        world = open_world({}, path=path)
        done.join()
    assert world.boot(0) == world.listed()
    world.provider.close()


@pytest.mark.crash
def test_a_cloud_whose_processes_are_killed_stays_whole(tmp_path: Path) -> None:
    chance = random.Random(7)
    for round_ in range(6):
        processes = [start("churn", tmp_path, number) for number in range(2)]
        for process in processes:
            assert process.stdout and process.stdout.readline() == "begun\n", f"round {round_}: did not start"
        time.sleep(chance.uniform(0.0, 0.15))
        for process in processes:
            process.kill()
            process.communicate()
    world = open_shared(tmp_path)
    machines = world.provider.describe("c")
    tokens = [machine.tags[tags.TOKEN] for machine in machines]
    assert len(set(tokens)) == len(tokens), "a token made two machines"
    assert all(set(machine.tags) == set(request(0).tags) for machine in machines), "a machine lacks tags"
    free = CAPACITY - len(machines)
    outcomes = world.provision(*range(CAPACITY))
    assert errors(outcomes) == [""] * free + ["NoCapacity"] * len(machines), "capacity leaked"
    alive = world.provider.describe("c")
    world.provider.destroy([DestroyRequest(one.id, "c", one.tags[tags.GROUP]) for one in alive])
    assert errors(world.provision(*range(CAPACITY), incarnation=1)) == [""] * CAPACITY, "capacity never came back"
    world.provider.close()
