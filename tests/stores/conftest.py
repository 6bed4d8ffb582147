"""A store of each kind, in virtual time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infrakit_py.clock import VirtualClock
from infrakit_py.spi.store import Store
from infrakit_py.stores.memory import MemoryStore
from infrakit_py.stores.sqlite import SqliteStore


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: VirtualClock) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore(clock)
        return
    opened = SqliteStore(tmp_path, clock)
    yield opened
    opened.close()
