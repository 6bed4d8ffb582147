"""What a process remembers of the cloud is what the cloud is, and nothing is built twice that has not changed."""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infrakit_providers.simulated import fleet
from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.cloud import Change, Removal
from infrakit_providers.simulated.conditions import Condition, Lasting
from infrakit_providers.simulated.faults import Fault
from infrakit_providers.simulated.fleet import TOKEN_MEMORY_SECONDS
from infrakit_py.clock import VirtualClock
from infrakit_py.errors import ProviderError, Throttled
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import HealthCheck, Json
from infrakit_py.spi.provider import TagRequest
from tests.simulated.conftest import MakeWorld
from tests.simulated.worlds import World, errors, open_world, request

TraceFunction: TypeAlias = "Callable[[FrameType, str, object], TraceFunction | None]"

LIVELY: dict[str, Json] = {
    "boot_time": {"min": "1s", "max": "20s"},
    "mean_time_between_failures": "2m",
    "destroy_time": "5s",
    "gone_listed_for": "20s",
    "listing_lag": "3s",
    "zones": {"a": 20, "b": None},
}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[World, World]]:
    """Two programs that use one cloud."""
    one, other = (open_world({}, path=tmp_path / "sim.db") for _ in range(2))
    yield one, other
    one.provider.close()
    other.provider.close()


def test_an_instance_is_the_same_object_until_something_about_it_changes(make_world: MakeWorld) -> None:
    world = make_world(boot_time="10s")
    first, second = world.boot(0, 1)
    before = world.provider.describe("c")
    world.clock.sleep(5)
    world.boot(2)
    world.provider.tag([TagRequest(second, "c", {"x": "y"})])
    after = world.provider.describe("c")
    assert (after[0] is before[0], after[1] is before[1]) == (True, False)
    assert dict(after[1].tags) == {**before[1].tags, "x": "y"}
    world.clock.sleep(5)
    assert world.see(first).state is InstanceState.RUNNING
    assert world.provider.describe("c")[0].state is InstanceState.RUNNING


def test_what_another_program_does_is_seen_at_once(two: tuple[World, World]) -> None:
    one, other = two
    assert (one.listed(), other.listed()) == ([], [])
    (id_,) = one.boot(0)
    assert other.listed() == [id_]
    other.provider.tag([TagRequest(id_, "c", {"x": "y"})])
    assert one.see(id_).tags["x"] == "y"
    for world in two:
        world.clock.sleep(10)
    other.cloud.set_sick(id_, sick=True)
    assert one.provider.probe(id_, HealthCheck()) is not None
    other.cloud.impose(Condition(Lasting.QUOTA, 1.0, ""))
    assert errors(one.provision(1)) == ["QuotaExceeded"]
    other.cloud.fail(Call.DESTROY, Fault.THROTTLED)
    with pytest.raises(Throttled):
        one.destroy(id_)
    one.destroy(id_)
    assert other.listed() == []


def test_a_program_that_knows_nothing_yet_gives_the_machine_of_a_token(two: tuple[World, World]) -> None:
    one, other = two
    assert one.boot(0) == other.boot(0)


def test_a_retagged_machine_is_listed_in_order_of_creation(make_world: MakeWorld) -> None:
    world = make_world()
    ids = world.boot(0, 1, 2)
    world.cloud.tag([_move(ids[1], "other")])
    assert (world.listed(), world.listed("other")) == ([ids[0], ids[2]], [ids[1]])
    world.cloud.tag([_move(ids[1], "c")])
    assert (world.listed(), world.listed("other")) == (ids, [])


def test_a_machine_that_is_gone_for_long_is_forgotten_and_its_token_is_new(make_world: MakeWorld) -> None:
    world = make_world(gone_listed_for="1h")
    world.destroy(*world.boot(0))
    world.clock.sleep(3600 + TOKEN_MEMORY_SECONDS - 1)
    world.boot(1)
    assert errors(world.provision(0)) == ["TokenSpent"]
    world.clock.sleep(3601)
    world.boot(2)
    assert errors(world.provision(0)) == [""]


def test_a_machine_that_lives_is_never_forgotten(make_world: MakeWorld) -> None:
    world = make_world()
    (id_,) = world.boot(0)
    for slot in range(1, 5):
        world.clock.sleep(10 * TOKEN_MEMORY_SECONDS)
        world.boot(slot)
    assert world.boot(0) == [id_]
    assert len(world.listed()) == 5


