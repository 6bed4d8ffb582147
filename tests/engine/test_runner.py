"""Lanes that hang, on real threads. Nothing here waits for time to pass."""

from functools import partial
from threading import Event as Flag
from threading import Lock, Thread

import pytest

from infrakit_py.engine.runner import InlineRunner, Runner, ThreadRunner

PATIENCE = 20.0


class Gate:
    """Calls that do not end before they are let go. It knows how many of them have begun."""

    def __init__(self, expected: int) -> None:
        self._lock = Lock()
        self._expected = expected
        self.begun = 0
        self.full = Flag()
        self.let_go = Flag()

    def pass_through(self) -> None:
        with self._lock:
            self.begun += 1
            if self.begun == self._expected:
                self.full.set()
        assert self.let_go.wait(PATIENCE)


def test_a_lane_may_take_all_there_is_and_no_more() -> None:
    runner, gate = ThreadRunner(4), Gate(4)
    for _ in range(9):
        runner.start(gate.pass_through, "slow")
    assert gate.full.wait(PATIENCE)
    assert gate.begun == 4
    gate.let_go.set()
    runner.close()
    assert gate.begun == 9


def test_a_lane_that_hangs_keeps_no_other_waiting() -> None:
    runner, gate = ThreadRunner(4), Gate(4)
    for _ in range(50):
        runner.start(gate.pass_through, "slow")
    assert gate.full.wait(PATIENCE)
    ran = [Flag() for _ in range(20)]
    for flag in ran:
        runner.start(flag.set, "quick")
    assert all(flag.wait(PATIENCE) for flag in ran)
    assert gate.begun == 4
    gate.let_go.set()
    runner.close()
    assert gate.begun == 50


def test_calls_that_hang_keep_none_of_another_lane_waiting() -> None:
    runner, gate = ThreadRunner(2), Gate(2)
    slow = Thread(target=runner.map, args=([gate.pass_through] * 2, 2, "slow"))
    slow.start()
    assert gate.full.wait(PATIENCE)
    assert runner.map([lambda: 1, lambda: 2, lambda: 3], 8, "quick") == [1, 2, 3]
    gate.let_go.set()
    slow.join()
    runner.close()


@pytest.mark.parametrize("runner", [InlineRunner(), ThreadRunner(3)], ids=["inline", "threads"])
def test_results_come_in_order_and_an_error_comes_where_they_are_asked_for(runner: Runner) -> None:
    def fail() -> int:
        raise LookupError("no")

    assert runner.map([partial(pow, n, 2) for n in range(20)], 4) == [n * n for n in range(20)]
    with pytest.raises(LookupError, match="no"):
        runner.map([lambda: 1, fail], 2)
    runner.close()


def test_what_was_begun_and_what_waits_has_run_when_it_is_closed() -> None:
    runner, ran = ThreadRunner(2), list[int]()
    for number in range(200):
        runner.start(partial(ran.append, number), f"lane {number % 7}")
    runner.close()
    assert sorted(ran) == list(range(200))
