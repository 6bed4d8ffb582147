"""What goes wrong on purpose: each mishap does what its line of help says, and nothing else."""

from collections import Counter
from math import inf, nan
from pathlib import Path

import pytest

from infrakit_providers.simulated.conditions import Lasting
from infrakit_providers.simulated.mishaps import IMPAIRED, MISHAPS
from infrakit_py.errors import IncompleteView, ProviderError, Throttled, Transient
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import HealthCheck
from tests.simulated.conftest import MakeWorld
from tests.simulated.worlds import BUILT, REFERENCE, World, errors

CHECK = HealthCheck()


def states(world: World) -> Counter[str]:
    return Counter(one.state for one in world.provider.describe("c"))


def well(world: World) -> int:
    return sum(world.provider.probe(id_, CHECK) is None for id_ in world.listed())


def running(make_world: MakeWorld, machines: int, **settings: object) -> World:
    world = make_world(**settings)  # type: ignore[arg-type]
    world.boot(*range(machines))
    world.clock.sleep(60)
    return world


def test_kill_ends_so_many_machines(make_world: MakeWorld) -> None:
    world = running(make_world, 10)
    world.provider.mishap("kill", 3, "")
    assert states(world) == {"running": 7, "stopped": 3}
    world.provider.mishap("kill", 3, "")
    assert states(world) == {"running": 4, "stopped": 6}


def test_more_than_there_are_means_all(make_world: MakeWorld) -> None:
    world = running(make_world, 3)
    world.provider.mishap("kill", 1000, "")
    assert states(world) == {"stopped": 3}


@pytest.mark.parametrize("by", ["group", "zone", "host", "name", "id"])
def test_a_target_is_a_group_a_zone_a_host_a_name_or_an_id(make_world: MakeWorld, by: str) -> None:
    world = running(make_world, 40, zones={"a": None, "b": None})
    world.boot(*range(40, 50), group="db")
    world.clock.sleep(60)
    one = world.provider.describe("c")[44]
    target = {"group": "db", "zone": one.zone, "host": one.host, "name": "db-44", "id": one.id}[by]
    world.provider.mishap("kill", 1000, target)
    dead = [one for one in world.cloud.everything() if one.state is InstanceState.STOPPED]
    assert dead
    assert all(target in (one.tags["infrakit.group"], one.zone, one.host, one.name, one.id) for one in dead)


def test_the_seed_says_who_is_struck(make_world: MakeWorld) -> None:
    def dead(seed: int) -> list[str]:
        world = running(make_world, 20, seed=seed)
        world.provider.mishap("kill", 5, "web")
        return [one.id for one in world.provider.describe("c") if one.state is InstanceState.STOPPED]

    assert dead(1) == dead(1)
    assert dead(1) != dead(2)


def test_sicken_lets_machines_run_and_not_answer(make_world: MakeWorld) -> None:
    world = running(make_world, 5)
    for left in (3, 1):
        world.provider.mishap("sicken", 2, "web")
        assert (states(world), well(world)) == ({"running": 5}, left)


def test_impair_is_the_clouds_own_word(make_world: MakeWorld) -> None:
    world = running(make_world, 5)
    world.provider.mishap("impair", 2, "")
    assert Counter(one.impaired for one in world.provider.describe("c")) == {"": 3, IMPAIRED: 2}
    assert well(world) == 5


def test_flap_makes_machines_sick_and_well_by_turns(make_world: MakeWorld) -> None:
    world = running(make_world, 3)
    world.provider.mishap("flap", 10, "web")
    seen = []
    for _ in range(40):
        seen.append(well(world))
        assert sum(not machine.sick for machine in world.cloud.everything()) == seen[-1]
        world.clock.sleep(1)
    assert seen == ([0] * 10 + [3] * 10) * 2


@pytest.mark.parametrize("target", ["", "tag"])
def test_throttle_is_for_calls_that_change_something(make_world: MakeWorld, target: str) -> None:
    world = running(make_world, 1)
    world.provider.mishap("throttle", 2, target)
    assert world.listed()
    for _ in range(2):
        with pytest.raises(Throttled):
            world.provider.tag([])
    world.provider.tag([])
    assert world.boot(5)


def test_throttle_counts_changing_calls_of_all_kinds_together(make_world: MakeWorld) -> None:
    world = running(make_world, 1)
    world.provider.mishap("throttle", 3, "")
    for call in (
        lambda: world.provider.tag([]),
        lambda: world.provision(1),
        lambda: world.destroy(*world.listed()),
    ):
        with pytest.raises(Throttled):
            call()
    world.destroy(*world.listed())
    assert world.listed() == []


def test_lost_reply_does_the_work_and_says_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    world.provider.mishap("lost-reply", 2, "")
    for slot in range(2):
        with pytest.raises(Transient):
            world.provision(slot)
    assert len(world.listed()) == 2
    world.boot(2)


def test_partial_view_is_an_error(make_world: MakeWorld) -> None:
    world = running(make_world, 1)
    world.provider.mishap("partial-view", 2, "a")
    for _ in range(2):
        with pytest.raises(IncompleteView):
            world.listed()
    assert len(world.listed()) == 1


def test_never_boot_is_for_a_share_of_new_machines(make_world: MakeWorld) -> None:
    world = running(make_world, 10)
    world.provider.mishap("never-boot", 0.5, "")
    world.boot(*range(10, 210))
    world.clock.sleep(1e6)
    assert 70 < states(world)["pending"] < 130
    assert states(world)["running"] + states(world)["pending"] == 210


