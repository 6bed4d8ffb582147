"""One LinuxKit YAML for groups at several providers: built once, one disk of each format, one identity everywhere."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.gce.storage import BUCKET
from tests.images_room.programs import Program, linuxkit
from tests.portable.conftest import KINDS, Clouds
from tests.portable.declared import MACHINES, PROVIDERS, document

pytestmark = pytest.mark.disks

YAML = """kernel: {image: "linuxkit/kernel:6.12.59"}
services:
  - {name: web, image: "nginx:1.27"}
"""


def disks(clouds: Clouds) -> dict[str, list[Path]]:
    """Return the disks that were made, by format."""
    found = sorted(path for path in (clouds.shell.root / "cache/disks").iterdir() if path.suffix != ".json")
    return {suffix: [path for path in found if path.name.endswith(suffix)] for suffix in (".raw", ".tar.gz")}


@pytest.fixture
def program(clouds: Clouds) -> Program:
    return linuxkit(clouds.shell.root / "bin")


def declare(clouds: Clouds, yaml: str) -> None:
    providers: dict[str, Any] = {kind: dict(PROVIDERS[kind]) for kind in KINDS}
    providers["gcp"]["publish"] = {"bucket": BUCKET}
    groups = {kind: {"provider": kind, "image": "node", "size": 2, "machine": dict(MACHINES[kind])} for kind in KINDS}
    (clouds.shell.work / "node.yml").write_text(yaml)
    clouds.shell.write(document("shop", providers, {"node": {"linuxkit": "node.yml"}}, groups))


def identities(clouds: Clouds) -> dict[str, set[str]]:
    """Return what machines say that they boot, by provider."""
    status = clouds.infra("status", "--json").json["clusters"][0]
    assert all(group["converged"] for group in status["groups"])
    (row,) = clouds.infra("image", "ls", "--json").json
    return {
        "declared": {row["identity"]},
        "simulated": {machine.tags["infrakit.image"] for machine in clouds.shell.machines()},
        "aws": {clouds.ec2.tags_of(one)["infrakit.image"] for one in clouds.ec2.ids("running")},
        "published": {provider for provider, there in row["published"].items() if there},
    }


@pytest.mark.slow
def test_groups_at_three_providers_boot_one_build_from_one_disk_of_each_format(
    clouds: Clouds, program: Program
) -> None:
    declare(clouds, YAML)
    clouds.infra("apply", "--auto-approve")
    assert len(program.builds) == 1
    ((raw,), (archive,)) = disks(clouds).values()
    seen = identities(clouds)
    assert seen["declared"] == seen["simulated"] == seen["aws"] == {raw.name.split("-")[0]}
    assert archive.name.split("-")[0] == raw.name.split("-")[0] and seen["published"] == set(KINDS)
    (snapshot,) = clouds.ec2.snapshots()
    assert clouds.ec2.content(snapshot.id) == raw.read_bytes().rstrip(b"\0")
    assert [made.status for made in clouds.gce.published()] == ["READY"]

    again = clouds.infra("apply", "--auto-approve")
    assert "no changes" in again.out and len(program.builds) == 1
    clouds.infra("destroy", "--auto-approve")
    assert [clouds.there(kind) for kind in KINDS] == [0, 0, 0]
    assert clouds.ec2.snapshots() == [] and clouds.gce.published() == [] and clouds.gce.stored() == []


@pytest.mark.long
def test_one_changed_line_is_one_more_build_and_one_more_disk_of_each_format(
    clouds: Clouds, program: Program
) -> None:
    declare(clouds, YAML)
    clouds.infra("apply", "--auto-approve")
    before = identities(clouds)
    declare(clouds, YAML.replace("1.27", "1.28"))
    clouds.infra("apply", "--auto-approve")
    assert len(program.builds) == 2 and [len(found) for found in disks(clouds).values()] == [2, 2]
    changed = identities(clouds)
    assert changed["declared"] == changed["simulated"] == changed["aws"] != before["declared"]
    clouds.infra("destroy", "--auto-approve")
    assert clouds.ec2.snapshots() == [] and clouds.gce.published() == [] and clouds.gce.stored() == []
