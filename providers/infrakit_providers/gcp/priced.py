"""A project's region whose prices somebody wrote down."""

from collections.abc import Mapping
from typing import Final

from infrakit_providers.cloud.prices import PriceFile, PriceReader, Prices
from infrakit_providers.gcp.calls import Rates
from infrakit_providers.gcp.fields import MachineType
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.provider import GcpProvider
from infrakit_providers.gcp.settings import Settings
from infrakit_py.model.instance import Instance
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import ProviderContext

PRICES: Final = PriceReader("gcp", PriceFile[MachineType], "e2-standard-2: 0.067")


class PricedGcpProvider(GcpProvider):
    """See `infrakit_py.spi.provider.Priced`. Of what costs money it knows machines only, not their disks."""

    def __init__(self, settings: Settings, context: ProviderContext, rates: Rates, prices: Prices) -> None:
        super().__init__(settings, context, rates)
        self.currency = prices.currency
        self.source = settings.prices or ""
        self._prices = prices

    def price_of_machines(self, machine: Mapping[str, Json], count: int) -> float | None:
        """Return the price of so many machines of the preferred type."""
        written = Machine.model_validate(dict(machine))
        price = self._prices.of_type(written.machine_types[0], written.is_spot)
        return None if price is None else price * count

    def price_of(self, instance: Instance) -> float | None:
        """Return the price of an instance's type on its market."""
        market = instance.facts.get("provisioning", "standard").lower()
        if market not in ("standard", "spot"):
            return None
        return self._prices.of_type(instance.facts.get("type", ""), spot=market == "spot")
