"""An empty account in virtual time, and a provider opened there."""

from collections.abc import Iterator
from typing import Any

import pytest

from infrakit_py.clock import VirtualClock
from infrakit_py.spi.provider import Provider
from tests.aws.ground import credentials, fake_ec2, opened
from tests.aws.keeping import Scene
from tests.aws.moto_server import moto_server
from tests.aws.publishing import NEIGHBOUR, bucket_at
from tests.fakes.ec2 import FakeEC2, FakeSettings


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def fake(clock: VirtualClock) -> Iterator[FakeEC2]:
    with fake_ec2(clock=clock) as fake:
        yield fake


@pytest.fixture(scope="module")
def buckets() -> Iterator[str]:
    """Serve S3, by moto."""
    with moto_server() as url:
        yield url


@pytest.fixture
def s3(buckets: str) -> Iterator[Any]:
    with bucket_at(buckets) as client:
        yield client


@pytest.fixture
def account(clock: VirtualClock, buckets: str, s3: Any) -> Iterator[FakeEC2]:
    """An account with a bucket, in two regions, in which everything takes its time."""
    settings = FakeSettings(
        snapshot_seconds=30, import_seconds=600, copy_seconds=300, boot_seconds=1, neighbours=(NEIGHBOUR,)
    )
    with FakeEC2(settings, clock, buckets=buckets) as fake, credentials(fake.url):
        yield fake
        assert not fake.mistakes, fake.mistakes


@pytest.fixture
def provider(fake: FakeEC2, clock: VirtualClock) -> Iterator[Provider]:
    provider = opened(clock)
    yield provider
    provider.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    clock = VirtualClock()
    with fake_ec2(FakeSettings(boot_seconds=2, terminate_seconds=10), clock) as fake:
        scene = Scene(fake, clock)
        yield scene
        scene.clients.close()
