"""Who watches is woken by what an operator does through the same object, after it was done."""

from collections.abc import Callable

import pytest

from infrakit_providers.simulated.conditions import Condition, Lasting
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from tests.simulated.conftest import MakeWorld
from tests.simulated.worlds import World, request

ELSEWHERE = Instance(InstanceId("i-1"), request(9).tags, InstanceState.RUNNING, 0.0)


@pytest.mark.parametrize(
    "act",
    [
        lambda world, id_: world.cloud.stop(id_),
        lambda world, id_: world.cloud.set_sick(id_, sick=True),
        lambda world, id_: world.cloud.set_impaired(id_, "broken"),
        lambda world, id_: world.cloud.add_foreign("theirs", {}),
        lambda world, id_: world.cloud.impose(Condition(Lasting.SICK_IMAGE, 1.0, "linux")),
        lambda world, id_: world.cloud.lift(),
        lambda world, id_: world.provider.adopt([ELSEWHERE], healthy={}),
        lambda world, id_: world.provider.mishap("kill", 2, "web"),
    ],
    ids=["stop", "set_sick", "set_impaired", "add_foreign", "impose", "lift", "adopt", "mishap"],
)
def test_an_act_wakes_once(make_world: MakeWorld, act: Callable[[World, InstanceId], object]) -> None:
    world = make_world()
    (id_, _) = world.boot(0, 1)
    woken: list[int] = []
    world.provider.watch(lambda: woken.append(len(world.listed())))
    act(world, id_)
    assert woken == [len(world.listed())], "woken once, and then the act could be seen"


def test_the_providers_own_calls_wake_nobody(make_world: MakeWorld) -> None:
    world = make_world()
    woken: list[str] = []
    world.provider.watch(lambda: woken.append("woken"))
    world.destroy(*world.boot(0))
    assert woken == []


def test_an_act_that_fails_wakes_nobody(make_world: MakeWorld) -> None:
    world = make_world()
    woken: list[str] = []
    world.provider.watch(lambda: woken.append("woken"))
    with pytest.raises(ProviderError):
        world.cloud.stop("i-nope")
    assert woken == []


def test_a_provider_that_is_closed_wakes_nobody(make_world: MakeWorld) -> None:
    world = make_world()
    woken: list[str] = []
    other = type(world.provider)(world.cloud)
    other.watch(lambda: woken.append("closed"))
    world.provider.watch(lambda: woken.append("open"))
    other.close()
    world.cloud.stop(world.boot(0)[0])
    assert woken == ["open"]
