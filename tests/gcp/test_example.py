"""What examples/gcp and its README say, smaller than there; the whole of it is for the long run."""

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from infrakit_py.model.instance import InstanceState
from tests.cli.shell import ROOT
from tests.driving.forks import Forks, forks
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.gcp.driving import GCP
from tests.gcp.shell import EXAMPLE, Example

DEMO = ROOT / "scripts" / "gcp-demo"


@pytest.fixture(scope="module")
def ancestor() -> Iterator[Forks]:
    with forks("tests.gcp.driving") as ancestor:
        yield ancestor


@pytest.fixture
def fake() -> Iterator[FakeGCE]:
    with FakeGCE(FakeSettings(boot_seconds=0.3, delete_seconds=0.1, operation_seconds=0.05)) as fake:
        yield fake
        assert not fake.mistakes, fake.mistakes


@pytest.fixture
def example(ancestor: Forks, fake: FakeGCE, tmp_path: Path) -> Example:
    shutil.copy(EXAMPLE / "cluster.yml", tmp_path)
    return Example(ancestor, fake, tmp_path)


def running(fake: FakeGCE) -> set[str]:
    return set(fake.names("RUNNING"))


def test_the_commands_of_the_readme_do_what_they_say(example: Example, fake: FakeGCE) -> None:
    """Made, replaced, more, fewer, gone."""
    for size, image, arguments, code in (
        ("12", "web-v1", ("validate",), 0),
        ("12", "web-v1", ("doctor",), 0),
        ("12", "web-v1", ("plan", "--detailed-exitcode"), 2),
        ("12", "web-v1", ("apply", "--auto-approve"), 0),
        ("12", "web-v1", ("status",), 0),
        ("12", "web-v2", ("apply", "--auto-approve"), 0),
        ("14", "web-v2", ("apply", "--auto-approve"), 0),
        ("7", "web-v2", ("apply", "--auto-approve"), 0),
        ("7", "web-v2", ("plan", "--detailed-exitcode"), 0),
        ("2", "web-v2", ("apply", "--auto-approve"), 1),
        ("7", "web-v2", ("destroy", "--auto-approve"), 0),
    ):
        done = example.infra(*arguments, WEB_SIZE=size, WEB_IMAGE=image)
        assert done.code == code, f"{arguments}: {done}"
        if arguments[0] == "apply" and not code:
            assert len(running(fake)) == int(size)
            images = {
                attached.disk.image.name for one in fake.instances() for attached in one.disks if attached.disk.image
            }
            assert images == {image.replace("web-v", "linuxkit-")}
    left = fake.picture()
    assert (left["instances"], left["disks"], left["addresses"]) == ({}, {}, {})
    assert not any(left["groups"].values())


def test_a_rollout_keeps_its_surge_and_its_floor(example: Example, fake: FakeGCE) -> None:
    assert example.infra("apply", "--auto-approve", WEB_SIZE="5").code == 0
    old = running(fake)
    seen: list[tuple[int, int]] = []
    over = Event()

    def watch() -> None:
        while not over.is_set():
            states = Counter(machine.state for machine in fake.cloud.everything())
            seen.append(
                (states[InstanceState.PENDING] + states[InstanceState.RUNNING], states[InstanceState.RUNNING])
            )
            time.sleep(0.01)

    watcher = Thread(target=watch)
    watcher.start()
    try:
        second = example.infra("apply", "--auto-approve", WEB_SIZE="5", WEB_IMAGE="web-v2")
    finally:
        over.set()
        watcher.join()
    assert second.code == 0, second
    assert max(live for live, _ in seen) == 6
    assert min(ready for _, ready in seen) == 5
    assert len(running(fake)) == 5
    assert not old & running(fake)


def test_whoever_looks_for_what_is_left_sees_what_is_there(example: Example, fake: FakeGCE) -> None:
    def look() -> tuple[int, str]:
        with GCP.credentials(fake, fake.url):
            done = subprocess.run(
                [sys.executable, EXAMPLE / "left.py", "shop"], capture_output=True, text=True, timeout=60
            )
        return done.returncode, done.stdout

    assert example.infra("apply", "--auto-approve", WEB_SIZE="2").code == 0
    assert look() == (1, "shop: 2 instances, 2 disks, 0 addresses\n")


@pytest.mark.slow
@pytest.mark.long
def test_the_whole_example_runs_and_leaves_nothing() -> None:
    done = subprocess.run([DEMO], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("shop: 0 instances, 0 disks, 0 addresses\n")
