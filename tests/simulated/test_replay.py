"""The same seed replays the same cloud."""

import os
import subprocess
import sys

import pytest

from infrakit_providers.simulated.conditions import Lasting
from infrakit_providers.simulated.mishaps import MISHAPS
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import DestroyRequest
from tests.simulated.conftest import MakeWorld
from tests.simulated.worlds import World, open_world

WILD: dict[str, Json] = {
    "boot_time": {"mean": "20s", "stddev": "10s", "min": "1s"},
    "mean_time_between_failures": "2m",
    "failure_rate": 0.2,
    "zones": {"a": 30, "b": None},
}


def history(world: World, slots: range) -> list[object]:
    """Provision one by one, and tell what is seen of the machines for five minutes."""
    told: list[object] = []
    for slot in slots:
        try:
            told.append(world.provision(slot)[0].instance_id)
        except ProviderError as error:
            told.append(str(error))
        world.clock.sleep(1)
    for _ in range(300):
        world.clock.sleep(1)
        told.append({(machine.id, machine.state, machine.zone) for machine in world.cloud.everything()})
    return told


def test_the_same_seed_gives_the_same_history(make_world: MakeWorld) -> None:
    assert history(make_world(seed=7, **WILD), range(50)) == history(make_world(seed=7, **WILD), range(50))


def test_another_seed_gives_another_history(make_world: MakeWorld) -> None:
    assert history(make_world(seed=7, **WILD), range(50)) != history(make_world(seed=8, **WILD), range(50))


def story() -> str:
    """Let all that can go wrong go wrong, and tell everything that was seen of it."""
    world = open_world({"seed": 11, **WILD})
    told: list[object] = []
    for number, kind in enumerate(MISHAPS):
        try:
            told.append(world.provision(number, number + 100))
            world.provider.mishap(kind, 1, "linux" if kind == Lasting.SICK_IMAGE else "")
            told.append(world.provider.destroy([DestroyRequest(id_, "c", "web") for id_ in world.listed()[:1]]))
        except ProviderError as error:
            told.append(error)
        world.clock.sleep(7)
        told.append(list(world.cloud.everything()))
    world.provider.close()
    return repr(told)


def test_the_same_seed_gives_the_same_story_in_every_process() -> None:
    def told(hash_seed: str) -> str:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONHASHSEED": hash_seed,
        }
        program = f"from {__name__} import story; print(story())"
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert told("1") == told("2") == story()


@pytest.mark.parametrize("boot_time", [{"min": "1s", "max": "9s"}, {"mean": "5s", "stddev": "2s"}], ids=str)
def test_a_machines_fate_is_its_tokens_not_the_order_of_calls(make_world: MakeWorld, boot_time: Json) -> None:
    def running_after_5_seconds(slots: list[int]) -> set[str]:
        world = make_world(boot_time=boot_time, mean_time_between_failures="10s")
        world.boot(*slots)
        world.clock.sleep(5)
        return {one.id for one in world.cloud.everything() if one.state is InstanceState.RUNNING}

    forwards = running_after_5_seconds(list(range(40)))
    assert forwards == running_after_5_seconds(list(reversed(range(40))))
    assert 0 < len(forwards) < 40
