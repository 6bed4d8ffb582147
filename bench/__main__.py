"""Every benchmark of the engine, as one table with ratios: `python -m bench [--quick]`.

(a) plans of large fleets; (b) convergence from nothing, and (c) rolling replacement, in virtual time under EC2's
published limits, against what those limits alone would take; (d) the same in real time with a provider that takes no
time; (e) from the death of a machine to the request for its replacement; (f) to (i) the AWS provider on a stand-in
for AWS: listing, launching, launching under its limits, and what its SDK costs; (j) to (l) the same for GCP, on a
stand-in for Compute Engine; (m) what a controller costs that has nothing to do; (n) from the end of a controller to
the first acts of others on its clusters.
"""

import argparse
import gc
import json
import logging
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import structlog

from bench import aws, failover, gcp
from bench.fleets import Fleet, group, snapshot, wanted
from bench.rows import Row, table, virtual
from bench.stands import one_listing
from bench.steady import steady
from infrakit_groups.policies import rolling
from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.provider import SimulatedProvider
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.clock import Clock, SystemClock, VirtualClock
from infrakit_py.engine.events import EventKind
from infrakit_py.engine.forecast import World, forecast
from infrakit_py.engine.runner import InlineRunner, ThreadRunner
from infrakit_py.model.quantities import Amount
from infrakit_py.model.spec import HealthCheck, RolloutSpec
from infrakit_py.spi.provider import Pace
from infrakit_py.stores.memory import MemoryStore
from infrakit_py.stores.sqlite import SqliteStore

BOOT_SECONDS = 30.0
BURST, REFILL = 1000, 2.0  # instances: RunInstances of EC2's published limits
EC2 = {"limits": "ec2", "boot_time": "30s", "zones": {"a": None, "b": None, "c": None}}


def plans() -> Iterator[Row]:
    """(a) CPU seconds, in a process of its own each, so that the memory is its own."""
    for what, groups, machines, surge in (
        ("(a) plan, 1 group of 100,000, surge 10%", 1, 100_000, "10%"),
        ("(a) plan, 1 group of 100,000, surge 1", 1, 100_000, "1"),
        ("(a) plan, 1,000 groups of 100, surge 1", 1000, 100, "1"),
    ):
        command = [sys.executable, "-m", "bench", "--one-plan", str(groups), str(machines), surge]
        told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        yield Row(
            what,
            f"{told['seconds']:.2f} s, {told['mib']} MiB",
            "1 s, 500 MB",
            f"{told['seconds']:.2f}",
            f"policy alone {told['decide']:.2f} s; {told['replaced']} replaced in {told['waves']} waves",
        )


def one_plan(groups: int, machines: int, surge: str) -> None:
    rollout = RolloutSpec(max_surge=Amount.parse(int(surge) if surge.isdecimal() else surge))
    names = [f"g{number}" for number in range(groups)]
    seen = {name: snapshot(name, machines, outdated_share=0.01) for name in names}
    desired = {name: wanted(name, machines, rollout) for name in names}
    gc.collect()
    began = time.process_time()
    made = [forecast(rolling, desired[name], seen[name], 1e6, World(Pace(BOOT_SECONDS))) for name in names]
    seconds = time.process_time() - began
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    began = time.process_time()
    for name in names:
        rolling.decide(desired[name], seen[name], 1e6)
    decide = time.process_time() - began
    told = {
        "seconds": seconds,
        "decide": decide,
        "mib": mib,
        "replaced": sum(one.counts["replace"] for one in made),
        "waves": sum(len(one.waves) for one in made),
    }
    print(json.dumps(told))


def virtual_fleet() -> Fleet:
    clock = VirtualClock()
    return Fleet(SimulatedProvider(_cloud(EC2, clock)), clock, InlineRunner, MemoryStore())


def convergence(sizes: tuple[int, ...]) -> Iterator[Row]:
    """(b) The limit: launches beyond the first thousand come at two a second; the last one then boots."""
    for size in sizes:
        began = time.perf_counter()
        took = virtual_fleet().converge(group(size))
        limit = max(0, size - BURST) / REFILL + BOOT_SECONDS
        yield virtual(f"(b) converge 0 to {size:,}", took, limit, time.perf_counter() - began)


def replacement(sizes: tuple[int, ...]) -> Iterator[Row]:
    """(c) The limit: a quarter of the group at a time boots; and the bucket, which the first launch has emptied."""
    for size in sizes:
        fleet = virtual_fleet()
        rollout = RolloutSpec(max_surge=Amount(25, percent=True), progress_deadline_seconds=86400.0)
        fleet.converge(group(size, rollout=rollout))
        fleet.clock.sleep(3600.0)
        began = time.perf_counter()
        took = fleet.converge(group(size, "v2", rollout))
        surge = Amount(25, percent=True).rounded_up(size)
        limit = max(replacement_limit(size, surge), 0.0)
        yield virtual(f"(c) replace {size:,}, surge 25%", took, limit, time.perf_counter() - began)