def test_two_programs_forget_and_make_anew_without_harm(two: tuple[World, World]) -> None:
    one, other = two
    for round_ in range(6):
        for world in (one, other):
            world.clock.sleep(TOKEN_MEMORY_SECONDS + 3601)
            world.boot(100 + round_, group=f"{id(world)}")
        first, second = (one, other) if round_ % 2 else (other, one)
        (id_,) = first.boot(0)
        assert second.boot(0) == [id_]
        second.destroy(id_)
        assert first.state(id_) is None
    assert one.listed() == other.listed()
    addresses = [machine.address for machine in one.cloud.everything()]
    assert len(set(addresses)) == len(addresses)


def test_a_file_holds_no_more_machines_than_are_remembered(tmp_path: Path) -> None:
    world = open_world({}, path=tmp_path / "sim.db")
    for round_ in range(5):
        world.destroy(*world.boot(*range(200), incarnation=round_))
        world.clock.sleep(2 * TOKEN_MEMORY_SECONDS)
    world.boot(0, incarnation=99)
    with closing(open_world({}, path=tmp_path / "sim.db").cloud) as again:
        assert len(again.everything()) == 1
    world.provider.close()
    assert (tmp_path / "sim.db").stat().st_size < 200 * 3 * 2000


class Interrupted(BaseException):
    """Comes at any instruction, as a signal does."""


@contextmanager
def interruption(room: str, lines: int) -> Iterator[None]:
    """Interrupt what is done at the n-th line that is run in a directory."""
    left = itertools.count(lines, -1)

    def trace(frame: FrameType, event: str, argument: object) -> "TraceFunction | None":
        if not frame.f_code.co_filename.startswith(room):
            return None
        if event == "line" and next(left) == 0:
            raise Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def test_a_change_that_was_interrupted_at_any_line_is_known_if_it_was_made(tmp_path: Path) -> None:
    world = open_world({}, path=tmp_path / "sim.db")
    for lines in itertools.count():
        try:
            with interruption(str(Path(fleet.__file__).parent), lines):
                world.provision(0, 1, incarnation=lines)
        except Interrupted:
            pass
        else:
            break
        fresh = open_world({}, path=tmp_path / "sim.db")
        assert list(world.cloud.everything()) == list(fresh.cloud.everything()), f"after {lines} lines"
        fresh.provider.close()
    assert lines > 100
    assert 2 < len(world.listed()) < 2 * lines
    world.provider.close()


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["boot", "destroy", "tag", "move", "kill", "sicken", "flap", "impair", "cut short", "wait"]),
        st.integers(0, 9),
        st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(acts=ACTS)
def test_whatever_two_programs_do_both_know_what_a_third_reads_anew(acts: list[tuple[str, int, bool]]) -> None:
    clock = VirtualClock()
    with TemporaryDirectory() as directory:
        path = Path(directory, "sim.db")
        worlds = [open_world(LIVELY, path=path, clock=clock) for _ in range(2)]
        for act, number, first in acts:
            _do(worlds[not first], act, number, clock)
        third = open_world(LIVELY, path=path, clock=clock)
        for world in worlds:
            assert list(world.cloud.everything()) == list(third.cloud.everything())
            assert world.provider.describe("c") == third.provider.describe("c")
            assert world.provider.describe("other") == third.provider.describe("other")
            assert world.cloud.leftovers("nobody") == third.cloud.leftovers("nobody")
        outcomes = [world.provider.provision([request(50 + at)]) for at, world in enumerate([*worlds, third])]
        assert all(outcome.error is None for (outcome,) in outcomes)
        for world in [*worlds, third]:
            world.provider.close()


def _do(world: World, act: str, number: int, clock: VirtualClock) -> None:
    ids = [machine.id for machine in world.cloud.everything()]
    chosen = ids[number % len(ids)] if ids else "i-none"
    try:
        match act:
            case "boot":
                world.provision(number, number + 1)
            case "cut short":
                world.cloud.fail(Call.PROVISION, Fault.CUT_SHORT)
                world.provision(number)
            case "destroy":
                world.cloud.destroy([Removal(chosen)])
            case "tag":
                world.cloud.tag([Change(chosen, {"x": str(number)})])
            case "move":
                world.cloud.tag([Change(chosen, {tags.CLUSTER: "other" if number % 2 else "c"})])
            case "wait":
                clock.sleep(number)
            case mishap:
                world.provider.mishap(mishap, 1 + number % 3, "")
    except ProviderError:
        pass  # what cannot be done now is not what this is about


def _move(machine_id: str, cluster: str) -> Change:
    return Change(machine_id, {tags.CLUSTER: cluster})
