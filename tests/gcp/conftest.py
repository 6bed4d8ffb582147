"""An empty project in virtual time, and a provider opened there."""

from collections.abc import Iterator

import pytest

from infrakit_py.clock import VirtualClock
from infrakit_py.spi.provider import Provider
from tests.fakes.gce import FakeGCE
from tests.gcp.ground import fake_gce, opened


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def fake(clock: VirtualClock) -> Iterator[FakeGCE]:
    with fake_gce(clock=clock) as fake:
        yield fake


@pytest.fixture
def provider(fake: FakeGCE, clock: VirtualClock) -> Iterator[Provider]:
    provider = opened(clock)
    yield provider
    provider.close()