def replacement_limit(size: int, surge: int) -> float:
    """Return how long a replacement takes if nothing but boot time and the bucket of launches takes time."""
    tokens, now, left = float(BURST), 0.0, size
    ends: list[float] = []  # when the machines that use the surge will be ready
    begun = 0
    while begun < left:
        room_at = 0.0 if begun < surge else ends[begun - surge]
        token_at = now if tokens >= 1 else now + (1 - tokens) / REFILL
        at = max(now, room_at, token_at)
        tokens = min(BURST, tokens + (at - now) * REFILL) - 1
        now = at
        ends.append(at + BOOT_SECONDS)
        begun += 1
    return ends[-1] if ends else 0.0


def real_time() -> Iterator[Row]:
    """(d) A provider that takes no time; the store is the real one, on disk."""
    for what, size, image in (("(d) converge 0 to 500", 500, "v1"), ("(d) replace 20, one at a time", 20, "v2")):
        took = []
        for _ in range(5):
            with TemporaryDirectory() as directory:
                store = SqliteStore(Path(directory))
                cloud = _cloud({"boot_time": "0s"}, SystemClock())
                fleet = Fleet(SimulatedProvider(cloud), SystemClock(), lambda: ThreadRunner(10), store)
                if image == "v2":
                    fleet.converge(group(size))
                took.append(fleet.converge(group(size, image)))
                fleet.close()
                store.close()
        median = statistics.median(took)
        yield Row(what, f"{median:.2f} s", "1 s", f"{median:.2f}", f"5 runs, {min(took):.2f} to {max(took):.2f} s")


def reaction() -> Iterator[Row]:
    """(e) A machine dies under a controller that has nothing to do."""
    check = HealthCheck(tcp=80, interval_seconds=5.0)
    for what, listens in (("(e) reaction, with events", True), ("(e) reaction, polling every 5 s", False)):
        took = [_reaction(check, listens=listens) for _ in range(5 if listens else 3)]
        limit = "-" if listens else "5 s"
        median = statistics.median(took)
        yield Row(what, f"{median:.3f} s", limit, "-" if listens else f"{median / 5:.2f}", f"{len(took)} deaths")


def _reaction(check: HealthCheck, *, listens: bool) -> float:
    cloud = _cloud({"boot_time": "0s"}, SystemClock())
    fleet = Fleet(SimulatedProvider(cloud), SystemClock(), lambda: ThreadRunner(10), MemoryStore())
    fleet.converge(group(5, check=check))
    engine = fleet.engine(group(5, check=check), endless=True)
    if listens:
        fleet.provider.watch(engine.wake)
    running = True

    def drive() -> None:
        while running:
            engine.wait(min(engine.step(), time.time() + 0.5))

    driver = Thread(target=drive)
    driver.start()
    try:
        time.sleep(1.3)
        fleet.events.clear()
        died_at = time.time()
        cloud.stop(cloud.everything()[0].id, "killed")
        while not (created := [e for e in fleet.events if e.kind is EventKind.CREATING]):
            time.sleep(0.001)
        return created[0].at - died_at
    finally:
        running = False
        engine.wake()
        driver.join()
        fleet.close()


def _cloud(settings: Mapping[str, object], clock: Clock) -> SimCloud:
    return SimCloud(SimSettings.model_validate(settings), clock)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the fleets of 10,000")
    parser.add_argument("--only", default="abcdefghijklmn", help="letters of the benchmarks to run")
    parser.add_argument("--one-plan", nargs=3, metavar=("GROUPS", "MACHINES", "SURGE"), help=argparse.SUPPRESS)
    parser.add_argument("--one-listing", nargs=2, metavar=("CLOUD", "LISTING"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one_plan:
        one_plan(int(asked.one_plan[0]), int(asked.one_plan[1]), asked.one_plan[2])
        return
    if asked.one_listing:
        cloud, name = asked.one_listing
        print(one_listing({"aws": aws.LISTINGS, "gcp": gcp.LISTINGS}[cloud][name]()))
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    large = () if asked.quick else (10_000,)
    benchmarks: dict[str, Callable[[], Iterator[Row]]] = {
        "a": plans,
        "b": lambda: convergence((1000, *large)),
        "c": lambda: replacement((100, *large)),
        "d": real_time,
        "e": reaction,
        "f": aws.listing,
        "g": aws.launching,
        "h": lambda: aws.throttled(1120),
        "i": aws.loading,
        "j": gcp.listing,
        "k": gcp.launching,
        "l": gcp.loading,
        "m": lambda: steady(30.0 if asked.quick else 60.0),
        "n": lambda: failover.failing_over(3 if asked.quick else 5),
    }
    rows: list[Row] = []
    for letter in asked.only:
        for row in benchmarks[letter]():
            rows.append(row)
            print(f"{row.what}: {row.measured} (ratio {row.ratio})", file=sys.stderr, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
