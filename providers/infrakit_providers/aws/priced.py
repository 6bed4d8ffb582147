"""An account's region whose prices somebody wrote down."""

from collections.abc import Mapping
from math import fsum
from typing import Final

from infrakit_providers.aws.calls import Rates
from infrakit_providers.aws.fields import InstanceType
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.provider import AwsProvider
from infrakit_providers.aws.settings import Settings
from infrakit_providers.cloud.prices import PriceFile, PriceReader, Prices
from infrakit_py.model.instance import Instance
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import ProviderContext

PRICES: Final = PriceReader("aws", PriceFile[InstanceType], "m5.large: 0.115")


class PricedAwsProvider(AwsProvider):
    """See `infrakit_py.spi.provider.Priced`. Of what costs money it knows machines only, not their disks."""

    def __init__(self, settings: Settings, context: ProviderContext, rates: Rates, prices: Prices) -> None:
        super().__init__(settings, context, rates)
        self.currency = prices.currency
        self.source = settings.prices or ""
        self._prices = prices

    def price_of_machines(self, machine: Mapping[str, Json], count: int) -> float | None:
        """Return the price of so many machines of the preferred type, bought as `capacity` says."""
        written = Machine.model_validate(dict(machine))
        on_demand = min(count, written.capacity.on_demand_among(count))
        parts = [
            None if (price := self._prices.of_type(written.instance_types[0], spot)) is None else price * number
            for spot, number in ((False, on_demand), (True, count - on_demand))
            if number
        ]
        known = [part for part in parts if part is not None]
        return fsum(known) if len(known) == len(parts) else None

    def price_of(self, instance: Instance) -> float | None:
        """Return the price of an instance's type on its market."""
        market = instance.facts.get("lifecycle", "")
        if market not in ("", "spot"):
            return None
        return self._prices.of_type(instance.facts.get("type", ""), spot=market == "spot")
