"""An empty project in virtual time, and a provider opened there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infrakit_py.clock import VirtualClock
from infrakit_py.spi.provider import Provider
from tests.fakes.gce import FakeGCE
from tests.gcp.ground import fake_gce, opened
from tests.gcp.publishing import Scene, open_scene


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


@pytest.fixture(scope="session")
def disk_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of disks for a whole session: to compress a gigabyte of zeros takes seconds."""
    return tmp_path_factory.mktemp("disks")


@pytest.fixture
def scene(tmp_path: Path, disk_cache: Path) -> Iterator[Scene]:
    """A project in virtual time, with a bucket, and nothing published."""
    with open_scene(tmp_path, disk_cache) as scene:
        yield scene
