"""The whole life of a cluster whose images are made here: published, booted, replaced, swept. By `infra` itself."""

import json
import shutil
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from infrakit_providers.gcp.published import name_of
from infrakit_py.images.cache import Cache
from infrakit_py.images.disks import DiskMaker
from infrakit_py.spi.images import DiskFormat
from tests.driving.forks import Forks, forks
from tests.driving.inline import write
from tests.fakes.gce import FakeGCE, FakeSettings
from tests.fakes.gce.storage import BUCKET
from tests.gcp.archives import archive_image
from tests.gcp.driving import cluster, web
from tests.gcp.shell import Done, Example
from tests.images_room.material import kernel_image

FILES: Final = {"hostname": {"content": "grüße\n", "perm": "0600"}, "web/port": {"text": "80"}}
DELIVERED: Final = {
    "hostname": {"content": "grüße\n", "perm": "0600"},
    "web": {"entries": {"port": {"content": "80"}}},
}


@pytest.fixture(scope="module")
def ancestor() -> Iterator[Forks]:
    with forks("tests.gcp.driving") as ancestor:
        yield ancestor


@pytest.fixture(name="fake")
def _fake() -> Iterator[FakeGCE]:
    settings = FakeSettings(boot_seconds=0.05, delete_seconds=0.05, operation_seconds=0.05, import_seconds=0.05)
    with FakeGCE(settings) as fake:
        yield fake
        assert not fake.mistakes, fake.mistakes


def document(image: Mapping[str, str], size: int = 2, cluster_name: str = "shop") -> dict[str, Any]:
    group = web(size, "web", flavor={"user_data": {"files": FILES}}, rollout={"max_surge": 1})
    written = cluster(settings={"publish": {"bucket": BUCKET}}, web=group)
    return {**written, "metadata": {"name": cluster_name}, "images": {"web": dict(image)}}


def digest(archive: bytes) -> str:
    return sha256(archive).hexdigest()


def booted_from(fake: FakeGCE) -> set[tuple[str, str]]:
    """Return the images of all machines' boot disks, with what those were made from."""
    disks = [attached.disk for one in fake.instances("RUNNING") for attached in one.disks if attached.boot]
    return {(disk.image.name, digest(disk.image.archive)) for disk in disks if disk.image is not None}


@pytest.mark.slow
def test_a_cluster_boots_what_its_image_is_and_leaves_nothing(
    ancestor: Forks, fake: FakeGCE, disk_cache: Path, tmp_path: Path
) -> None:
    example = Example(ancestor, fake, tmp_path)

    def infra(*arguments: str) -> Done:
        done = example.infra(*arguments, INFRAKIT_CACHE_DIR=str(disk_cache))
        assert done.code == 0, done
        return done

    kernel = kernel_image(tmp_path / "files")
    files = {part: f"files/web-{part}" for part in ("kernel", "initrd", "cmdline")}
    write(tmp_path, document(files))
    infra("apply", "--auto-approve")
    archive = Path(DiskMaker(Cache(disk_cache)).disk(kernel, DiskFormat.GCP).path).read_bytes()
    first = fake.names("RUNNING")
    assert booted_from(fake) == {(name_of(kernel), digest(archive))}
    for name in first:
        assert json.loads(fake.metadata_of(name)["user-data"]) == DELIVERED

    infra("plan", "--detailed-exitcode")
    infra("apply", "--auto-approve")
    assert (fake.names("RUNNING"), fake.calls["images.insert"]) == (first, 1), "nothing has changed"
    disk = archive_image(tmp_path / "files" / "web.tar.gz", 2)
    write(tmp_path, document({"disk": "files/web.tar.gz", "format": "gcp"}))
    infra("apply", "--auto-approve")
    assert set(first).isdisjoint(fake.names("RUNNING"))
    archive = Path(disk.files["disk"].path).read_bytes()
    assert booted_from(fake) == {(name_of(disk), digest(archive))}
    assert fake.calls["images.insert"] == 2

    yard = tmp_path / "yard"
    shutil.copytree(tmp_path / "files", yard / "files")
    write(yard, document({"disk": "files/web.tar.gz", "format": "gcp"}, 1, "yard"))
    infra("apply", "--auto-approve", "-f", str(yard / "cluster.yml"))
    assert fake.calls["images.insert"] == 2, "one image for both clusters"
    infra("destroy", "--auto-approve")
    assert [one.name for one in fake.published()] == [name_of(disk)], "the other cluster boots from it"
    infra("destroy", "--auto-approve", "-f", str(yard / "cluster.yml"))
    assert (fake.published(), fake.stored(), fake.instances(), fake.disks()) == ([], [], [], [])
