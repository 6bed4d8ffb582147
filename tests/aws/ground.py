"""EC2 to build on: the fake one, in this process, with credentials that it takes and a provider opened there."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import boto3

from infrakit_providers.aws import plugin
from infrakit_providers.aws.places import own_tags
from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.faults import Fault
from infrakit_py.clock import VirtualClock
from infrakit_py.images.cache import Cache
from infrakit_py.images.disks import DiskMaker
from infrakit_py.images.identity import read_image
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.spec import Image, ImageForm, Json
from infrakit_py.spi.provider import Now, Provider, ProviderContext
from infrakit_py.testing.conformance import ConformanceTarget
from tests.fakes.ec2 import FakeEC2, FakeSettings
from tests.fakes.ec2 import settings as seeded

SETTINGS: Mapping[str, Json] = {"region": "eu-central-1", "listing_lag": "0s"}
MACHINE: Mapping[str, Json] = {"instance_types": "t3.micro"}
UNKNOWN = InstanceId("i-0123456789abcdef0")


def image(reference: str = seeded.LINUX, name: str = "linux") -> Image:
    return read_image(name, ImageForm.REFERENCE, {}, reference=reference)


@contextmanager
def credentials(url: str) -> Iterator[None]:
    """Let every client of this process speak to a server that takes any key."""
    environment = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    with patch.dict(os.environ, environment):
        yield


@contextmanager
def fake_ec2(settings: FakeSettings | None = None, clock: Now | None = None) -> Iterator[FakeEC2]:
    with FakeEC2(settings or FakeSettings(), clock) as fake, credentials(fake.url):
        yield fake
        assert not fake.mistakes, fake.mistakes


def opened(clock: Now, settings: Mapping[str, Json] = SETTINGS, cache: Path | None = None) -> Provider:
    """Open a provider; with a cache it makes disks there."""
    if cache is None:
        return plugin.open(settings, ProviderContext(clock, Path()))
    return plugin.open(settings, ProviderContext(clock, Path(), DiskMaker(Cache(cache))))


def disk(path: Path, number: int) -> Image:
    """Write a disk unlike those of other numbers, and return it as an image."""
    path.write_bytes(f"disk {number}".encode() * 100_000)
    return read_image(f"disk-{number}", ImageForm.DISK, {"disk": path})


def _foreign() -> InstanceId:
    """Make a machine as somebody else would."""
    ec2 = boto3.client("ec2", region_name="eu-central-1")
    made = ec2.run_instances(ImageId=seeded.LINUX, InstanceType="t3.micro", MinCount=1, MaxCount=1)
    return InstanceId(made["Instances"][0]["InstanceId"])


@contextmanager
def fake_target(
    settings: FakeSettings | None = None,
    lag: str = "0s",
    wrap: Callable[[Provider], Provider] = lambda provider: provider,
) -> Iterator[ConformanceTarget]:
    """Open EC2 in virtual time as a target of the conformance suite."""
    clock, numbers = VirtualClock(), count(1)
    written = {**SETTINGS, "listing_lag": lag}
    with (
        TemporaryDirectory(prefix="images-") as images,
        fake_ec2(settings or FakeSettings(boot_seconds=20, terminate_seconds=30), clock) as fake,
        ConformanceTarget(
            provider=wrap(opened(clock, written, Path(images))),
            open_another=lambda: wrap(opened(clock, written, Path(images))),
            machine=MACHINE,
            other_machine={"instance_types": "t3.small"},
            image=image(),
            new_image=lambda: disk(Path(images) / f"{(number := next(numbers))}.raw", number),
            clock=clock,
            unknown_id=UNKNOWN,
            within_seconds=600,
            poll_seconds=1.0,
            plugin=plugin,
            machine_with_disk={
                "instance_types": "t3.micro",
                "data_disks": [{"name": "data", "device": "/dev/sdf", "size": "1GiB"}],
            },
            remembers_tokens=True,
            minds_parameters=False,
            stop=lambda id_: fake.kill(id_),
            make_foreign=_foreign,
            lose_reply=lambda: fake.fail(Call.PROVISION, Fault.LOST_REPLY),
            all_tags=lambda: [own_tags(fake.tags_of(id_), 0) for id_ in fake.ids()],
        ) as target,
    ):
        yield target
