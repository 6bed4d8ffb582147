"""(m) A controller that has nothing to do: what its looking costs in calls, in accesses to the store and in CPU.

All of it is the program's own, on real threads, in real time, with its store on disk. Only the provider takes no
time. What its listings cost is told apart.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
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
from infrakit_py.engine.meter import Call
from infrakit_py.engine.observe import Observer
from infrakit_py.engine.reconcile import Reconciler
from infrakit_py.engine.runner import ThreadRunner
from infrakit_py.engine.versions import Versions
from infrakit_py.model.instance import Instance, InstanceId
from infrakit_py.model.spec import GroupSpec, HealthCheck
from infrakit_py.spi.provider import Provider
from infrakit_py.spi.store import Store
from infrakit_py.stores.sqlite import SqliteStore

MACHINES: Final = 10
GROUPS: Final = 1000
INTERVAL_SECONDS: Final = 30.0
_PARALLELISM: Final = 10
_SETTLES_WITHIN_SECONDS: Final = 300.0
_COMES_TO_REST_SECONDS: Final = 5.0
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
        self.accesses["writes" if name.startswith(_WRITES) else "reads"] += 1
        return getattr(self._store, name)


class Ticks:
    """Counts ticks, and the latest of them."""

    def __init__(self) -> None:
        self.count = 0
        self.latest_seconds = 0.0

    def called(self, cluster: str, provider: str, call: Call, seconds: float, error: str) -> None:
        """See `infrakit_py.engine.meter.Meter`."""

    def ticked(self, cluster: str, group: str, seconds: float, late_seconds: float) -> None:
        del cluster, group, seconds
        self.count += 1
        self.latest_seconds = max(self.latest_seconds, late_seconds)


@dataclass
class Held:
    """Clusters at rest, each kept by a thread as `infra controller` does it."""

    clusters: int
    check: HealthCheck
    directory: Path
    clock: Clock = field(default_factory=SystemClock)
    ticks: Ticks = field(default_factory=Ticks)

    def __post_init__(self) -> None:
        self.provider = Instant(SimCloud(SimSettings.model_validate({"boot_time": "0s"}), self.clock))
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
            assert time.monotonic() < deadline
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
        specs = [self._group(number) for number in range(GROUPS // self.clusters)]
        groups = {spec.name: declared(name, spec, IMAGES["v1"], flavor, rolling, revision=1) for spec in specs}
        cluster = Cluster(name, 1, providers, groups, {})
        monitor = HealthMonitor(self.clock, probes, {}, partial(self.store.note_healthy, name))
        observer = Observer(name, providers, self.store, monitor, self.clock, Random(1))
        limiters = Limiters().of(providers, self.clock.now())
        executor = Executor(cluster, self.store, runner, self.clock, _unheard, limiters)
        versions = Versions(name, self.store, self.clock, lambda v, now: revived(name, v, now, flavor, rolling))
        return Engine(
            cluster,
            Reconciler(observer, executor, versions, Budget(None, {}), self.clock),
            runner,
            self.clock,
            _unheard,
            poll_seconds=1.0,
            chance=Random(1),
            endless=True,
            meter=self.ticks,
        )

    def _group(self, number: int) -> GroupSpec:
        return GroupSpec(f"g{number}", "cloud", "v1", size=MACHINES, health=self.check)


def steady(seconds: float) -> Iterator[Row]:
    """Count for so long, after all has come to rest. The limit is one listing an interval for all groups together."""
    unchecked, checked = HealthCheck(interval_seconds=INTERVAL_SECONDS), HealthCheck(tcp=80)
    for clusters, check, what in (
        (1, unchecked, "1,000 groups of 10 at rest"),
        (10, unchecked, "the same in 10 clusters, each listing its own"),
        (1, checked, "1,000 groups of 10, asked every 5 s"),
    ):
        with TemporaryDirectory() as directory, ExitStack() as stack:
            held = Held(clusters, check, Path(directory))
            stack.callback(held.end)
            held.begin()
            time.sleep(_COMES_TO_REST_SECONDS)
            yield _measured(held, seconds, what)


def _measured(held: Held, seconds: float, what: str) -> Row:
    provider = held.provider
    accesses = Counter(held.counted.accesses)
    describes, ticks, listing = provider.describes, held.ticks.count, provider.describe_seconds
    cpu, began = time.process_time(), time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    share = (time.process_time() - cpu) / elapsed
    listing = (provider.describe_seconds - listing) / elapsed
    ticks, describes = held.ticks.count - ticks, provider.describes - describes
    intervals = elapsed / INTERVAL_SECONDS
    accesses = held.counted.accesses - accesses
    note = (
        f"CPU {share:.1%} of one core ({listing:.1%} in listings), {ticks / elapsed:.0f} ticks/s, "
        f"store: {accesses['reads'] / intervals:.0f} reads and {accesses['writes'] / intervals:.0f} writes in 30 s"
    )
    limit = float(held.clusters)
    return Row(
        f"(m) {what}: listings in 30 s",
        f"{describes / intervals:.1f}",
        f"{limit:.0f}",
        f"{describes / intervals / limit:.2f}",
        note,
    )


def _unheard(event: Event) -> None:
    """Nobody listens."""
