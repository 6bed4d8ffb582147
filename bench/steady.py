"""A controller that has nothing to do: what its looking costs in calls, in accesses to the store and in CPU.

All of it is the program's own, on real threads, in real time, with its store on disk. Only the provider takes no
time, and what its listings cost is told apart, so that it hides nothing of the engine's.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Event as Flag
from threading import Thread
from typing import Final, cast

from bench.fleets import IMAGES
from bench.rows import Row
from infrakit_groups.flavors.vanilla import plugin as vanilla
from infrakit_groups.policies import rolling
from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.provider import SimulatedProvider
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.clock import Clock, SystemClock
from infrakit_py.engine.budget import Budget
from infrakit_py.engine.cluster import Cluster, declared, revived
from infrakit_py.engine.controller import keep
from infrakit_py.engine.engine import Engine
from infrakit_py.engine.events import Event
from infrakit_py.engine.execute import Executor
from infrakit_py.engine.health import PROBES_AT_ONCE, HealthMonitor
from infrakit_py.engine.limits import Limiters
from infrakit_py.engine.observe import Observer
from infrakit_py.engine.reconcile import Reconciler
from infrakit_py.engine.runner import ThreadRunner
from infrakit_py.engine.versions import Versions
from infrakit_py.model.instance import Instance, InstanceId
from infrakit_py.model.spec import FlavorSpec, GroupSpec, HealthCheck, RolloutSpec
from infrakit_py.spi.provider import Provider
from infrakit_py.spi.store import Store
from infrakit_py.stores.sqlite import SqliteStore

MACHINES: Final = 10
GROUPS: Final = int(__import__("os").environ.get("G", "1000"))
INTERVAL_SECONDS: Final = 30.0
_PARALLELISM: Final = 10
_SETTLES_WITHIN_SECONDS: Final = 300.0
_WRITES: Final = ("record", "forget", "note_", "declare", "withdraw", "retire")


class Instant(SimulatedProvider):
    """Answers health checks without looking, and counts what its listings cost."""

    def __init__(self, cloud: SimCloud) -> None:
        super().__init__(cloud)
        self.describes = 0
        self.describe_seconds = 0.0

    def describe(self, cluster: str) -> Sequence[Instance]:
        self.describes += 1
        began = time.thread_time()
        listed = super().describe(cluster)
        self.describe_seconds += time.thread_time() - began
        return listed

    def probe(self, instance_id: InstanceId, check: HealthCheck) -> str | None:
        del instance_id, check
        return None


class Counted:
    """A store that counts how often it is read and written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.accesses: Counter[str] = Counter()

    def __getattr__(self, name: str) -> object:
        found = getattr(self._store, name)
        self.accesses["writes" if name.startswith(_WRITES) else "reads"] += 1
        return found


