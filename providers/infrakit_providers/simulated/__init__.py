"""A whole cloud in one file: for trying things out, for tests, for the demonstration in the README.

It behaves as the big ones do, faults included: machines take time to boot, die, are listed late; zones run out.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from infrakit_providers.simulated.settings import SimMachine, SimSettings
from infrakit_py.model.spec import Json
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.provider import MachineReview, Provider, ProviderContext

IN_MEMORY: Final = ":memory:"


class SimulatedPlugin:
    """Satisfies ProviderPlugin."""

    summary: str = "simulated machines in a local file; needs nothing and costs nothing"
    settings: type[BaseModel] = SimSettings
    machine: type[BaseModel] = SimMachine

    def review(self, review: MachineReview) -> Iterable[Complaint]:
        settings = SimSettings.model_validate(dict(review.settings))
        machine = SimMachine.model_validate(dict(review.machine))
        for index, zone in enumerate(machine.zones or ()):
            if zone not in settings.zones:
                yield Complaint(("zones", index), f"no zone {zone!r} (there are {', '.join(settings.zones)})")
        if machine.data_disk is not None and not review.named:
            yield Complaint(("data_disk",), "interchangeable machines keep no data disk; use logical_ids, not size")
        if (types := _types_in(settings, machine)) and machine.type not in types:
            yield Complaint(("type",), f"no zone has {machine.type!r} machines (there are {', '.join(types)})")

    def open(self, settings: Mapping[str, Json], context: ProviderContext) -> Provider:
        from infrakit_providers.simulated.cloud import SimCloud
        from infrakit_providers.simulated.provider import SimulatedProvider

        wanted = SimSettings.model_validate(dict(settings))
        path = None if wanted.database == IN_MEMORY else Path(context.directory, wanted.database)
        cloud = SimCloud(wanted, context.clock, path)
        return SimulatedProvider(cloud, on_close=cloud.close)


def _types_in(settings: SimSettings, machine: SimMachine) -> list[str]:
    """Return the types that the machine's zones have; none if one of them has all."""
    types: dict[str, None] = {}
    for zone in machine.zones or settings.zones:
        match settings.zones.get(zone):
            case Mapping() as by_type:
                types |= dict.fromkeys(by_type)
            case _:
                return []
    return list(types)


plugin: Final = SimulatedPlugin()
