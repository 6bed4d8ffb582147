"""Where a group's machines may go: zones of the provider's region. They are asked for now and then, and kept."""

import re
from threading import RLock
from typing import Final

from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.fields import region_of
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.settings import Settings
from infrakit_py.errors import ProviderError
from infrakit_py.spi.provider import Now

UP: Final = "UP"
_REMEMBERED_SECONDS: Final = 600.0
_ORDINARY: Final = re.compile(r"-[a-z]$")
"""Some regions have AI zones as well (us-central1-ai1a), with accelerators and little else: Compute Engine
documentation, "Regions and zones". Machines go there where they are written."""


class Zones:
    """The zones that machines may be spread over. Safe for threads."""

    def __init__(self, caller: Caller, settings: Settings, clock: Now) -> None:
        self.region = settings.home
        self._caller = caller
        self._written = tuple(settings.zones or ())
        self._clock = clock
        self._lock = RLock()
        self._at = 0.0
        self._up: tuple[str, ...] = ()

    def of(self, machine: Machine) -> tuple[str, ...]:
        """Return a machine's zones, as written or in order of their names. ProviderError where there is none."""
        if known := tuple(machine.zones or self._written):
            return known
        with self._lock:
            if not self._up or self._clock.now() - self._at >= _REMEMBERED_SECONDS:
                statuses = self.statuses()
                if not self._up:
                    there = "no zone of it is up" if statuses else "there is no such region for this project"
                    raise ProviderError(f"gcp: region {self.region}: {there}", hint="write another region")
            return self._up

    def known(self, machine: Machine) -> tuple[str, ...]:
        """Return a machine's zones, as far as they are known without asking."""
        return tuple(machine.zones or self._written or self._up)

    def statuses(self) -> dict[str, str]:
        """Ask for all zones of the region now, and return the status of each by its name."""
        pages = self._caller.pages("zones", "list", f"list the zones of {self.region}")
        found = {one.name: one.status for page in pages for one in page.items if region_of(one.name) == self.region}
        up = tuple(sorted(name for name, status in found.items() if status == UP and _ORDINARY.search(name)))
        with self._lock:
            self._at, self._up = self._clock.now(), up
        return found
