"""A second opinion on snapshots: the direct upload against moto's own EBS, which never saw our fake.

moto registers images without heeding their snapshot or tags, so the AMI is left to our fake.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import boto3
import pytest

from infrakit_providers.aws import marks
from infrakit_providers.aws.calls import Caller, Rates
from infrakit_providers.aws.clients import Clients
from infrakit_providers.aws.direct_upload import DirectUpload
from infrakit_providers.aws.settings import Settings
from infrakit_providers.aws.snapshots import PENDING, Snapshots
from infrakit_py.clock import SystemClock
from infrakit_py.model.spec import ImageForm
from tests.aws.ground import credentials
from tests.aws.publishing import REGION, disk_image, sparse_disk

pytestmark = pytest.mark.disks

SIZE: Final = 96 * 1024 + 100


@pytest.fixture
def moto(buckets: str) -> Iterator[None]:
    with credentials(buckets):
        yield


class AsBegun(Snapshots):
    """moto says of every snapshot, from its first moment, that it is completed."""

    def state(self, snapshot_id: str) -> str:
        return PENDING


def upload() -> DirectUpload:
    settings, clock = Settings(region=REGION), SystemClock()
    caller = Caller(Clients(settings), Rates(settings.limits, clock.now()), clock, Random())
    return DirectUpload(caller, AsBegun(caller, clock), clock, settings.publish)


def content(ebs: Any, snapshot_id: str) -> bytes:
    """Read a snapshot's blocks one by one."""
    listing = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, MaxResults=10_000)
    size = listing["BlockSize"]
    blocks = bytearray(-(-SIZE // size) * size)
    for one in listing["Blocks"]:
        answer = ebs.get_snapshot_block(
            SnapshotId=snapshot_id, BlockIndex=one["BlockIndex"], BlockToken=one["BlockToken"]
        )
        begin = one["BlockIndex"] * size
        blocks[begin : begin + size] = answer["BlockData"].read()
    return bytes(blocks)


def test_moto_finds_the_very_bytes_in_a_completed_and_tagged_snapshot(moto: None, tmp_path: Path) -> None:
    at = {0: b"boot", 40_000: b"kernel" * 100, SIZE - 5: b"end.."}
    image = disk_image(sparse_disk(tmp_path / "disk.raw", SIZE, at=at))
    assert image.form is ImageForm.DISK
    progress: list[int] = []
    snapshot_id = upload().made(image, image.files["disk"], lambda done, _: progress.append(done))
    raw = Path(image.files["disk"].path).read_bytes()
    session = boto3.Session(region_name=REGION)
    ebs: Any = session.client("ebs")
    assert content(ebs, snapshot_id)[:SIZE] == raw
    assert progress[-1] == SIZE
    (found,) = session.client("ec2").describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert (found["State"], found["VolumeSize"]) == ("completed", 1)
    assert {one["Key"]: one["Value"] for one in found["Tags"]}[marks.KEY] == image.identity
