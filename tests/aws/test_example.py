"""What examples/aws and its README say, and which calls of AWS a command makes."""

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.cli.shell import ROOT, Result, Shell
from tests.fakes.ec2 import FakeEC2, FakeSettings

EXAMPLE = ROOT / "examples" / "aws"
DEMO = ROOT / "scripts" / "aws-demo"
LOOKS = "Describe"


@pytest.fixture
def fake() -> Iterator[FakeEC2]:
    with FakeEC2(FakeSettings(boot_seconds=0.3, terminate_seconds=0.1)) as fake:
        yield fake
        assert not fake.mistakes, fake.mistakes


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    for directory in ("work", "home"):
        (tmp_path / directory).mkdir()
    shutil.copy(EXAMPLE / "cluster.yml", tmp_path / "work")
    return Shell(tmp_path)


def infra(shell: Shell, fake: FakeEC2, *arguments: str, **environment: str) -> Result:
    keys = {"AWS_ENDPOINT_URL": fake.url, "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    return shell.infra(*arguments, environment={**keys, **environment})


def test_validate_makes_no_call(shell: Shell, fake: FakeEC2) -> None:
    result = infra(shell, fake, "validate")
    assert result.code == 0, result
    assert fake.calls == Counter()


@pytest.mark.parametrize("command", [("plan",), ("plan", "--json"), ("status",)], ids=" ".join)
def test_looking_changes_nothing(shell: Shell, fake: FakeEC2, command: tuple[str, ...]) -> None:
    applied = infra(shell, fake, "apply", "--auto-approve", WEB_SIZE="3")
    assert applied.code == 0, applied
    fake.calls.clear()
    result = infra(shell, fake, *command, WEB_SIZE="5", WEB_IMAGE="web-v2")
    assert result.code == 0, result
    assert fake.calls["DescribeInstances"]
    assert [call for call in fake.calls if not call.startswith(LOOKS)] == []


@pytest.mark.long
@pytest.mark.slow
def test_a_rollout_keeps_its_surge_and_its_floor(shell: Shell, fake: FakeEC2) -> None:
    first = infra(shell, fake, "apply", "--auto-approve", WEB_SIZE="20")
    assert first.code == 0, first
    old = set(fake.ids("running"))
    seen: list[tuple[int, int]] = []
    over = Event()

    def watch() -> None:
        while not over.is_set():
            seen.append((len(fake.ids("pending", "running")), len(fake.ids("running"))))
            time.sleep(0.01)

    watcher = Thread(target=watch)
    watcher.start()
    try:
        second = infra(shell, fake, "apply", "--auto-approve", WEB_SIZE="20", WEB_IMAGE="web-v2")
    finally:
        over.set()
        watcher.join()
    assert second.code == 0, second
    assert max(live for live, _ in seen) == 22
    assert min(running for _, running in seen) == 20
    assert len(fake.ids("running")) == 20
    assert not old & set(fake.ids("running"))


@pytest.mark.long
def test_half_of_a_group_may_go_and_more_only_when_it_is_said(shell: Shell, fake: FakeEC2) -> None:
    for size, options, code in (("8", (), 0), ("3", (), 1), ("3", ("--allow-mass-destroy",), 0)):
        result = infra(shell, fake, "apply", "--auto-approve", *options, WEB_SIZE=size)
        assert result.code == code, result
    assert len(fake.ids("running")) == 3


@pytest.mark.long
@pytest.mark.parametrize("server", ["fake", "moto"])
def test_the_whole_example_runs_and_leaves_nothing(server: str) -> None:
    done = subprocess.run([DEMO, server], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("shop: 0 instances, 0 volumes, 0 network interfaces, 0 addresses\n")


def test_other_providers_never_load_the_sdk_of_aws(shell: Shell) -> None:
    program = (
        "import sys; from infrakit_py.cli import main\n"
        "sys.argv = ['infra', 'plan', 'quickstart.yml']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(*(name for name in ('boto3', 'botocore', 'libvirt') if name in sys.modules), sep=',')"
    )
    shutil.copy(ROOT / "examples" / "quickstart" / "cluster.yml", shell.work / "quickstart.yml")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=shell.work, env=shell.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Plan: +6 create" in done.stdout
    assert done.stdout.splitlines()[-1] == ""
