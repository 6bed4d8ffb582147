"""Groups do not hold one another up: real threads, real time, one provider that hangs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from infrakit_py.model.revision import GroupVersion, VersionState
from infrakit_py.model.spec import GroupSpec
from infrakit_py.spi.provider import Provider
from infrakit_py.spi.store import Store
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


class SlowStore(MemoryStore):
    """Takes as long as it is told to for what becomes of one group's versions."""

    def __init__(self) -> None:
        super().__init__()
        self.writing = Flag()
        self.let_go = Flag()

    def note_version(self, cluster: str, version: GroupVersion, state: VersionState, now: float, reason: str) -> None:
        if version.group.name == "web" and state is VersionState.GOOD:
            self.writing.set()
            assert self.let_go.wait(PATIENCE)
        super().note_version(cluster, version, state, now, reason)


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


def test_many_groups_at_a_provider_that_hangs_keep_none_at_another_one_waiting() -> None:
    clock = SystemClock()
    clouds = [SimCloud(SimSettings.model_validate({"boot_time": "10ms"}), clock) for _ in range(2)]
    hanging = Hanging(clouds[0])
    hanging.let_go = Flag()
    providers = {"slow": hanging, "quick": SimulatedProvider(clouds[1])}
    slow = [group(f"slow-{number}", provider="slow") for number in range(40)]
    quick = [group(f"quick-{number}", provider="quick") for number in range(5)]
    store = MemoryStore()
    with running([*slow, *quick], providers, store, asked_once=True) as engine:
        until(lambda: all(engine.statuses()[g.name].phase is Phase.CONVERGED for g in quick))
        assert {engine.statuses()[g.name].phase for g in slow} == {Phase.WORKING}
        hanging.let_go.set()
        until(lambda: engine.settled)
    assert len(clouds[0].everything()) == 3 * len(slow)
    for cloud in clouds:
        cloud.close()


def test_neither_a_reader_nor_another_group_waits_for_a_write_to_the_store() -> None:
    cloud = SimCloud(SimSettings.model_validate({"boot_time": "10ms"}), SystemClock())
    groups = [group("web", provider="sim"), group("api", provider="sim")]
    store = SlowStore()
    with running(groups, {"sim": SimulatedProvider(cloud)}, store) as engine:
        assert store.writing.wait(PATIENCE)
        assert not engine.settled
        until(lambda: engine.statuses()["api"].phase is Phase.CONVERGED)
        assert engine.statuses()["web"].phase is Phase.WORKING
        engine.wake()
        store.let_go.set()
        until(lambda: engine.settled)
    cloud.close()


@contextmanager
def running(
    groups: Sequence[GroupSpec], providers: Mapping[str, Provider], store: Store, *, asked_once: bool = False
) -> Iterator[Engine]:
    """Drive an engine on four threads. `asked_once`: each provider has been asked for a listing before."""
    clock, seen = SystemClock(), list[Event]()
    made = {g.name: declared("shop", g, IMAGES[g.image], StillFlavor(), rolling) for g in groups}
    cluster = Cluster("shop", 1, providers, made, {})
    runner = ThreadRunner(4)
    observer = Observer("shop", providers, store, HealthMonitor(clock, runner), clock)
    if asked_once:
        observer.groups_seen(all_of_them=True)
    executor = Executor(cluster, store, runner, clock, seen.append, Limiters().of(providers, clock.now()))
    reconciler = reconciler_of(cluster, observer, executor, store, clock)
    engine = Engine(cluster, reconciler, runner, clock, seen.append, poll_seconds=0.1)
    stop = Flag()
    loop = Thread(target=partial(converge, engine, clock, timeout_seconds=PATIENCE, stop=stop))
    loop.start()
    try:
        yield engine
    finally:
        stop.set()
        engine.wake()
        loop.join()
        runner.close()


def until(so: Callable[[], bool]) -> None:
    """Return once it is so."""
    clock = SystemClock()
    deadline = clock.now() + PATIENCE
    while not so():
        assert clock.now() < deadline
        clock.sleep(0.01)
