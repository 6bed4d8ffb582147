"""The audit finds what it looks for, in pasts that were made up."""

from math import inf

import pytest

from tests.ha.audit import Pause, Told, above, below_floor, deeds, intrusions, overlaps, twins
from tests.ha.ledger import Change, Life, What
from tests.ha.owners import Reign

REIGNS = (Reign("c", "m0", 5, 0.0, 10.0), Reign("c", "m1", 9, 10.2, inf))


def change(number: int, at: float) -> Change:
    return Change(number, at, What.CREATED, f"i-{number}", "c", "web", f"web-{number}")


def told(member: str, number: int, begin: float, end: float | None) -> list[Told]:
    """Return what a controller says of a creation; nothing afterwards where it was killed."""
    about = [Told(member, begin, "creating", "c", "web", f"web-{number}")]
    done = [Told(member, end, "created", "c", "web", f"web-{number}", f"i-{number}")] if end is not None else []
    return about + done


def found(changes: list[Change], said: list[Told], *pauses: Pause) -> int:
    return len(intrusions(deeds(changes, said), REIGNS, pauses))


def test_each_of_two_owners_may_act_in_its_time() -> None:
    said = told("m0", 1, 2.9, 3.1) + told("m1", 2, 10.9, 11.1)
    assert found([change(1, 3.0), change(2, 11.0)], said) == 0


@pytest.mark.parametrize("at", [12.0, 10.5], ids=["long after", "just after"])
def test_who_acts_after_its_time_is_found(at: float) -> None:
    assert found([change(1, at)], told("m0", 1, at - 0.1, at + 0.1)) == 1


def test_who_acts_between_two_acts_of_its_successor_is_found() -> None:
    said = told("m1", 1, 10.3, 10.4) + told("m0", 2, 10.3, 10.5) + told("m1", 3, 10.5, 10.6)
    assert found([change(1, 10.35), change(2, 10.45), change(3, 10.55)], said) == 1


def test_who_never_owned_it_is_found() -> None:
    assert found([change(1, 5.0)], told("m2", 1, 4.9, 5.1)) == 1


def test_what_nobody_says_to_have_done_has_no_doer() -> None:
    (act,) = deeds([change(1, 5.0)], told("m0", 2, 4.9, 5.1))
    assert act.since == {}
    assert intrusions([act], REIGNS, ()) != []


def test_what_was_begun_by_who_was_killed_is_its_doing() -> None:
    assert found([change(1, 9.0)], told("m0", 1, 8.9, None)) == 0


@pytest.mark.parametrize(("begin", "counts"), [(9.9, 0), (14.0, 1)], ids=["before it stood still", "afterwards"])
def test_a_call_may_end_late_only_if_it_was_under_way_when_its_process_stood_still(begin: float, counts: int) -> None:
    assert found([change(1, 14.1)], told("m0", 1, begin, 14.2), Pause("m0", 9.95, 13.9)) == counts


def test_a_call_that_waits_too_long_while_its_process_runs_is_found() -> None:
    assert found([change(1, 12.5)], told("m0", 1, 9.9, 12.6)) == 1


def test_owners_at_once_are_found() -> None:
    assert overlaps(REIGNS) == []
    assert len(overlaps((*REIGNS, Reign("c", "m2", 11, 12.0)))) == 1


def life(number: int, created: float, ready: float, gone: float = inf, slot: str = "") -> Life:
    return Life(f"i-{number}", "c", "web", slot or str(number), "0", "a1", created, ready, gone)


def test_too_few_and_too_many_machines_are_found() -> None:
    lives = [life(1, 0.0, 1.0, 5.0), life(2, 0.0, 1.0), life(3, 4.0, 5.5)]
    assert below_floor(lives, {"c": 2}, 2.0) == ["c has 1 at 5.000"]
    assert below_floor(lives, {"c": 1}, 2.0) == []
    assert above(lives, {"c": 2}) == ["c has 3 at 4.000"]
    assert above(lives, {"c": 3}) == []


def test_a_cluster_without_any_machine_is_below_its_floor() -> None:
    assert below_floor([life(1, 0.0, 1.0, 5.0)], {"c": 1}, 2.0) == ["c has 0 at 5.000"]


def test_machines_of_one_slot_and_incarnation_are_found() -> None:
    assert twins([life(1, 0.0, 1.0), life(2, 0.0, 1.0)]) == []
    assert len(twins([life(1, 0.0, 1.0, slot="7"), life(2, 0.0, 1.0, slot="7")])) == 1
