"""A store of each kind, in virtual time."""

from collections.abc import Iterator

import pytest

from infrakit_py.clock import VirtualClock
from infrakit_py.stores.transfer import Transfer
from tests.etcd.servers import etcd
from tests.stores.kinds import KINDS, Kind

__all__ = ["clock", "etcd", "store"]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def store(request: pytest.FixtureRequest, clock: VirtualClock) -> Iterator[Transfer]:
    kind: Kind = request.param
    with kind.opened(request, clock) as opened:
        yield opened
