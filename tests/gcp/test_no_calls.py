"""Who only asks makes no call that changes anything; who asks nothing of Google makes none and loads nothing."""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cli.shell import ROOT, Shell
from tests.driving.forks import Forks, forks
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.gcp.driving import GCP
from tests.gcp.shell import EXAMPLE, Example

QUICKSTART: Final = ROOT / "examples" / "quickstart" / "cluster.yml"
CHANGING: Final = (
    *("insert", "bulkInsert", "delete", "addInstances", "removeInstances", "addInstance", "removeInstance"),
    *("attachDisk", "detachDisk", "setLabels", "setMetadata", "start", "stop"),
)


@pytest.fixture(scope="module")
def ancestor() -> Iterator[Forks]:
    with forks("tests.gcp.driving") as ancestor:
        yield ancestor


@pytest.fixture
def fake() -> Iterator[FakeGCE]:
    with FakeGCE(FakeSettings(boot_seconds=0.1, delete_seconds=0.1)) as fake:
        yield fake
        assert not fake.mistakes, fake.mistakes


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    for directory in ("work", "home"):
        (tmp_path / directory).mkdir()
    shutil.copy(EXAMPLE / "cluster.yml", tmp_path / "work")
    shutil.copy(QUICKSTART, tmp_path / "work" / "quickstart.yml")
    return Shell(tmp_path)


def loaded_by(shell: Shell, *arguments: str) -> tuple[int, list[str]]:
    """Run `infra`, and return its exit code and which SDKs it loaded."""
    program = (
        "import sys; from infrakit_py.cli import main\n"
        f"sys.argv = {['infra', *arguments]!r}\n"
        "code = 0\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code or 0\n"
        "print(code, *(name for name in ('google', 'googleapiclient', 'boto3', 'libvirt') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=shell.work, env=shell.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    code, *names = done.stdout.splitlines()[-1].split()
    return int(code), names


@pytest.mark.parametrize(
    "arguments",
    [("validate",), ("iam", "gcp", "cluster.yml"), ("plugins",), ("plan", "quickstart.yml")],
    ids=["validate", "iam", "plugins", "plan of another provider"],
)
def test_what_asks_nothing_of_google_never_loads_its_sdk(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert loaded_by(shell, *arguments) == (0, [])


@pytest.mark.parametrize("command", [("validate",), ("iam", "gcp", "cluster.yml")], ids=" ".join)
def test_what_asks_nothing_of_google_makes_no_call(shell: Shell, fake: FakeGCE, command: tuple[str, ...]) -> None:
    with GCP.credentials(fake, fake.url):
        result = shell.infra(*command, environment={"CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": fake.url})
    assert result.code == 0, result
    assert fake.calls == Counter()


def test_looking_changes_nothing(ancestor: Forks, fake: FakeGCE, tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "cluster.yml", tmp_path)
    example = Example(ancestor, fake, tmp_path)
    assert example.infra("apply", "--auto-approve", WEB_SIZE="3").code == 0
    fake.calls.clear()
    for command in (("plan",), ("plan", "--json"), ("status",), ("doctor",)):
        done = example.infra(*command, WEB_SIZE="5", WEB_IMAGE="web-v2")
        assert done.code == 0, done
    assert fake.calls["instances.aggregatedList"]
    assert [call for call in fake.calls if call.partition(".")[2] in CHANGING] == []
    assert len(fake.operations()) == len(fake.operations("insert")), "nothing was begun since"
