"""Where Compute Engine has no more, or takes back what it gave: the real engine and provider, in virtual time.

Compute Engine accepts nearly every insert, and fails the operation later.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from infrakit_providers.gcp.names import name_of
from infrakit_py.cli.options import configure_logging
from infrakit_py.clock import VirtualClock
from infrakit_py.engine.converge import End
from infrakit_py.engine.engine import Phase
from infrakit_py.engine.events import Event, EventKind
from infrakit_py.model import tags
from infrakit_py.stores.memory import MemoryStore
from tests.driving.inline import engine_of
from tests.driving.regions import Region
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.fakes.gce.tables import OpError
from tests.gcp.driving import GCP, db, members, web
from tests.gcp.ground import credentials

BOOT_SECONDS: Final = 20.0
AT_ONCE_SECONDS: Final = 15.0
"""What an operation takes to fail, until that is seen, and until the next try."""
MEMORY: Final = {"capacity_memory": "3m"}
TYPES: Final = {"machine_types": ["e2-small", "e2-medium"]}
ONE_ZONE: Final = {"zones": ["europe-west1-b"]}
SPOT: Final = {"provisioning": "spot"}
Opens = Callable[..., Region[FakeGCE]]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    configure_logging(logging.CRITICAL)


@pytest.fixture
def opens(tmp_path: Path) -> Iterator[Opens]:
    with ExitStack() as stack:

        def open_(lag: int = 0, **settings: Any) -> Region[FakeGCE]:
            clock = VirtualClock()
            chosen = FakeSettings(
                **{"boot_seconds": BOOT_SECONDS, "delete_seconds": 30, "listing_lag": lag, **settings}
            )
            fake = FakeGCE(chosen, clock)
            stack.enter_context(fake)
            stack.enter_context(credentials(fake.url, fake.credentials))
            stack.callback(lambda: _no_mistakes(fake))
            return Region(GCP, fake, clock, tmp_path, {**MEMORY, "listing_lag": f"{lag}s"})

        yield open_


def _no_mistakes(fake: FakeGCE) -> None:
    assert fake.mistakes == []


def zones(region: Region[FakeGCE], group: str = "web") -> dict[str, int]:
    return dict(sorted(Counter(one.zone[-1] for one in members(region.fake, group)).items()))


def types(region: Region[FakeGCE]) -> dict[str, int]:
    return dict(Counter(one.type.name for one in members(region.fake, "web")))


def inserts(region: Region[FakeGCE]) -> int:
    return region.fake.calls["instances.insert"] + region.fake.calls["instances.bulkInsert"]


def place(slot: int, incarnation: int = 0) -> str:
    """Return the name of the machine that has a slot of `web`."""
    own = {tags.CLUSTER: "shop", tags.GROUP: "web", tags.SLOT: str(slot), tags.INCARNATION: str(incarnation)}
    return name_of(own)


def fail_later(fake: FakeGCE, name: str, code: str, message: str) -> None:
    """Let the insert of an instance, which was accepted, end in an error a moment later."""
    with fake.world.lock:
        one = fake.find(name)
        assert one.insert is not None
        one.insert.errors = (OpError(code, message, 400, "BAD REQUEST"),)
        one.insert.ends_at = fake.world.now() + 1
        fake.world.later(one.insert.ends_at, partial(fake.world.release, one))


# Machines that a zone does not have.


@pytest.mark.parametrize("size", [6, 2], ids=["made together", "made alone"])
def test_a_type_that_a_zone_has_none_of_gives_way_to_the_next_type(size: int, opens: Opens) -> None:
    region = opens(capacity={"b": {"e2-small": 0, "e2-medium": 99}, "c": 0, "d": 0})
    began = region.clock.now()
    region.converge(web=web(size, machine={**TYPES, **ONE_ZONE}))
    assert types(region) == {"e2-medium": size}
    assert region.clock.now() - began < BOOT_SECONDS + AT_ONCE_SECONDS


@pytest.mark.parametrize("details", [False, True], ids=["in short", "with details"])
def test_a_zone_that_turns_out_to_have_nothing_gives_way_to_the_others(details: bool, opens: Opens) -> None:
    region = opens(capacity={"b": 0}, stockout_details=details)
    began = region.clock.now()
    region.converge(web=web(6))
    assert zones(region) == {"c": 3, "d": 3}
    assert region.clock.now() - began < BOOT_SECONDS + AT_ONCE_SECONDS


def test_a_zone_that_says_at_once_that_it_has_nothing_gives_way_to_the_others(opens: Opens) -> None:
    region = opens(capacity={"b": 0}, bulk_stockout_answer="request")
    region.converge(web=web(6))
    assert zones(region) == {"c": 3, "d": 3}
    assert inserts(region) <= 5


def test_what_a_zone_had_none_of_is_not_asked_for_again_until_its_memory_ends(opens: Opens) -> None:
    region = opens(capacity={"b": 0})
    with engine_of(region.app, region.write(web=web(3)), region.store, endless=True) as engine:
        region.keep(engine, 90)
        assert zones(region) == {"c": 2, "d": 1} or zones(region) == {"c": 1, "d": 2}
        tried = inserts(region)
        region.fake.set_capacity("b", None)
        region.fake.delete(members(region.fake, "web")[0].name)
        region.keep(engine, 60)
        assert inserts(region) == tried + 1, "it asked where there was none a minute ago"
        assert "b" not in zones(region)
        region.keep(engine, 150)
        region.fake.delete(members(region.fake, "web")[0].name)
        region.keep(engine, 90)
        assert zones(region)["b"] == 1


def test_no_room_anywhere_is_waited_for_and_named(opens: Opens) -> None:
    region = opens(capacity={"b": 0, "c": 0, "d": 0})
    with engine_of(region.app, region.write(web=web(30)), region.store, endless=True) as engine:
        region.keep(engine, 600)
        status = engine.statuses()["web"]
        assert "ZONE_RESOURCE_POOL_EXHAUSTED" in status.reason, status
        assert inserts(region) < 60, "it asks for each machine by itself, again and again"
        for zone in "bcd":
            region.fake.set_capacity(zone, None)
        region.keep(engine, 400)
        assert zones(region) == {"b": 10, "c": 10, "d": 10}


def test_a_zone_that_has_three_left_and_is_asked_for_ten_gives_its_three(opens: Opens) -> None:
    region = opens(capacity={"b": 3, "c": 0, "d": 0})
    with engine_of(region.app, region.write(web=web(30)), region.store, endless=True) as engine:
        region.keep(engine, 300)
    assert zones(region) == {"b": 3}


def test_what_a_zone_cannot_give_of_many_comes_from_the_others(opens: Opens) -> None:
    region = opens(capacity={"b": 3})
    began = region.clock.now()
    region.converge(web=web(30))
    assert zones(region)["b"] == 3
    assert region.clock.now() - began < BOOT_SECONDS + AT_ONCE_SECONDS


def test_addresses_that_run_out_are_named(opens: Opens) -> None:
    region = opens(subnet_bits=29)
    with engine_of(region.app, region.write(web=web(10)), region.store, endless=True) as engine:
        region.keep(engine, 100)
        assert "IP_SPACE_EXHAUSTED" in engine.statuses()["web"].reason
    assert len(members(region.fake, "web")) == 4


def test_a_process_that_dies_before_an_operation_fails_leaves_nothing_undone(opens: Opens) -> None:
    region = opens(capacity={"b": 0})
    path = region.write(web=web(6))
    with engine_of(region.app, path, region.store) as engine:
        engine.step()
        assert zones(region) == {"b": 2, "c": 2, "d": 2}, "they are accepted, and some of them doomed"
    region.converge(web=web(6))
    assert zones(region) == {"c": 3, "d": 3}


def test_a_process_that_dies_after_an_operation_has_failed_leaves_nothing_undone(opens: Opens) -> None:
    region = opens(capacity={"b": 0})
    path = region.write(web=web(6))
    with engine_of(region.app, path, region.store) as engine:
        engine.step()
    region.clock.sleep(10)
    region.converge(web=web(6))
    assert zones(region) == {"c": 3, "d": 3}


@pytest.mark.parametrize("size", [6, 3], ids=["made together", "made alone"])
def test_an_operation_that_fails_for_another_reason_stops_the_group_with_its_cause(size: int, opens: Opens) -> None:
    region = opens()
    told: list[Event] = []
    path = region.write(web=web(size))
    with engine_of(region.app, path, region.store, told.append, endless=True) as engine:
        engine.step()
        fail_later(region.fake, place(0), "EXTERNAL_RESOURCE_NOT_FOUND", "The resource 'lock' was not to be had.")
        region.keep(engine, 200)
    failures = [event.text for event in told if event.kind is EventKind.FAILED]
    assert failures, told
    assert all("EXTERNAL_RESOURCE_NOT_FOUND: The resource 'lock' was not to be had." in one for one in failures)
    assert all("cannot create web-0 (" in one for one in failures), "the others have not failed"
    assert region.faults(web=web(size)) == [], "it was told once, and tried again"


# What the project may not have.


@pytest.mark.parametrize("answer", ["operation", "request"])
@pytest.mark.parametrize("size", [6, 3], ids=["made together", "made alone"])
def test_a_quota_stops_the_group_and_is_named_and_not_tried_again(size: int, answer: str, opens: Opens) -> None:
    region = opens(quotas={"CPUS": 1}, quota_answer=answer)
    settled = region.apply(web=web(size))
    assert settled.end is End.FAILED
    status = settled.groups["web"]
    assert status.phase is Phase.FAILED
    assert "Quota 'CPUS' exceeded" in status.reason
    assert "higher quota" in status.hint
    assert inserts(region) <= 3
    assert members(region.fake, "web") == []


def test_a_quota_that_is_enough_for_some_stops_the_group_with_those(opens: Opens) -> None:
    region = opens(quotas={"INSTANCES": 4})
    settled = region.apply(web=web(9, machine=ONE_ZONE))
    assert settled.end is End.FAILED
    assert "Quota 'INSTANCES' exceeded" in settled.groups["web"].reason
    assert len(members(region.fake, "web")) == 4
    assert inserts(region) == 1


def test_a_quota_of_one_group_holds_up_no_other(opens: Opens) -> None:
    region = opens(quotas={"N2_CPUS": 4})
    dear = {"machine_types": "n2-standard-2"}
    settled = region.apply(small=web(4), large=web(9, machine=dear))
    assert settled.groups["small"].phase is Phase.CONVERGED
    assert settled.groups["large"].phase is Phase.FAILED
    assert len(members(region.fake, "small")) == 4


# Names that somebody else has.


@pytest.mark.parametrize("size", [6, 3], ids=["made together", "made alone"])
def test_a_name_that_somebody_else_has_is_told_and_theirs_is_left_alone(size: int, opens: Opens) -> None:
    region = opens()
    taken = [region.fake.make_foreign(place(0), zone=zone) for zone in "bcd"]
    theirs = [one.id for one in region.fake.instances()]
    settled = region.apply(web=web(size))
    assert settled.end is End.FAILED
    assert taken[0] in settled.groups["web"].reason
    assert "somebody else's" in settled.groups["web"].reason
    there = region.fake.instances()
    assert {one.id for one in there} >= set(theirs)
    assert len(there) == len(theirs) + size - 1, "the others were made all the same"


def test_a_name_that_turns_out_to_be_somebody_elses_is_given_up_and_theirs_is_left_alone(opens: Opens) -> None:
    region = opens(bulk_taken_answer="operation")
    for zone in "bcd":
        region.fake.make_foreign(place(0), zone=zone)
    theirs = [one.id for one in region.fake.instances()]
    settled = region.apply(web=web(6))
    assert settled.end is End.CONVERGED
    assert place(0) not in {one.name for one in members(region.fake, "web")}
    assert {one.id for one in region.fake.instances()} >= set(theirs)


@pytest.mark.parametrize(
    ("before", "after"),
    [(web(6), web(5, "v2")), (web(2), web(1, "v2")), (db("db-1"), db("db-1", image="v2"))],
    ids=["made together", "made alone", "named"],
)
def test_a_copy_of_a_machine_with_its_labels_is_neither_counted_nor_destroyed(
    before: dict[str, Any], after: dict[str, Any], opens: Opens
) -> None:
    region = opens()
    region.converge(web=before)
    copied = members(region.fake, "web")[0].name
    region.fake.clone(copied, "copy")
    assert region.apply(web=before).end is End.CONVERGED
    assert copied in region.fake.names("RUNNING")
    assert region.apply(web=after).end is End.CONVERGED
    assert region.fake.state_of("copy") == "RUNNING"
    assert len(members(region.fake, "web")) == len(after.get("logical_ids", ())) + after.get("size", 0) + 1


def test_a_name_that_is_given_again_says_nothing_of_the_machine_that_had_it(opens: Opens) -> None:
    """Whoever has lost the journal begins to count the machines of a slot anew; a name is an id."""
    region = opens(delete_seconds=0)
    region.converge(web=web(4, machine=ONE_ZONE))
    after = web(4, "v2", machine=ONE_ZONE, rollout={"max_surge": 2, "max_unavailable": 0})
    with engine_of(region.app, region.write(web=after), region.store) as engine:
        engine.step()
    region.clock.sleep(BOOT_SECONDS)
    region.store = MemoryStore()
    before = set(region.fake.names())
    region.converge(web=after)
    assert {one.name for one in members(region.fake, "web")} & before - {place(4), place(5)}, "none was given again"


# Even over zones.


@pytest.mark.parametrize("sizes", [(7,), (2, 5, 10, 11), (9, 3, 8)], ids=str)
def test_trap_28_a_group_is_spread_evenly_over_zones_as_it_grows_and_shrinks(
    sizes: tuple[int, ...], opens: Opens
) -> None:
    region = opens()
    for size in sizes:
        region.converge(web=web(size))
        counts = [zones(region).get(zone, 0) for zone in "bcd"]
        assert max(counts) - min(counts) <= 1, counts


def test_trap_28_two_batches_at_once_see_one_another(opens: Opens) -> None:
    """Replacements and growth are asked for by one tick in several calls; other groups by other ticks."""
    region = opens(lag=10)
    region.apply(web=web(4), api=web(5))
    rollout = {"max_surge": 4}
    settled = region.apply(web=web(8, "v2", rollout=rollout), api=web(10, "v2", rollout=rollout))
    assert settled.end is End.CONVERGED
    for group in ("web", "api"):
        counts = zones(region, group).values()
        assert max(counts) - min(counts) <= 1, zones(region, group)


def test_trap_28_a_replacement_keeps_zones_even(opens: Opens) -> None:
    region = opens()
    region.converge(web=web(6))
    region.converge(web=web(6, "v2", rollout={"max_surge": 1}))
    assert zones(region) == {"b": 2, "c": 2, "d": 2}


def test_a_thousand_machines_are_made_by_two_bulk_inserts_a_zone_at_most(opens: Opens) -> None:
    region = opens()
    with engine_of(region.app, region.write(web=web(1000)), region.store) as engine:
        engine.step()
        region.clock.sleep(BOOT_SECONDS)
        engine.step()
    assert sorted(zones(region).values()) == [333, 333, 334]
    assert len(members(region.fake, "web", "RUNNING")) == 1000
    assert region.fake.calls["instances.bulkInsert"] <= 6
    assert region.fake.calls["instances.insert"] == 0


# What Google takes back.


@pytest.mark.parametrize("interruption", ["delete", "stop"])
def test_a_machine_that_is_preempted_is_replaced_while_it_goes(interruption: str, opens: Opens) -> None:
    region = opens()
    group = web(4, machine={**SPOT, "interruption": interruption})
    region.converge(web=group)
    assert all(one.spot for one in members(region.fake, "web"))
    with engine_of(region.app, region.write(web=group), region.store, endless=True) as engine:
        region.keep(engine, 60)
        taken = members(region.fake, "web")[0]
        region.fake.preempt(taken.name)
        region.keep(engine, 28)
        assert region.fake.state_of(taken.id) == "STOPPING", "it has half a minute"
        assert len(members(region.fake, "web", "RUNNING")) == 4, "its successor runs already"
        region.keep(engine, 200)
    assert region.fake.state_of(taken.id) == ""
    assert region.faults(web=group) == []
    assert min(region.ready) >= 3


def test_a_machine_whose_host_is_to_be_maintained_is_replaced_and_the_floor_is_kept(opens: Opens) -> None:
    region = opens()
    group = web(3, rollout={"max_surge": 1, "max_unavailable": 0})
    region.converge(web=group)
    with engine_of(region.app, region.write(web=group), region.store, endless=True) as engine:
        region.keep(engine, 60)
        doomed = members(region.fake, "web")[0]
        region.fake.schedule_maintenance(doomed.name)
        region.ready.clear()
        region.keep(engine, 300)
    assert region.fake.state_of(doomed.id) == ""
    assert region.faults(web=group) == []
    assert min(region.ready) >= 3, "it went before its successor came"
    assert max(region.ready) <= 4, "more than the surge"


def test_a_machine_that_google_repairs_for_a_moment_stays(opens: Opens) -> None:
    region = opens()
    region.converge(web=web(3))
    with engine_of(region.app, region.write(web=web(3)), region.store, endless=True) as engine:
        region.keep(engine, 60)
        before = [one.id for one in members(region.fake, "web")]
        region.fake.sicken(members(region.fake, "web")[0].name)
        region.keep(engine, 20)
        region.fake.sicken(members(region.fake, "web")[0].name, sick=False)
        region.keep(engine, 300)
    assert [one.id for one in members(region.fake, "web")] == before


def test_a_machine_that_google_does_not_get_repaired_is_replaced(opens: Opens) -> None:
    region = opens()
    region.converge(web=web(3))
    with engine_of(region.app, region.write(web=web(3)), region.store, endless=True) as engine:
        region.keep(engine, 60)
        sick = members(region.fake, "web")[0]
        region.fake.sicken(sick.name)
        region.keep(engine, 1200)
    assert region.fake.state_of(sick.id) == ""
    assert region.faults(web=web(3)) == []


# What a person protects.


def test_trap_24_a_machine_that_a_person_protected_stays_and_keeps_no_other(opens: Opens) -> None:
    region = opens()
    region.converge(web=web(6, machine=ONE_ZONE))
    protected = members(region.fake, "web")[:2]  # of them at least one is among the five that shall go
    for one in protected:
        one.protected, one.written = True, None
    settled = region.apply(web=web(1, machine=ONE_ZONE))
    assert settled.end is End.FAILED
    assert "protected against deletion" in settled.groups["web"].reason
    there = {one.id for one in members(region.fake, "web")}
    ids = {one.id for one in protected}
    assert ids <= there
    assert len(there - ids) <= 1, "it kept others of its batch from going"


def test_what_the_spec_protects_goes_when_the_spec_says_so(opens: Opens) -> None:
    region = opens()
    machine = {**ONE_ZONE, "deletion_protection": True}
    region.converge(web=web(4, machine=machine))
    assert all(one.protected for one in members(region.fake, "web"))
    region.converge(web=web(2, machine=machine))
