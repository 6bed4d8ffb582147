"""Where machines go, and of which type they are: even over zones, and the preferred type where it is to be had."""

from collections import Counter
from collections.abc import Iterator, Sequence

from infrakit_providers.cloud.census import Spread
from infrakit_providers.cloud.pools import Pool, Pools


class Choices:
    """Choices for one group's machines, each of which sees those before it."""

    def __init__(self, pools: Pools, there: Spread) -> None:
        self._pools = pools
        self._there = there
        self._taken: Counter[Pool] = Counter()

    def at_full_price(self, version: str) -> int:
        """Return how many machines of a version are not spot."""
        return self._there.markets[version, False]

    def count(self, version: str) -> int:
        """Return how many machines of a version there are."""
        return self._there.markets[version, False] + self._there.markets[version, True]

    def choose(self, types: Sequence[str], zones: Sequence[str], version: str, *, spot: bool) -> tuple[str, str]:
        """Choose a zone and a type, in which there is room as far as it is known, or else the first.

        Zones shall be even once the other versions are gone.
        """
        there = self._there
        order = sorted(zones, key=lambda zone: (there.versions[version, zone], there.zones[zone]))
        zone, type_ = next(self._with_room(types, order, spot=spot), (order[0], types[0]))
        there.zones[zone] += 1
        there.versions[version, zone] += 1
        there.markets[version, spot] += 1
        self._taken[Pool(type_, zone, spot)] += 1
        return zone, type_

    def _with_room(self, types: Sequence[str], zones: Sequence[str], *, spot: bool) -> Iterator[tuple[str, str]]:
        for zone in zones:
            for type_ in types:
                pool = Pool(type_, zone, spot)
                if self._pools.room(pool) > self._taken[pool]:
                    yield zone, type_
