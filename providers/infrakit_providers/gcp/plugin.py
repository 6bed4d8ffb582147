"""The entry point's object. Importing it loads no SDK."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.settings import Limits, Settings, complaints, only_points
from infrakit_py.model.spec import Json
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.provider import MachineReview, Now, Provider, ProviderContext, Wanted

if TYPE_CHECKING:
    from infrakit_providers.gcp.calls import Rates


class GcpPlugin:
    """Compute Engine instances of one project in one region."""

    summary = "Compute Engine instances of a Google Cloud project in one region"
    settings: type[BaseModel] = Settings
    machine: type[BaseModel] = Machine

    def __init__(self) -> None:
        self._rates: WeakKeyDictionary[Now, dict[tuple[str, Limits], Rates]] = WeakKeyDictionary()

    def review(self, review: MachineReview) -> Iterable[Complaint]:
        return complaints(review)

    def points(self, reference: str) -> bool:
        return only_points(reference)

    def permissions(self, cluster: str, settings: Mapping[str, Json], wanted: Sequence[Wanted]) -> str:
        from infrakit_providers.gcp.permissions import least_role

        chosen = Settings.model_validate(dict(settings))
        machines = [(Machine.model_validate(dict(one.machine)), one.named, one.image) for one in wanted]
        return least_role(cluster, machines, chosen)

    def open(self, settings: Mapping[str, Json], context: ProviderContext) -> Provider:
        from infrakit_providers.gcp.faults import require_sdk

        chosen = Settings.model_validate(dict(settings))
        require_sdk(storage=chosen.publish is not None)
        if chosen.prices is not None:
            from infrakit_providers.gcp.priced import PRICES, PricedGcpProvider

            prices = PRICES.read(context.directory / chosen.prices)
            return PricedGcpProvider(chosen, context, self._rates_of(chosen, context.clock), prices)
        from infrakit_providers.gcp.provider import GcpProvider

        return GcpProvider(chosen, context, self._rates_of(chosen, context.clock))

    def _rates_of(self, settings: Settings, clock: Now) -> "Rates":
        """Return the windows of requests of a project: one set for all of a process that use it."""
        from infrakit_providers.gcp.calls import Rates

        known = self._rates.setdefault(clock, {})
        return known.setdefault((settings.account, settings.limits), Rates(settings.limits))
