"""What the AWS provider takes beside what AWS and its SDK take by themselves, on the stand-in that the tests use.

The stand-in is a process of its own where seconds are counted, so that none of them are its own.
"""

import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.request import urlopen

from bench.fleets import Fleet, group
from bench.rows import Row, virtual
from infrakit_providers.aws import wire
from infrakit_py.clock import SystemClock, VirtualClock
from infrakit_py.engine.runner import InlineRunner, ThreadRunner
from infrakit_py.model import tags
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import Provider, ProvisionRequest
from infrakit_py.stores.memory import MemoryStore
from infrakit_py.stores.sqlite import SqliteStore
from tests.aws.ground import MACHINE, credentials, fake_ec2, image, opened
from tests.fakes.ec2 import FakeSettings

REGION: Final = "eu-central-1"
LISTED: Final = 5000
PAGE: Final = 1000
BURST, REFILL = 1000, 2.0  # instances: RunInstances of EC2's published limits
SPREAD: Final[Mapping[str, Json]] = {**MACHINE, "zones": [f"{REGION}{letter}" for letter in "abc"]}
IMAGES: Final = {"v1": image()}
Lister = Callable[[], list[Any]]


def listing() -> Iterator[Row]:
    """(f) A whole cluster described, against the SDK's own paginator with the same filters and pages."""
    with _served() as url, credentials(url):
        provider = opened(SystemClock())
        _fill(provider)
        before = _calls(url)
        provider.describe("bench")
        first = _calls(url) - before
        provider.describe("bench")
        second = _calls(url) - before - first
        provider.close()
        listers = {name: make() for name, make in LISTINGS.items()}
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in LISTINGS}
        for _ in range(7):
            for name, lister in listers.items():
                took[name].append(_timed(lister))
        mib = {name: _mib(name) for name in LISTINGS}
    for index, what in enumerate(("CPU seconds", "seconds")):
        bare, ours = (statistics.median(one[index] for one in took[name]) for name in ("bare", "ours"))
        yield Row(
            f"(f) describe {LISTED:,}: {what}", f"{ours:.2f} s", f"SDK alone {bare:.2f} s", f"{ours / bare:.2f}",
            f"calls: {first.total()} the first time, then {second.total()}",
        )  # fmt: skip
    yield Row(
        f"(f) describe {LISTED:,}: memory", f"{mib['ours']} MiB", f"SDK alone {mib['bare']} MiB",
        f"{mib['ours'] / mib['bare']:.2f}", "of the whole process at its peak",
    )  # fmt: skip


def launching() -> Iterator[Row]:
    """(g) A thousand machines over three zones, in real time, with the store on disk."""
    took, calls = [], Counter[str]()
    for _ in range(3):
        with TemporaryDirectory() as directory, _served("--boot-time", "0s") as url, credentials(url):
            store = SqliteStore(Path(directory))
            fleet = Fleet(opened(SystemClock()), SystemClock(), lambda: ThreadRunner(10), store, IMAGES)
            took.append(fleet.converge(group(1000, machine=SPREAD)))
            fleet.close()
            store.close()
            calls = _calls(url)
            by_zone = Counter(
                reservation[0]["Placement"]["AvailabilityZone"] for reservation in _reservations(_client())
            )
    most = max(by_zone.values())
    yield Row(
        "(g) launch 1,000: RunInstances a zone", f"{most} calls", "6 calls", f"{most / 6:.2f}",
        f"{calls['RunInstances']} in all; other calls: {calls.total() - calls['RunInstances']}",
    )  # fmt: skip
    median = statistics.median(took)
    yield Row(
        "(g) launch 1,000: seconds", f"{median:.2f} s", "-", "-", f"3 runs, {min(took):.2f} to {max(took):.2f} s"
    )


def throttled(size: int) -> Iterator[Row]:
    """(h) The limit: launches beyond the first thousand come at two a second. Machines boot in no time."""
    clock, began = VirtualClock(), time.perf_counter()
    with fake_ec2(FakeSettings(limits="ec2", boot_seconds=0), clock) as fake:
        fleet = Fleet(opened(clock), clock, InlineRunner, MemoryStore(), IMAGES)
        took = fleet.converge(group(size, machine=SPREAD))
        calls = Counter(fake.calls)
    limit, real = (size - BURST) / REFILL, time.perf_counter() - began
    row = virtual(f"(h) launch {size:,} under EC2's limits", took, limit, real)
    yield replace(row, note=f"{calls['RunInstances']} RunInstances of {calls.total()} calls; {row.note}")


