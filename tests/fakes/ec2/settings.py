"""What kind of account stands behind the fake, and the ids of all that it has from the start.

The ids are fixed, so that an example's cluster.yml can name them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from infrakit_providers.simulated.settings import SimSettings, ZoneCapacity
from infrakit_py.model.quantities import format_duration

ACCOUNT: Final = "123456789012"
VPC: Final = "vpc-0f00d000000000001"
SUBNETS: Final = {
    "a": "subnet-0f00d00000000000a",
    "b": "subnet-0f00d00000000000b",
    "c": "subnet-0f00d00000000000c",
}
DEFAULT_GROUP: Final = "sg-0f00d000000000001"
WEB_GROUP: Final = "sg-0f00d000000000002"
LINUX: Final = "ami-0f00d000000000001"
LINUX_2: Final = "ami-0f00d000000000002"
LINUX_ARM: Final = "ami-0f00d000000000003"
KEY_PAIR: Final = "operator"
INSTANCE_PROFILE: Final = "infrakit"
PLACEMENT_GROUP: Final = "infrakit"
IMAGE_PARAMETER: Final = "/infrakit/ami/linux"
TARGET_GROUP: Final = "web"
TARGET_GROUP_ID: Final = "0f00d00000000001"
KMS_KEY: Final = "0f00d000-0000-4000-8000-000000000001"

Capacity = Mapping[str, ZoneCapacity]
"""Instances that a zone has to give, by the zone's letter: of all types, of each type, or without end (None)."""


@dataclass(frozen=True, slots=True)
class FakeSettings:
    """How the fake behaves. Times are in seconds of its clock."""

    region: str = "eu-central-1"
    zones: tuple[str, ...] = ("a", "b", "c")
    seed: int = 0
    boot_seconds: float = 2.0
    """From pending to running."""
    terminate_seconds: float = 1.0
    """From shutting-down to terminated."""
    gone_listed_for: float = 3600.0
    listing_lag: float = 0.0
    """How long listings by filter miss a new instance."""
    id_lag: float = 0.0
    """How long even a look by id misses it."""
    capacity: Capacity = field(default_factory=dict)
    """By letter of zone; a zone that is not named has no end."""
    instance_quota: int | None = None
    vcpu_quota: int | None = None
    spot_vcpu_quota: int | None = None
    address_quota: int = 100
    """Elastic addresses. AWS begins with 5."""
    limits: Literal["none", "ec2"] = "none"
    """Whether calls take tokens from AWS's documented buckets."""
    failure_rate: float = 0.0
    """Share of calls on instances that fail, half of the changing ones after the work was done."""
    subnet_bits: int = 18
    """Length of the subnets' prefix: 28 leaves 11 addresses in each."""
    spot_notice_seconds: float = 120.0
    health_seconds: float = 0.0
    """From registered and running to healthy, in a target group."""
    deregistration_seconds: float = 300.0
    snapshot_seconds: float = 0.0
    """From the last block to a completed snapshot."""
    import_seconds: float = 0.0
    copy_seconds: float = 0.0
    """Until a copy of an image is available in another region."""
    neighbours: tuple[str, ...] = ()
    """Other regions in which the account has something, too."""

    def zone_name(self, letter: str) -> str:
        return f"{self.region}{letter}"

    def cloud(self) -> SimSettings:
        """Return the settings of the simulated cloud that has the instances."""
        settings = {
            "seed": self.seed,
            "boot_time": format_duration(self.boot_seconds),
            "destroy_time": format_duration(self.terminate_seconds),
            "gone_listed_for": format_duration(self.gone_listed_for),
            "listing_lag": format_duration(self.listing_lag),
            "zones": {self.zone_name(letter): self.capacity.get(letter) for letter in self.zones},
            "quota": self.instance_quota,
            "failure_rate": self.failure_rate,
        }
        return SimSettings.model_validate(settings)
