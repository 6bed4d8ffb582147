"""The kinds of stores that keep the promises of the SPI. A kind that is added here is held to every one of them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from infrakit_py.clock import Clock
from infrakit_py.stores.etcd import open_etcd
from infrakit_py.stores.memory import MemoryStore
from infrakit_py.stores.sqlite import SqliteStore
from infrakit_py.stores.transfer import Transfer
from tests.etcd.servers import Servers


@dataclass(frozen=True)
class Kind:
    """A store that begins empty. What it runs on (a directory, a server) it asks the test for."""

    name: str
    opened: Callable[[pytest.FixtureRequest, Clock], AbstractContextManager[Transfer]]


@contextmanager
def _memory(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Transfer]:
    yield MemoryStore(clock)


@contextmanager
def _sqlite(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Transfer]:
    directory: Path = request.getfixturevalue("tmp_path")
    with closing(SqliteStore(directory, clock)) as store:
        yield store


@contextmanager
def _etcd(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Transfer]:
    servers: Servers = request.getfixturevalue("etcd")
    store, claims = open_etcd(servers.address(ttl_seconds=600.0), "controller", clock)
    claims.beat()
    with closing(store):
        yield store
        claims.resign()


KINDS: Final = (Kind("memory", _memory), Kind("sqlite", _sqlite), Kind("etcd", _etcd))
