"""What a user may write for one EC2 machine: a group's `machine` mapping."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from infrakit_providers.aws.fields import (
    HostId,
    InstanceProfile,
    InstanceTypes,
    SecurityGroupIds,
    SubnetIds,
    Tags,
    TargetGroups,
    Zones,
)
from infrakit_providers.aws.volumes import DataDisk, Disk, RootDisk, same_device
from infrakit_providers.cloud.fields import Items, Name, Strict

_LEAST_PRICE: Final = Decimal("0.001")
"""EC2 API Reference, SpotMarketOptions: a price must be more than this, in USD an hour."""
_NOT_IN_METADATA: Final = (" ", "/")


def _price(written: object) -> str:
    """Return a price in USD an hour as EC2 wants it: text without an exponent."""
    if isinstance(written, bool) or not isinstance(written, str | int | float):
        raise ValueError("not a price: write USD an hour, such as 0.05")
    try:
        price = Decimal(str(written))
    except InvalidOperation:
        raise ValueError(f"not a price: {written!r} (write USD an hour, such as 0.05)") from None
    if not price.is_finite() or price <= _LEAST_PRICE:
        raise ValueError(f"must be more than {_LEAST_PRICE} USD an hour; leave it out for the on-demand price")
    return f"{price:f}"


Price = Annotated[str, BeforeValidator(_price, json_schema_input_type=float | str)]


class Metadata(Strict):
    """The instance metadata service. Its `endpoint` is also how a machine gets its user data."""

    tokens: Literal["required", "optional"] = "required"
    hop_limit: int = Field(default=1, ge=1, le=64)
    endpoint: bool = True
    tags: bool = False


class Placement(Strict):
    """On which hardware. The default is wherever EC2 likes."""

    group: Name | None = None
    partition: Annotated[int, Field(ge=1, le=7)] | None = None
    tenancy: Literal["default", "dedicated", "host"] = "default"
    host_id: HostId | None = None
    affinity: Literal["default", "host"] | None = None

    @model_validator(mode="after")
    def _must_fit_together(self) -> Self:
        if self.partition is not None and self.group is None:
            raise ValueError("a partition is one of a placement group's: write group, or leave partition out")
        if self.tenancy != "host" and (self.host_id is not None or self.affinity is not None):
            raise ValueError("host_id and affinity are for dedicated hosts: write tenancy: host, or leave them out")
        return self


class Cpu(Strict):
    """Fewer cores or threads than the instance type has. EC2 wants both numbers."""

    cores: PositiveInt
    threads_per_core: int = Field(ge=1, le=2)


class Capacity(Strict):
    """How many machines are bought on demand, and how the others are.

    The first `on_demand_base` machines of a group are on demand, and of the rest all but `spot_percent`.
    `max_price` (USD an hour) interrupts more often than it saves, and is better left out.
    """

    on_demand_base: NonNegativeInt = 0
    spot_percent: int = Field(default=0, ge=0, le=100)
    max_price: Price | None = None
    interruption: Literal["terminate", "stop", "hibernate"] = "terminate"
    allocation: Literal["price-capacity-optimized", "capacity-optimized", "lowest-price"] = "price-capacity-optimized"

    def on_demand_among(self, count: int) -> int:
        """Return how many of a group's machines are on demand when there are so many."""
        beyond = max(0, count - self.on_demand_base)
        return min(count, self.on_demand_base) + -(-beyond * (100 - self.spot_percent) // 100)


class ResourceTags(Strict):
    """The user's own tags on what a machine is made of. Tags of the flavor go on the instance as well."""

    instance: Tags = Field(default_factory=dict)
    volumes: Tags = Field(default_factory=dict)
    interfaces: Tags = Field(default_factory=dict)


class Machine(Strict):
    """One machine's shape. Sizes are bytes once validated.

    `instance_types` are tried in order where EC2 has no capacity. Machines are spread over `subnets`, or over the
    default subnets of `zones`, or over all default subnets. `data_disks`, `elastic_ip` and `keep_interface` are for
    named members: what they make outlives the machine and belongs to the member.
    """

    instance_types: InstanceTypes
    subnets: SubnetIds | None = None
    zones: Zones | None = None
    security_groups: SecurityGroupIds = ()
    key_name: Name | None = None
    instance_profile: InstanceProfile | None = None
    root_disk: RootDisk | None = None
    disks: Items[Disk] = ()
    data_disks: Items[DataDisk] = ()
    elastic_ip: bool = False
    keep_interface: bool = False
    public_ip: bool | None = None
    ipv6: NonNegativeInt = 0
    metadata: Metadata = Metadata()
    placement: Placement = Placement()
    cpu: Cpu | None = None
    monitoring: bool = False
    ebs_optimized: bool | None = None
    capacity: Capacity = Capacity()
    target_groups: TargetGroups = ()
    tags: ResourceTags = ResourceTags()
    termination_protection: bool = False

    @field_validator("data_disks")
    @classmethod
    def _must_have_names_of_their_own(cls, disks: tuple[DataDisk, ...]) -> tuple[DataDisk, ...]:
        names = [disk.name for disk in disks]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise ValueError(f"two data disks are named {name}; each needs a name of its own")
        return disks

    @model_validator(mode="after")
    def _must_fit_together(self) -> Self:
        if self.subnets is not None and self.zones is not None:
            raise ValueError("write subnets or zones, not both: a subnet lies in a zone")
        seen: set[str] = set()
        for device in self._devices():
            if same_device(device) in seen:
                raise ValueError(f"two disks want the device {device}; give each one of its own")
            seen.add(same_device(device))
        if self.metadata.tags:
            for key in self.tags.instance:
                if any(wrong in key for wrong in _NOT_IN_METADATA):
                    raise ValueError(f"tag {key!r}: with metadata tags, keys have neither spaces nor slashes")
        return self

    def _devices(self) -> Iterator[str]:
        if self.root_disk is not None and self.root_disk.device is not None:
            yield self.root_disk.device
        yield from (disk.device for disk in self.disks)
        yield from (disk.device for disk in self.data_disks)
