"""An account's region whose prices somebody wrote down."""

from collections.abc import Iterator, Mapping, Sequence
from math import fsum
from typing import Final

from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.prices import Prices
from infrakit_providers.aws.provider import AwsProvider
from infrakit_providers.aws.settings import Settings
from infrakit_providers.aws.volumes import Volume
from infrakit_py.model.instance import Instance
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import ProviderContext

_HOURS_A_MONTH: Final = 730.0
"""As AWS's own calculator counts."""


class PricedAwsProvider(AwsProvider):
    """See `infrakit_py.spi.provider.Priced`. Of what costs money besides machines it knows disks only."""

    def __init__(self, settings: Settings, context: ProviderContext, prices: Prices) -> None:
        super().__init__(settings, context)
        self.currency = prices.currency
        self.source = settings.prices or ""
        self._prices = prices

    def price_of_machine(self, machine: Mapping[str, Json]) -> float | None:
        """Return the price of the preferred type and of those disks whose size is written.

        Where some machines of a group are spot machines, it is the mean by `spot_percent`: how many are there, and so
        what `on_demand_base` makes of it, is not known here. Disks have no price unless the file has prices of disks.
        """
        written = Machine.model_validate(dict(machine))
        return _total([*self._shares(written), *self._disks(written)])

    def price_of(self, instance: Instance) -> float | None:
        """Return the price of an instance's type on its market. Its disks are not in what EC2 says of it."""
        market = instance.facts.get("lifecycle", "")
        if market not in ("", "spot"):
            return None
        return self._prices.of_type(instance.facts.get("type", ""), spot=market == "spot")

    def _shares(self, machine: Machine) -> Iterator[float | None]:
        """Yield each market's part of the mean price. A market that no machine is bought on needs no price."""
        percent = machine.capacity.spot_percent
        for spot, share in ((False, 100 - percent), (True, percent)):
            if share:
                price = self._prices.of_type(machine.instance_types[0], spot)
                yield None if price is None else price * share / 100

    def _disks(self, machine: Machine) -> Iterator[float | None]:
        """Yield the price of each disk; None for one whose type has none."""
        by_type = self._prices.disks_per_gib_month
        root: list[Volume] = [machine.root_disk] if machine.root_disk is not None else []
        for disk in [*root, *machine.disks, *machine.data_disks] if by_type else ():
            if disk.size_gib is not None:
                monthly = by_type.get(disk.type)
                yield None if monthly is None else monthly * disk.size_gib / _HOURS_A_MONTH


def _total(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return fsum(known) if len(known) == len(parts) else None
