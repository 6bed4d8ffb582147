"""A cluster whose image is LinuxKit's kernel and initrd: from the YAML to AMIs and machines, and to nothing again."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.aws.driving import CLUSTER
from tests.aws.publishing import write_kernel
from tests.cli.shell import Result, Shell
from tests.driving.inline import write
from tests.fakes.ec2 import FakeEC2, FakeSettings

pytestmark = pytest.mark.disks

ROLLING: Final[Mapping[str, Any]] = {"max_surge": 1, "max_unavailable": 0}
USER_DATA: Final = json.dumps({"site": {"entries": {"greeting": {"content": "hello"}}}})
"""As LinuxKit's metadata package reads it."""


@pytest.fixture
def fake() -> Iterator[FakeEC2]:
    with FakeEC2(FakeSettings(boot_seconds=0.2, terminate_seconds=0.1)) as fake:
        yield fake
        assert not fake.mistakes, fake.mistakes


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    for directory in ("work", "home"):
        (tmp_path / directory).mkdir()
    return Shell(tmp_path)


def declare(root: Path, seed: int) -> None:
    """Write the cluster, and what was built of its image."""
    write_kernel(root / "work" / "out", seed)
    group = {
        "provider": "aws",
        "image": "web",
        "size": 2,
        "machine": {"instance_types": "t3.micro"},
        "flavor": {"user_data": USER_DATA},
        "rollout": ROLLING,
    }
    document = {
        "apiVersion": "infrakit-py/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": CLUSTER},
        "providers": {"aws": {"plugin": "aws", "region": "eu-central-1", "listing_lag": "0s"}},
        "images": {"web": {part: f"out/{part}" for part in ("kernel", "initrd", "cmdline")}},
        "groups": {"web": group},
    }
    write(root / "work", document)


def infra(shell: Shell, fake: FakeEC2, *arguments: str) -> Result:
    keys = {"AWS_ENDPOINT_URL": fake.url, "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    result = shell.infra(*arguments, environment=keys)
    assert result.code == 0, result
    return result


@pytest.mark.long
@pytest.mark.slow
def test_from_yaml_to_machines_to_a_new_image_to_nothing(shell: Shell, fake: FakeEC2, tmp_path: Path) -> None:
    declare(tmp_path, seed=1)
    plan = infra(shell, fake, "plan")
    assert "HttpTokens=optional" in plan.out and "LinuxKit's metadata package" in plan.out
    assert not fake.images(), "a plan publishes nothing"

    infra(shell, fake, "apply", "--auto-approve")
    (first,) = fake.images()
    machines = fake.instances("running")
    assert [one.image.id for one in machines] == [first.id] * 2
    assert {one.asked["MetadataOptions"]["HttpTokens"] for one in machines} == {"optional"}
    assert {base64.b64decode(one.user_data).decode() for one in machines} == {USER_DATA}

    fake.calls.clear()
    infra(shell, fake, "apply", "--auto-approve")
    assert [call for call in fake.calls if not call.startswith("Describe")] == [], "nothing had changed"

    declare(tmp_path, seed=2)
    infra(shell, fake, "apply", "--auto-approve")
    second = next(one for one in fake.images() if one.id != first.id)
    assert [one.image.id for one in fake.instances("running")] == [second.id] * 2
    assert len(fake.images()) == len(fake.snapshots()) == 2

    infra(shell, fake, "destroy", "--auto-approve")
    assert (fake.instances("running"), fake.images(), fake.snapshots()) == ([], [], [])
