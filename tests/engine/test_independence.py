"""Groups do not hold one another up: real threads, real time, one provider that hangs."""

from collections.abc import Sequence
from functools import partial
from threading import Event as Flag
from threading import Thread

from infrakit_groups.policies import rolling
from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.provider import SimulatedProvider
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.clock import SystemClock
from infrakit_py.engine.cluster import Cluster, declared
from infrakit_py.engine.converge import End, converge
from infrakit_py.engine.engine import Engine, Phase
from infrakit_py.engine.events import Event
from infrakit_py.engine.execute import Executor
from infrakit_py.engine.health import HealthMonitor
from infrakit_py.engine.limits import Limiters
from infrakit_py.engine.observe import Observer
from infrakit_py.engine.runner import ThreadRunner
from infrakit_py.model.instance import Instance
from infrakit_py.stores.memory import MemoryStore
from tests.engine.harness import IMAGES, StillFlavor, group, reconciler_of

PATIENCE = 20.0


class Hanging(SimulatedProvider):
    """Answers the first listing, and none after it until it is let go."""

    let_go: Flag
    asked: int = 0

    def describe(self, cluster: str) -> Sequence[Instance]:
        self.asked += 1
        if self.asked > 1:
            assert self.let_go.wait(PATIENCE)
        return super().describe(cluster)


def test_trap_9_a_provider_that_hangs_holds_up_neither_another_group_nor_the_status() -> None:
    clock = SystemClock()
    seen: list[Event] = []
    cloud = SimCloud(SimSettings.model_validate({"boot_time": "10ms"}), clock)
    other = SimCloud(SimSettings.model_validate({"boot_time": "10ms"}), clock)
    hanging = Hanging(cloud)
    hanging.let_go = Flag()
    providers = {"slow": hanging, "quick": SimulatedProvider(other)}
    groups = [group("web", provider="slow"), group("api", provider="quick")]
    flavor = StillFlavor()
    made = {g.name: declared("shop", g, IMAGES[g.image], flavor, rolling) for g in groups}
    cluster = Cluster("shop", 1, providers, made, {})
    runner, store = ThreadRunner(4), MemoryStore()
    observer = Observer("shop", providers, store, HealthMonitor(clock, runner), clock)
    observer.groups_seen(all_of_them=True)
    listener = partial(list.append, seen)
    executor = Executor(cluster, store, runner, clock, listener, Limiters().of(providers, clock.now()))
    engine = Engine(
        cluster, reconciler_of(cluster, observer, executor, store, clock), runner, clock, listener, poll_seconds=0.1
    )
    ends: list[End] = []
    loop = Thread(
        target=lambda: ends.append(converge(engine, clock, timeout_seconds=PATIENCE, stop=Flag()).end), daemon=True
    )
    loop.start()
    deadline = clock.now() + PATIENCE
    while engine.statuses()["api"].phase is not Phase.CONVERGED:
        assert clock.now() < deadline
        clock.sleep(0.02)
    assert engine.statuses()["web"].phase is Phase.WORKING
    assert len(other.everything()) == 3
    hanging.let_go.set()
    loop.join(PATIENCE)
    runner.close()
    assert ends == [End.CONVERGED]
    assert len(cloud.everything()) == 3
    assert all(isinstance(event, Event) for event in seen)
    cloud.close()
    other.close()
