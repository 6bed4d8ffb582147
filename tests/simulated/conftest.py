from collections.abc import Iterator
from typing import Protocol

import pytest

from infrakit_py.model.spec import Json
from tests.simulated.worlds import World, open_world


class MakeWorld(Protocol):
    def __call__(self, **settings: Json) -> World: ...


@pytest.fixture
def make_world() -> Iterator[MakeWorld]:
    """Make clouds in memory with certain settings; they end with the test."""
    worlds: list[World] = []

    def make(**settings: Json) -> World:
        worlds.append(open_world(settings))
        return worlds[-1]

    yield make
    for world in worlds:
        world.provider.close()