@dataclass
class Held:
    """Clusters at rest, each kept by a thread as `infra controller` does it."""

    clusters: int
    check: HealthCheck
    directory: Path
    clock: Clock = field(default_factory=SystemClock)
    ticks: int = 0

    def __post_init__(self) -> None:
        cloud = SimCloud(SimSettings.model_validate({"boot_time": "0s"}), self.clock)
        self.provider = Instant(cloud)
        self.sqlite = SqliteStore(self.directory)
        self.counted = Counted(self.sqlite)
        self.store = cast(Store, self.counted)
        self.stop = Flag()
        self.runners: list[ThreadRunner] = []
        self.engines = [self._engine(f"bench{number}") for number in range(self.clusters)]
        self.threads = [
            Thread(target=partial(keep, engine, self.clock, over=self.stop.is_set)) for engine in self.engines
        ]

    def begin(self) -> None:
        """Make all machines, and return once nothing is left to do."""
        for thread in self.threads:
            thread.start()
        deadline = time.monotonic() + _SETTLES_WITHIN_SECONDS
        while not all(engine.settled for engine in self.engines):
            assert time.monotonic() < deadline, [engine.statuses() for engine in self.engines]
            time.sleep(0.2)

    def end(self) -> None:
        self.stop.set()
        for engine in self.engines:
            engine.wake()
        for thread in self.threads:
            thread.join()
        for runner in self.runners:
            runner.close()
        self.sqlite.close()

    def _engine(self, name: str) -> Engine:
        runner, probes = ThreadRunner(_PARALLELISM), ThreadRunner(PROBES_AT_ONCE)
        self.runners += [runner, probes]
        providers: dict[str, Provider] = {"cloud": self.provider}
        flavor = vanilla.open({}, cluster=name, group="web")
        groups = {
            spec.name: declared(name, spec, IMAGES["v1"], flavor, rolling, revision=1)
            for spec in (self._group(number) for number in range(GROUPS // self.clusters))
        }
        cluster = Cluster(name, 1, providers, groups, {})
        monitor = HealthMonitor(self.clock, probes, {}, partial(self.store.note_healthy, name))
        observer = Observer(name, providers, self.store, monitor, self.clock, Random(1))
        limiters = Limiters().of(providers, self.clock.now())
        executor = Executor(cluster, self.store, runner, self.clock, _unheard, limiters)
        versions = Versions(name, self.store, self.clock, lambda v, now: revived(name, v, now, flavor, rolling))
        reconciler = _Ticked(observer, executor, versions, Budget(None, {}), self.clock)
        reconciler.held = self
        return Engine(
            cluster, reconciler, runner, self.clock, _unheard, poll_seconds=1.0, chance=Random(1), endless=True
        )

    def _group(self, number: int) -> GroupSpec:
        return GroupSpec(
            name=f"g{number}",
            provider="cloud",
            image="v1",
            size=MACHINES,
            flavor=FlavorSpec(),
            health=self.check,
            rollout=RolloutSpec(),
        )


class _Ticked(Reconciler):
    held: "Held"

    def tick(self, *args, **keywords):
        self.held.ticks += 1
        return super().tick(*args, **keywords)


def _unheard(event: Event) -> None:
    """Nobody listens."""


def steady(seconds: float) -> Iterator[Row]:
    """(m) Calls, accesses and CPU of controllers at rest."""
    unchecked, checked = HealthCheck(interval_seconds=INTERVAL_SECONDS), HealthCheck(tcp=80)
    for clusters, check, what in (
        (1, unchecked, "1 cluster of 1,000 groups"),
        (10, unchecked, "10 clusters of 100 groups"),
        (1, checked, "1,000 groups checked every 5 s"),
    ):
        with TemporaryDirectory() as directory, ExitStack() as stack:
            held = Held(clusters, check, Path(directory))
            stack.callback(held.end)
            held.begin()
            time.sleep(5.0)
            yield _measured(held, seconds, what)


def _measured(held: Held, seconds: float, what: str) -> Row:
    provider = held.provider
    before = Counter(held.counted.accesses)
    describes, ticks, listing = provider.describes, held.ticks, provider.describe_seconds
    cpu, began = time.process_time(), time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    share = (time.process_time() - cpu) / elapsed
    intervals = elapsed / INTERVAL_SECONDS
    accesses = held.counted.accesses - before
    asked = (provider.describes - describes) / intervals
    note = (
        f"{(held.ticks - ticks) / elapsed:.0f} ticks/s, CPU {share:.1%} "
        f"({(provider.describe_seconds - listing) / elapsed:.1%} in listings), store reads {accesses['reads'] / intervals:.0f}"
        f" and writes {accesses['writes'] / intervals:.0f} an interval"
    )
    return Row(f"(m) at rest, {what}: describes in 30 s", f"{asked:.1f}", "1", f"{asked:.1f}", note)


if __name__ == "__main__":
    import logging, sys, structlog, cProfile
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for row in steady(float(sys.argv[1])):
        print(row, flush=True)
