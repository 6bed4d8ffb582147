"""What the GCP provider takes beside what Google and its SDK take alone, on the stand-in that the tests use."""

import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import environ
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.fleets import Fleet, group
from bench.rows import Row
from bench.stands import Lister, calls, compared, cpu, fill, served
from infrakit_providers.gcp.clients import ENDPOINT_VARIABLE
from infrakit_py.clock import SystemClock
from infrakit_py.engine.runner import ThreadRunner
from infrakit_py.stores.sqlite import SqliteStore
from tests.gcp.ground import MACHINE, PROJECT, credentials, image, opened

STAND: Final = "tests.fakes.gce"
IMAGES: Final = {"v1": image()}


def listing() -> Iterator[Row]:
    """(j) A whole cluster described, against the SDK's own pager with the same filter and pages."""
    with _stand_in("--subnet-bits", "18") as url:
        provider = opened(SystemClock())
        fill(provider, IMAGES["v1"], MACHINE)
        before = calls(url)
        provider.describe("bench")
        note = f"calls: {(calls(url) - before).total()}"
        provider.close()
        yield from compared("j", {name: make() for name, make in LISTINGS.items()}, _memory, note)


def launching() -> Iterator[Row]:
    """(k) A thousand machines over three zones, in real time, with the store on disk."""
    took, made = [], Counter[str]()
    for _ in range(3):
        with TemporaryDirectory() as directory, _stand_in("--boot-time", "0s") as url:
            store = SqliteStore(Path(directory))
            fleet = Fleet(opened(SystemClock()), SystemClock(), lambda: ThreadRunner(10), store, IMAGES)
            took.append(fleet.converge(group(1000, machine=MACHINE)))
            fleet.close()
            store.close()
            made = calls(url)
    most = made["instances.bulkInsert"] / 3
    yield Row(
        "(k) launch 1,000: bulkInserts a zone", f"{most:.0f} calls", "2 calls", f"{most / 2:.2f}",
        f"{made['instances.bulkInsert']} in all; other calls: {made.total() - made['instances.bulkInsert']}",
    )  # fmt: skip
    median = statistics.median(took)
    yield Row(
        "(k) launch 1,000: seconds", f"{median:.2f} s", "-", "-", f"3 runs, {min(took):.2f} to {max(took):.2f} s"
    )


def loading() -> Iterator[Row]:
    """(l) What it takes to have the SDK at all, and until the first call is answered."""
    with _stand_in() as url:
        client = f"compute_v1.ZonesClient(client_options={{'api_endpoint': {url!r}}})"
        programs = {
            "import compute_v1": "from google.cloud import compute_v1",
            "and make a client": f"from google.cloud import compute_v1; {client}",
            "and call": f"from google.cloud import compute_v1; list({client}.list(project={PROJECT!r}))",
        }
        bare = cpu([sys.executable, "-c", "pass"])
        for what, program in programs.items():
            seconds = cpu([sys.executable, "-c", program]) - bare
            yield Row(f"(l) {what}", f"{seconds:.2f} s of CPU", "-", "-", "beyond python -c pass")
        for what in ("quickstart", "gcp"):
            with TemporaryDirectory() as directory:
                command = [sys.executable, "-m", "infrakit_py", "plan", "cluster.yml"]
                seconds = cpu(command, cwd=Path("examples", what), INFRAKIT_STATE_DIR=directory) - bare
            yield Row(
                f"(l) infra plan, examples/{what}", f"{seconds:.2f} s of CPU", "-", "-", "beyond python -c pass"
            )
        yield _first_call(url)


def _first_call(url: str) -> Row:
    """Time from opening the provider to its first answer, in processes that have loaded nothing yet."""
    program = (
        "import time; from infrakit_py.clock import SystemClock; from tests.gcp.ground import opened\n"
        "began = time.perf_counter(); opened(SystemClock()).describe('bench'); print(time.perf_counter() - began)"
    )
    bare = (
        "import time; began = time.perf_counter(); from google.cloud import compute_v1\n"
        f"client = compute_v1.InstancesClient(client_options={{'api_endpoint': {url!r}}})\n"
        f"list(client.aggregated_list(project={PROJECT!r})); print(time.perf_counter() - began)"
    )
    ours, alone = _seconds(program), _seconds(bare)
    return Row(
        "(l) open to the first answer", f"{ours:.2f} s", f"SDK alone {alone:.2f} s", f"{ours / alone:.2f}", "elapsed"
    )


def _seconds(program: str) -> float:
    command = [sys.executable, "-c", program]
    return min(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(5))


def _bare() -> Lister:
    client = _client()
    request = {"project": PROJECT, "filter": "labels.infrakit-cluster=bench", "max_results": 500}
    return lambda: [one for _, scoped in client.aggregated_list(request=request) for one in scoped.instances]


def _ours() -> Lister:
    provider = opened(SystemClock())
    return lambda: list(provider.describe("bench"))


LISTINGS: Final[Mapping[str, Callable[[], Lister]]] = {"bare": _bare, "ours": _ours}


def _client() -> Any:
    from google.cloud import compute_v1

    return compute_v1.InstancesClient(client_options={"api_endpoint": environ[ENDPOINT_VARIABLE]})


def _memory(name: str) -> list[str]:
    return [sys.executable, "-m", "bench", "--one-listing", "gcp", name]


@contextmanager
def _stand_in(*options: str) -> Iterator[str]:
    """Run the stand-in, and use it; return its URL."""
    with served(STAND, *options, lines=2) as (url, key_file), credentials(url, Path(key_file)):
        yield url
