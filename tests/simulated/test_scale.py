"""A hundred thousand machines are a matter of seconds."""

import time
from itertools import pairwise

import pytest

from infrakit_py.model.instance import InstanceState
from infrakit_py.spi.provider import DestroyRequest
from tests.simulated.conftest import MakeWorld
from tests.simulated.worlds import request

MACHINES = 100_000
GENEROUS_SECONDS = 60.0


@pytest.mark.slow
@pytest.mark.long
def test_a_hundred_thousand_machines_are_made_and_described_in_seconds(make_world: MakeWorld) -> None:
    world = make_world(zones={"a": 60_000, "b": None}, boot_time={"mean": "20s", "stddev": "5s"})
    batch = world.provider.limits.provision_batch
    requests = [request(slot) for slot in range(MACHINES)]
    marks = [time.perf_counter()]
    for start in range(0, MACHINES, batch):
        assert all(outcome.error is None for outcome in world.provider.provision(requests[start : start + batch]))
    marks.append(time.perf_counter())
    world.clock.sleep(60)
    found = world.provider.describe("c")
    marks.append(time.perf_counter())
    assert list(map(id, world.provider.describe("c"))) == list(map(id, found)), "built again what has not changed"
    marks.append(time.perf_counter())
    assert len(found) == MACHINES
    assert all(one.state is InstanceState.RUNNING for one in found)
    for start in range(0, MACHINES, batch):
        world.provider.destroy([DestroyRequest(one.id, "c", "web") for one in found[start : start + batch]])
    marks.append(time.perf_counter())
    assert world.listed() == []
    made, described, again, destroyed = (after - before for before, after in pairwise(marks))
    print(
        f"\n{MACHINES}: made in {made:.1f} s, described in {described:.2f} s, then in {again:.3f} s, "
        f"destroyed in {destroyed:.1f} s"
    )
    assert max(made, described, destroyed) < GENEROUS_SECONDS
    assert again < described
