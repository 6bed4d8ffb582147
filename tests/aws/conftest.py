"""An empty account in virtual time, and a provider opened there."""

from collections.abc import Iterator

import pytest

from infrakit_py.clock import VirtualClock
from infrakit_py.spi.provider import Provider
from tests.aws.ground import fake_ec2, opened
from tests.aws.keeping import Scene
from tests.fakes.ec2 import FakeEC2, FakeSettings


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def fake(clock: VirtualClock) -> Iterator[FakeEC2]:
    with fake_ec2(clock=clock) as fake:
        yield fake


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
