"""What benchmarks of cloud providers share: stand-ins as processes, whole clusters in them, and what commands take.

A stand-in is a process of its own where seconds are counted, so that none of them are its own.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from bench.rows import Row
from infrakit_py.model import tags
from infrakit_py.model.spec import Image, Json
from infrakit_py.spi.provider import Provider, ProvisionRequest

CLUSTER: Final = "bench"
LISTED: Final = 5000
ROUNDS: Final = 7
Lister = Callable[[], list[Any]]


@contextmanager
def served(module: str, *options: str, lines: int = 1) -> Iterator[list[str]]:
    """Run a stand-in, and return the lines that it says when it is ready: its URL first."""
    command = [sys.executable, "-m", module, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            yield [server.stdout.readline().strip() for _ in range(lines)]
        finally:
            server.terminate()


def calls(url: str) -> Counter[str]:
    """Return which calls a stand-in has had."""
    with urlopen(f"{url}/_fake/state") as answer:
        return Counter(json.load(answer)["calls"])


def fill(provider: Provider, image: Image, machine: Mapping[str, Json]) -> None:
    """Make machines as the engine does, with all of its tags."""
    for begin in range(0, LISTED, provider.limits.provision_batch):
        slots = range(begin, min(LISTED, begin + provider.limits.provision_batch))
        requests = [_request(slot, image, machine) for slot in slots]
        tickets = provider.arrange(requests)
        made = [replace(one, ticket=ticket) for one, ticket in zip(requests, tickets, strict=True)]
        assert not [outcome for outcome in provider.provision(made) if outcome.error]


def compared(
    letter: str, listers: Mapping[str, Lister], memory: Callable[[str], list[str]], note: str
) -> Iterator[Row]:
    """Compare listings by `ours` with those by `bare`, the SDK alone. `memory` is the command that lists once."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in listers}
    for _ in range(ROUNDS):
        for name, lister in listers.items():
            took[name].append(_timed(lister))
    commands = {name: memory(name) for name in listers}
    mib = {n: int(subprocess.run(c, capture_output=True, text=True, check=True).stdout) for n, c in commands.items()}
    for index, what in enumerate(("CPU seconds", "seconds")):
        bare, ours = (statistics.median(one[index] for one in took[name]) for name in ("bare", "ours"))
        yield Row(
            f"({letter}) describe {LISTED:,}: {what}", f"{ours:.2f} s", f"SDK alone {bare:.2f} s",
            f"{ours / bare:.2f}", note,
        )  # fmt: skip
    yield Row(
        f"({letter}) describe {LISTED:,}: memory", f"{mib['ours']} MiB", f"SDK alone {mib['bare']} MiB",
        f"{mib['ours'] / mib['bare']:.2f}", "of the whole process at its peak",
    )  # fmt: skip


def one_listing(lister: Lister) -> int:
    """List once, and return how much memory the process then had taken, in MiB."""
    kept = lister()
    assert len(kept) == LISTED
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def cpu(command: Sequence[str], cwd: Path | None = None, **environment: str) -> float:
    """Return the CPU seconds of a command: the least of several runs."""
    took = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(took)


def _request(slot: int, image: Image, machine: Mapping[str, Json]) -> ProvisionRequest:
    token = tags.token(CLUSTER, "web", str(slot), 0)
    owned = {
        tags.CLUSTER: CLUSTER,
        tags.GROUP: "web",
        tags.SLOT: str(slot),
        tags.INCARNATION: "0",
        tags.TOKEN: token,
        tags.CONFIG_HASH: "v1-" + "0123456789" * 4,
        tags.IMAGE: image.identity,
        tags.REVISION: "1",
        "tier": "web",
    }
    return ProvisionRequest(token, f"web-{slot}", owned, image, machine)


def _timed(lister: Lister) -> tuple[float, float]:
    gc.collect()
    cpu_began, began = time.process_time(), time.perf_counter()
    found = lister()
    took = time.process_time() - cpu_began, time.perf_counter() - began
    assert len(found) == LISTED
    return took
