"""A third party's plugin: a simulated cloud that has prices, pointers to images, permissions and a doctor.

Its settings say what it was told, what it resolves and what it finds.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infrakit_providers.simulated import SimulatedPlugin
from infrakit_providers.simulated.cloud import SimCloud
from infrakit_providers.simulated.provider import SimulatedProvider
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.errors import ImageMissing, PluginError, ProviderError
from infrakit_py.model.instance import Instance
from infrakit_py.model.spec import Json
from infrakit_py.spi.provider import Finding, Grade, MachineReview, ProviderContext, Wanted


class VendorSettings(SimSettings):
    source: str = ""
    currency: str = "USD"
    prices: Mapping[str, float] = {}
    pointers: Mapping[str, str] = {}
    findings: Sequence[Mapping[str, str]] = ()
    broken: str = ""


class VendorProvider(SimulatedProvider):
    """Satisfies Priced and Examining."""

    def __init__(self, settings: VendorSettings, cloud: SimCloud) -> None:
        super().__init__(cloud, on_close=cloud.close)
        self.currency = settings.currency
        self.source = settings.source
        self._settings = settings

    def describe(self, cluster: str) -> Sequence[Instance]:
        if self._settings.broken == "describe":
            raise ProviderError("no permission to list")
        return super().describe(cluster)

    def price_of_machines(self, machine: Mapping[str, Json], count: int) -> float | None:
        price = self._settings.prices.get(str(machine.get("type", "small")))
        return None if price is None else price * count

    def price_of(self, instance: Instance) -> float | None:
        return self._settings.prices.get(instance.facts["type"])

    def resolve(self, reference: str) -> str:
        if reference.startswith("pointer:"):
            if reference not in self._settings.pointers:
                raise ImageMissing(f"nothing is at {reference}", hint="publish it")
            return self._settings.pointers[reference]
        return reference

    def examine(self, cluster: str, wanted: Sequence[Wanted]) -> Sequence[Finding]:
        if self._settings.broken == "examine":
            raise ProviderError("no permission to look", hint="allow it")
        machines = [
            Finding(f"group {one.group}", Grade.OK, f"{one.count} × {one.image.reference}, named: {one.named}")
            for one in wanted
        ]
        said = [
            Finding(one["about"], Grade(one["grade"]), one.get("detail", ""), one.get("hint", ""))
            for one in self._settings.findings
        ]
        return [*machines, *said]


class VendorPlugin(SimulatedPlugin):
    """Satisfies ProviderPlugin, Pointing and Permitting."""

    summary = "a simulated vendor"
    settings = VendorSettings

    def review(self, review: MachineReview) -> tuple[()]:
        return ()

    def points(self, reference: str) -> bool:
        return reference.startswith("pointer:")

    def permissions(self, cluster: str, settings: Mapping[str, Json], wanted: Sequence[Wanted]) -> str:
        machines: list[Any] = [[one.group, one.image.reference, one.count, one.named] for one in wanted]
        return json.dumps({"cluster": cluster, "seed": settings.get("seed"), "machines": machines}) + "\n"

    def open(self, settings: Mapping[str, Json], context: ProviderContext) -> VendorProvider:
        told = VendorSettings.model_validate(dict(settings))
        if told.broken == "open":
            raise ProviderError("no credentials", hint="log in")
        if told.broken == "SDK":
            raise PluginError("its SDK is not installed", hint="install it")
        return VendorProvider(told, SimCloud(told, context.clock, Path(context.directory, told.database)))


plugin = VendorPlugin()


def install(site: Path) -> None:
    """Make the plugin known to whoever has `site` on its path, as pip would."""
    metadata = site / "vendor-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: vendor\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[infrakit.providers]\nvendor = tests.cli.vendor:plugin\n")