def test_never_boot_can_be_for_one_group(make_world: MakeWorld) -> None:
    world = make_world()
    world.provider.mishap("never-boot", 1, "db")
    world.boot(0, group="db")
    world.boot(0)
    world.clock.sleep(60)
    assert [one.state for one in world.provider.describe("c")] == ["pending", "running"]


def test_slow_boot_is_for_new_machines(make_world: MakeWorld) -> None:
    world = make_world(boot_time="10s")
    world.boot(0)
    world.provider.mishap("slow-boot", 6, "")
    world.boot(1)
    for after, expected in ((11, ["running", "pending"]), (48, ["running", "pending"]), (2, ["running", "running"])):
        world.clock.sleep(after)
        assert [one.state for one in world.provider.describe("c")] == expected


def test_slow_listing_shows_new_machines_later_than_was_declared(make_world: MakeWorld) -> None:
    world = running(make_world, 1)
    world.provider.mishap("slow-listing", 30, "")
    (id_,) = world.boot(1)
    world.clock.sleep(29)
    assert id_ not in world.listed()
    assert world.state(id_) is InstanceState.RUNNING
    world.clock.sleep(1)
    assert id_ in world.listed()


@pytest.mark.parametrize("target", ["built", "cdcd"], ids=["name", "identity"])
def test_sick_image_is_told_by_its_name_or_identity(make_world: MakeWorld, target: str) -> None:
    world = running(make_world, 2)
    world.provider.publish(BUILT, lambda *_: None)
    world.boot(2, image=BUILT)
    world.clock.sleep(60)
    assert well(world) == 3
    world.provider.mishap("sick-image", 1, target)
    assert (well(world), states(world)) == (2, {"running": 3})


def test_no_capacity_closes_a_zone_to_new_machines(make_world: MakeWorld) -> None:
    world = running(make_world, 4, zones={"a": None, "b": 100})
    world.provider.mishap("no-capacity", 1, "a")
    world.boot(*range(4, 10))
    assert Counter(one.zone for one in world.provider.describe("c")) == {"a": 2, "b": 8}
    assert errors(world.provision(20, machine={"zones": ["a"]})) == ["NoCapacity"]
    world.provider.mishap("no-capacity", 1, "")
    assert errors(world.provision(21)) == ["NoCapacity"]


def test_quota_becomes_what_is_said(make_world: MakeWorld) -> None:
    world = running(make_world, 3, quota=10)
    world.provider.mishap("quota", 4, "")
    assert errors(world.provision(3, 4)) == ["", "QuotaExceeded"]
    world.provider.mishap("quota", 5, "")
    assert errors(world.provision(4, 5)) == ["", "QuotaExceeded"]


def test_relief_ends_what_lasts(make_world: MakeWorld) -> None:
    world = running(make_world, 2, boot_time="1s")
    for kind in Lasting:
        world.provider.mishap(kind, 1, REFERENCE.name if kind is Lasting.SICK_IMAGE else "")
    world.provider.mishap("relief", 1, "no-capacity")
    assert errors(world.provision(2)) == ["QuotaExceeded"]
    world.provider.mishap("relief", 1, "")
    world.boot(2)
    world.clock.sleep(5)
    assert (well(world), len(world.listed())) == (3, 3)


@pytest.mark.parametrize(
    ("kind", "amount", "target", "message"),
    [
        ("earthquake", 1, "", "no mishap 'earthquake'"),
        ("kill", 1, "nobody", "kill: no machine of 'nobody'"),
        ("kill", 0, "", "kill: cannot happen 0 times"),
        ("kill", 1.5, "", "kill: cannot happen 1.5 times"),
        ("kill", nan, "", "kill: cannot happen nan times"),
        ("throttle", inf, "", "throttle: cannot happen inf times"),
        ("throttle", 1, "describe", "'describe' is no call that changes anything"),
        ("flap", 0, "", "flap: cannot be 0"),
        ("never-boot", 1.1, "", "never-boot: cannot be 1.1"),
        ("slow-boot", -1, "", "slow-boot: cannot be -1"),
        ("slow-listing", nan, "", "slow-listing: cannot be nan"),
        ("sick-image", 1, "", "sick-image: say which image"),
        ("quota", 1, "web", "quota: is of the whole cloud"),
        ("relief", 1, "kill", "no mishap 'kill' that lasts"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_and_nothing_happens(
    make_world: MakeWorld, kind: str, amount: float, target: str, message: str
) -> None:
    world = running(make_world, 2)
    before = world.cloud.everything()
    with pytest.raises(ProviderError, match=message):
        world.provider.mishap(kind, amount, target)
    assert world.cloud.everything() == before
    world.boot(2)


def test_every_mishap_is_documented_in_its_own_words() -> None:
    page = (Path(__file__).parents[2] / "docs/simulated.md").read_text()
    assert all(f"| `{kind}` | {text} |\n" in page for kind, text in MISHAPS.items())


def test_every_mishap_that_is_named_can_happen(make_world: MakeWorld) -> None:
    for kind in MISHAPS:
        world = running(make_world, 2)
        world.provider.mishap(kind, 1, "linux" if kind == Lasting.SICK_IMAGE else "")
    assert world.provider.mishaps is MISHAPS
