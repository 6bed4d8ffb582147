"""What the AWS provider takes beside what AWS and its SDK take by themselves, on the stand-in that the tests use."""

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.fleets import Fleet, group
from bench.rows import Row, virtual
from bench.stands import Lister, calls, compared, cpu, fill, served
from infrakit_providers.aws import wire
from infrakit_py.clock import SystemClock, VirtualClock
from infrakit_py.engine.runner import InlineRunner, ThreadRunner
from infrakit_py.model import tags
from infrakit_py.model.spec import Json
from infrakit_py.stores.memory import MemoryStore
from infrakit_py.stores.sqlite import SqliteStore
from tests.aws.ground import MACHINE, credentials, fake_ec2, image, opened
from tests.fakes.ec2 import FakeSettings

STAND: Final = "tests.fakes.ec2"
REGION: Final = "eu-central-1"
PAGE: Final = 1000
BURST, REFILL = 1000, 2.0  # instances: RunInstances of EC2's published limits
SPREAD: Final[Mapping[str, Json]] = {**MACHINE, "zones": [f"{REGION}{letter}" for letter in "abc"]}
IMAGES: Final = {"v1": image()}


def listing() -> Iterator[Row]:
    """(f) A whole cluster described, against the SDK's own paginator with the same filters and pages."""
    with served(STAND) as (url,), credentials(url):
        provider = opened(SystemClock())
        fill(provider, IMAGES["v1"], SPREAD)
        before = calls(url)
        provider.describe("bench")
        first = calls(url) - before
        provider.describe("bench")
        second = calls(url) - before - first
        provider.close()
        note = f"calls: {first.total()} the first time, then {second.total()}"
        yield from compared("f", {name: make() for name, make in LISTINGS.items()}, _memory, note)


def launching() -> Iterator[Row]:
    """(g) A thousand machines over three zones, in real time, with the store on disk."""
    took, made = [], Counter[str]()
    for _ in range(3):
        with TemporaryDirectory() as directory, served(STAND, "--boot-time", "0s") as (url,), credentials(url):
            store = SqliteStore(Path(directory))
            fleet = Fleet(opened(SystemClock()), SystemClock(), lambda: ThreadRunner(10), store, IMAGES)
            took.append(fleet.converge(group(1000, machine=SPREAD)))
            fleet.close()
            store.close()
            made = calls(url)
            by_zone = Counter(
                reservation[0]["Placement"]["AvailabilityZone"] for reservation in _reservations(_client())
            )
    most = max(by_zone.values())
    yield Row(
        "(g) launch 1,000: RunInstances a zone", f"{most} calls", "6 calls", f"{most / 6:.2f}",
        f"{made['RunInstances']} in all; other calls: {made.total() - made['RunInstances']}",
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
        made = Counter(fake.calls)
    limit, real = (size - BURST) / REFILL, time.perf_counter() - began
    row = virtual(f"(h) launch {size:,} under EC2's limits", took, limit, real)
    yield replace(row, note=f"{made['RunInstances']} RunInstances of {made.total()} calls; {row.note}")


def loading() -> Iterator[Row]:
    """(i) What it takes to have the SDK at all."""
    with served(STAND) as (url,), credentials(url):
        client = f"boto3.client('ec2', region_name={REGION!r})"
        programs = {
            "import boto3": "import boto3",
            "and make a client": f"import boto3; {client}",
            "and call": f"import boto3; {client}.describe_subnets()",
        }
        bare = cpu([sys.executable, "-c", "pass"])
        for what, program in programs.items():
            seconds = cpu([sys.executable, "-c", program]) - bare
            yield Row(f"(i) {what}", f"{seconds:.2f} s of CPU", "-", "-", "beyond python -c pass")
        for what in ("quickstart", "aws"):
            with TemporaryDirectory() as directory:
                command = [sys.executable, "-m", "infrakit_py", "plan", "cluster.yml"]
                seconds = cpu(command, cwd=Path("examples", what), INFRAKIT_STATE_DIR=directory) - bare
            yield Row(
                f"(i) infra plan, examples/{what}", f"{seconds:.2f} s of CPU", "-", "-", "beyond python -c pass"
            )


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


def _memory(name: str) -> list[str]:
    return [sys.executable, "-m", "bench", "--one-listing", "aws", name]