def loading() -> Iterator[Row]:
    """(i) What it takes to have the SDK at all."""
    with _served() as url, credentials(url):
        client = f"boto3.client('ec2', region_name={REGION!r})"
        programs = {
            "import boto3": "import boto3",
            "and make a client": f"import boto3; {client}",
            "and call": f"import boto3; {client}.describe_subnets()",
        }
        bare = _cpu([sys.executable, "-c", "pass"])
        for what, program in programs.items():
            seconds = _cpu([sys.executable, "-c", program]) - bare
            yield Row(f"(i) {what}", f"{seconds:.2f} s of CPU", "-", "-", "beyond python -c pass")
        for what in ("quickstart", "aws"):
            with TemporaryDirectory() as directory:
                command = [sys.executable, "-m", "infrakit_py", "plan", "cluster.yml"]
                seconds = _cpu(command, cwd=Path("examples", what), INFRAKIT_STATE_DIR=directory) - bare
            yield Row(
                f"(i) infra plan, examples/{what}", f"{seconds:.2f} s of CPU", "-", "-", "beyond python -c pass"
            )


def one_listing(name: str) -> int:
    """List once, and return how much memory the process then had taken, in MiB."""
    kept = LISTINGS[name]()()
    assert len(kept) == LISTED
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _bare() -> Lister:
    client = _client()
    return lambda: [instance for reservation in _reservations(client) for instance in reservation]


def _ours() -> Lister:
    provider = opened(SystemClock())
    return lambda: list(provider.describe("bench"))


LISTINGS: Final[Mapping[str, Callable[[], Lister]]] = {"bare": _bare, "ours": _ours}


def _client() -> Any:
    import boto3

    return boto3.client("ec2", region_name=REGION)


def _reservations(client: Any) -> Iterator[list[Any]]:
    filters = [
        {"Name": f"tag:{tags.CLUSTER}", "Values": ["bench"]},
        {"Name": "instance-state-name", "Values": list(wire.THERE)},
    ]
    pages = client.get_paginator("describe_instances").paginate(Filters=filters, PaginationConfig={"PageSize": PAGE})
    for page in pages:
        for reservation in page["Reservations"]:
            yield reservation["Instances"]


def _fill(provider: Provider) -> None:
    """Make machines as the engine does, with all of its tags."""
    for begin in range(0, LISTED, provider.limits.provision_batch):
        requests = [_request(slot) for slot in range(begin, begin + provider.limits.provision_batch)]
        tickets = provider.arrange(requests)
        made = [replace(one, ticket=ticket) for one, ticket in zip(requests, tickets, strict=True)]
        assert not [outcome for outcome in provider.provision(made) if outcome.error]


def _request(slot: int) -> ProvisionRequest:
    token = tags.token("bench", "web", str(slot), 0)
    owned = {
        tags.CLUSTER: "bench",
        tags.GROUP: "web",
        tags.SLOT: str(slot),
        tags.INCARNATION: "0",
        tags.TOKEN: token,
        tags.CONFIG_HASH: "v1-" + "0123456789" * 4,
        tags.IMAGE: IMAGES["v1"].identity,
        tags.REVISION: "1",
        "tier": "web",
    }
    return ProvisionRequest(token, f"web-{slot}", owned, IMAGES["v1"], SPREAD)


def _timed(lister: Lister) -> tuple[float, float]:
    gc.collect()
    cpu, real = time.process_time(), time.perf_counter()
    found = lister()
    took = time.process_time() - cpu, time.perf_counter() - real
    assert len(found) == LISTED
    return took


def _mib(name: str) -> int:
    command = [sys.executable, "-m", "bench", "--one-listing", name]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _cpu(command: list[str], cwd: Path | None = None, **environment: str) -> float:
    """Return the CPU seconds of a command: the least of several runs."""
    took = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(took)


def _calls(url: str) -> Counter[str]:
    with urlopen(f"{url}/_fake/state") as answer:
        return Counter(json.load(answer)["calls"])


@contextmanager
def _served(*options: str) -> Iterator[str]:
    """Run the stand-in as a process of its own, and return its URL."""
    command = [sys.executable, "-m", "tests.fakes.ec2", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
