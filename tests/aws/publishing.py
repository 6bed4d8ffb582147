"""Images to publish, what makes disks of them, and what is there of them afterwards."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

import boto3

from infrakit_providers.aws import marks, plugin
from infrakit_py.images.cache import Cache
from infrakit_py.images.disks import DiskMaker
from infrakit_py.images.identity import read_image
from infrakit_py.model.spec import Image, ImageForm, Json
from infrakit_py.spi.images import DiskFormat
from infrakit_py.spi.provider import Now, Provider, ProviderContext
from tests.fakes.ec2 import FakeEC2

REGION: Final = "eu-central-1"
NEIGHBOUR: Final = "eu-west-1"
BUCKET: Final = "infrakit-images"
DIRECT: Final[Mapping[str, Json]] = {}
BY_BUCKET: Final[Mapping[str, Json]] = {"upload": "s3", "bucket": BUCKET}
KERNEL_SIZE: Final = 300_000


def write_kernel(directory: Path, seed: int = 1, *, size: int = KERNEL_SIZE) -> dict[str, Path]:
    """Write what no machine boots, but of which disks can be made: two files of noise, and a command line."""
    directory.mkdir(parents=True, exist_ok=True)
    chance = Random(seed)
    content = {"kernel": chance.randbytes(size), "initrd": chance.randbytes(size), "cmdline": b"console=ttyS0\n"}
    paths = {part: directory / part for part in content}
    for part, path in paths.items():
        path.write_bytes(content[part])
    return paths


def kernel_image(directory: Path, seed: int = 1, name: str = "web", *, size: int = KERNEL_SIZE) -> Image:
    paths = write_kernel(directory / f"kernel-{seed}-{size}", seed, size=size)
    return read_image(name, ImageForm.KERNEL, paths)


def disk_image(path: Path, format: str = "raw", name: str = "web") -> Image:
    return read_image(name, ImageForm.DISK, {"disk": path}, disk_format=format)


def maker(directory: Path) -> DiskMaker:
    return DiskMaker(Cache(directory / "cache"))


def raw_disk(directory: Path, image: Image) -> bytes:
    """Return the disk that is published of an image."""
    return Path(maker(directory).disk(image, DiskFormat.RAW).path).read_bytes()


def publisher(clock: Now, directory: Path, publish: Mapping[str, Json] = DIRECT, **settings: Json) -> Provider:
    """Open a provider that publishes so."""
    written: dict[str, Json] = {"region": REGION, "listing_lag": "0s", **settings, "publish": dict(publish)}
    return plugin.open(written, ProviderContext(clock, Path(), maker(directory)))


def unheard(done: int, total: int) -> None:
    del done, total


@contextmanager
def bucket_at(url: str) -> Iterator[Any]:
    """Make the bucket on a server of S3, and yield a client of it. What is in it then is deleted at the end."""
    s3: Any = boto3.client(
        "s3", endpoint_url=url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    try:
        yield s3
    finally:
        for one in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()):
            s3.abort_multipart_upload(Bucket=BUCKET, Key=one["Key"], UploadId=one["UploadId"])
        for one in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
            s3.delete_object(Bucket=BUCKET, Key=one["Key"])
        s3.delete_bucket(Bucket=BUCKET)


def faults_of_images(fake: FakeEC2, directory: Path, *images: Image, s3: Any = None) -> list[str]:
    """Return in what the account differs from one that has each of these images once, whole, and nothing beside."""
    wanted = {marks.key_of(one): one for one in images}
    amis, snapshots = fake.images(), {one.id: one for one in fake.snapshots()}
    found = []
    if sorted(one.tags.get(marks.KEY, "?") for one in amis) != sorted(wanted):
        found.append(f"AMIs of {[one.name for one in amis]}, not of {[one.name for one in images]}")
    if {one.snapshot for one in amis} != set(snapshots) or len(amis) != len(snapshots):
        states = {one.id: one.state for one in snapshots.values()}
        found.append(f"snapshots {states}, and AMIs made of {[one.snapshot for one in amis]}")
    for ami in amis:
        snapshot, image = snapshots.get(ami.snapshot), wanted.get(ami.tags.get(marks.KEY, ""))
        if snapshot is None or image is None:
            continue
        if fake.content(snapshot.id) != raw_disk(directory, image).rstrip(b"\0"):
            found.append(f"{snapshot.id} has not the bytes of image {image.name}")
        if snapshot.state != "completed" or ami.state != "available":
            found.append(f"{snapshot.id} is {snapshot.state}, {ami.id} is {ami.state}")
        if snapshot.tags.get(marks.KEY) != marks.key_of(image):
            found.append(f"{snapshot.id} has the tags {snapshot.tags}")
    if s3 is not None:
        found += [f"object {one['Key']}" for one in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())]
        found += [f"upload {one['Key']}" for one in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())]
    return found


def sparse_disk(path: Path, size: int, *, at: Mapping[int, bytes]) -> Path:
    """Write a disk of which only these places are not zero."""
    with path.open("wb") as file:
        for offset, content in at.items():
            os.pwrite(file.fileno(), content, offset)
        file.truncate(size)
    return path


def renamed(image: Image, name: str) -> Image:
    """Return the same image as another cluster calls it."""
    return replace(image, name=name)
