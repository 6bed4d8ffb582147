"""What kind of project stands behind the fake, and all that it has from the start.

Names are fixed, so that an example's cluster.yml can name them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from infrakit_providers.simulated.settings import SimSettings, ZoneCapacity
from infrakit_py.model.quantities import format_duration

PROJECT: Final = "infrakit-test"
PROJECT_NUMBER: Final = "123456789012"
REGIONS: Final = {"europe-west1": "bcd", "europe-north1": "abc"}
"""The letters of each region's zones. A letter alone means a zone of the first region."""
ZONES: Final = tuple(f"{region}-{letter}" for region, letters in REGIONS.items() for letter in letters)
SERVICE_ACCOUNT: Final = f"infrakit@{PROJECT}.iam.gserviceaccount.com"
DEFAULT_ACCOUNT: Final = f"{PROJECT_NUMBER}-compute@developer.gserviceaccount.com"
IMAGE_PROJECT: Final = "debian-cloud"
DISK_TYPES: Final = ("pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced")
ACCELERATOR_TYPE: Final = "nvidia-tesla-t4"
GROUP: Final = "web"
"""The name of an instance group in each zone of the first region, of the backend service and of the target pool."""
INTERNAL_SERVICE: Final = "web-internal"

METRICS: Final = (
    *("CPUS", "N2_CPUS", "N2D_CPUS", "C3_CPUS", "T2D_CPUS", "T2A_CPUS", "A2_CPUS", "PREEMPTIBLE_CPUS", "INSTANCES"),
    *("IN_USE_ADDRESSES", "STATIC_ADDRESSES", "DISKS_TOTAL_GB", "SSD_TOTAL_GB", "HDB_TOTAL_GB"),
)
UNLIMITED: Final = 1_000_000.0
"""What is shown as a quota's limit where settings have none."""

Capacity = Mapping[str, ZoneCapacity]
"""Machines that a zone has to give, by its letter or name: of all types, of each type (and no other), or no end."""


def zone_name(zone: str) -> str:
    """Return the full name of a zone that goes by its letter."""
    return zone if zone in ZONES else f"{next(iter(REGIONS))}-{zone}"


def region_of(zone: str) -> str:
    return zone.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class FakeSettings:
    """How the fake behaves. Times are in seconds of its clock."""

    seed: int = 0
    boot_seconds: float = 2.0
    """From accepted to RUNNING; the insert's operation is done then."""
    delete_seconds: float = 1.0
    """From STOPPING to gone; the delete's operation is done then."""
    import_seconds: float = 20.0
    """How long an image is PENDING that is made of an archive."""
    stop_seconds: float = 1.0
    """From STOPPING to TERMINATED."""
    operation_seconds: float = 1.0
    """How long small operations take. What they change changes at their end."""
    accept_seconds: float = 0.0
    """How long after its insert was accepted an instance is first there, for get and for listings."""
    bulk_appear_seconds: float = 0.0
    """The same for bulkInsert."""
    listing_lag: float = 0.0
    """How long listings miss a new instance."""
    stockout_seconds: float = 2.0
    """Until an insert that found no room fails, and its instance vanishes."""
    stockout_details: bool = False
    """Whether that error's code ends in _WITH_DETAILS."""
    bulk_stockout_answer: Literal["operation", "request"] = "operation"
    """Whether a bulkInsert for fewer machines than it must have at least fails later or is refused."""
    bulk_taken_answer: Literal["request", "operation"] = "request"
    """Whether a bulkInsert with a name that is taken is refused or fails later."""
    preempt_seconds: float = 30.0
    capacity: Capacity = field(default_factory=dict)
    """A zone that is not named has no end."""
    quotas: Mapping[str, float] = field(default_factory=dict)
    """Limits by metric, in each region."""
    quota_answer: Literal["operation", "request"] = "operation"
    limits: Literal["none", "gce"] = "none"
    """Whether calls are counted in windows of a minute."""
    per_minute: Mapping[str, int] = field(default_factory=dict)
    """Calls a minute by kind (`get`, `list`, `mutate`, `operation`) where it is not 1500."""
    failure_rate: float = 0.0
    """Share of calls that fail, half of the changing ones after the work was done."""
    token_seconds: float = 3600.0
    subnet_bits: int = 20
    """Length of the prefix of the network `default`'s subnetworks: 20, as Google makes them, has 4,092 addresses."""
    health_seconds: float = 0.0
    """From added and running to healthy, in a backend service or target pool."""

    def cloud(self) -> SimSettings:
        """Return the settings of the simulated cloud that has the instances."""
        rooms = {zone_name(zone): room for zone, room in self.capacity.items()}
        settings = {
            "seed": self.seed,
            "boot_time": format_duration(self.boot_seconds),
            "destroy_time": format_duration(self.delete_seconds),
            "listing_lag": format_duration(self.listing_lag),
            "zones": {zone: rooms.get(zone) for zone in ZONES},
        }
        return SimSettings.model_validate(settings)
