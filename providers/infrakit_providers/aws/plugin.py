"""The entry point's object. Importing it loads no SDK."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from infrakit_providers.aws import metadata_service
from infrakit_providers.aws.faults import require_sdk
from infrakit_providers.aws.machine import Machine
from infrakit_providers.aws.settings import Limits, Settings, complaints
from infrakit_py.model.spec import Json
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.provider import MachineReview, Now, Provider, ProviderContext, Wanted

if TYPE_CHECKING:
    from infrakit_providers.aws.calls import Rates


class AwsPlugin:
    """EC2 instances of one account in one region."""

    summary = "EC2 instances of an AWS account in one region"
    settings: type[BaseModel] = Settings
    machine: type[BaseModel] = Machine

    def __init__(self) -> None:
        self._rates: WeakKeyDictionary[Now, dict[tuple[str, Limits], Rates]] = WeakKeyDictionary()

    def review(self, review: MachineReview) -> Iterable[Complaint]:
        return complaints(review)

    def remarks(self, review: MachineReview) -> Iterable[str]:
        if review.image is None:
            return ()
        return metadata_service.remarks(Machine.model_validate(dict(review.machine)), review.image)

    def points(self, reference: str) -> bool:
        return reference.startswith("ssm:")

    def permissions(self, cluster: str, settings: Mapping[str, Json], wanted: Sequence[Wanted]) -> str:
        from infrakit_providers.aws.permissions import least_policy

        chosen = Settings.model_validate(dict(settings))
        machines = [(Machine.model_validate(dict(one.machine)), one.named, one.image.reference) for one in wanted]
        return json.dumps(least_policy(cluster, machines, chosen.region, publish=chosen.publish), indent=2)

    def open(self, settings: Mapping[str, Json], context: ProviderContext) -> Provider:
        require_sdk()
        chosen = Settings.model_validate(dict(settings))
        if chosen.prices is not None:
            from infrakit_providers.aws.priced import PRICES, PricedAwsProvider

            prices = PRICES.read(context.directory / chosen.prices)
            return PricedAwsProvider(chosen, context, self._rates_of(chosen, context.clock), prices)
        from infrakit_providers.aws.provider import AwsProvider

        return AwsProvider(chosen, context, self._rates_of(chosen, context.clock))

    def _rates_of(self, settings: Settings, clock: Now) -> "Rates":
        """Return the buckets of requests of an account and region: one set for all of a process that use it."""
        from infrakit_providers.aws.calls import Rates

        known = self._rates.setdefault(clock, {})
        return known.setdefault((settings.account, settings.limits), Rates(settings.limits, clock.now()))
