"""What a project has besides machines: images, networks, disks, addresses, groups, operations.

Records only; what may happen to them is said where the calls are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from math import inf
from typing import Any, Literal, NamedTuple

from tests.fakes.gce.checking import Checked

Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class MachineType:
    """A machine type, and the zones that have it. Its vCPUs count against the region's quota of that name."""

    name: str
    vcpus: int
    memory_mb: int
    arch: Literal["X86_64", "ARM64"] = "X86_64"
    only_in: tuple[str, ...] = ()
    not_in: tuple[str, ...] = ()
    metric: str = "CPUS"
    gpus: int = 0
    platform: str = "Intel Broadwell"

    def is_in(self, zone: str) -> bool:
        return zone not in self.not_in and (not self.only_in or zone in self.only_in)


@dataclass(slots=True)
class Image:
    project: str
    name: str
    id: str
    created_at: float
    family: str = ""
    arch: str = "X86_64"
    size_gb: int = 1
    deprecated: str = ""
    """DEPRECATED, OBSOLETE or DELETED."""
    status: str = "READY"
    labels: Labels = field(default_factory=dict)
    description: str = ""
    features: tuple[str, ...] = ("UEFI_COMPATIBLE",)
    archive: bytes = field(default=b"", repr=False)
    """What it was made from, where that was an archive in a bucket."""
    locations: tuple[str, ...] = ()
    kms_key: str = ""
    bindings: list[Mapping[str, Any]] = field(default_factory=list)
    """Who has which role on it."""


@dataclass(slots=True)
class Subnet:
    """A subnetwork and who has which of its addresses."""

    id: str
    name: str
    region: str
    network: str
    range: IPv4Network
    taken: set[int] = field(default_factory=set)
    given_back: list[int] = field(default_factory=list)
    next: int = 2
    """Google keeps the first two addresses of a subnetwork for itself, and the last two."""


@dataclass(slots=True)
class Disk:
    id: str
    zone: str
    name: str
    size_gb: int
    type: str
    created_at: float
    labels: Labels = field(default_factory=dict)
    description: str = ""
    image: Image | None = None
    status: str = "READY"
    user: str = ""
    """The machine that has it; empty for nobody."""
    detached_at: float | None = None
    attached_at: float | None = None
    iops: str = ""
    throughput: str = ""
    written: "tuple[object, Checked] | None" = None


@dataclass(slots=True)
class Attachment:
    """A disk on an instance."""

    disk: Disk
    device: str
    boot: bool = False
    auto_delete: bool = False
    mode: str = "READ_WRITE"
    interface: str = "SCSI"
    made: bool = False
    """Whether the disk was made with the instance."""


@dataclass(slots=True)
class Address:
    """A reserved address. `region` is `global` for one that no instance can have."""

    id: str
    name: str
    scope: str
    ip: str
    kind: Literal["EXTERNAL", "INTERNAL"]
    created_at: float
    subnet: Subnet | None = None
    labels: Labels = field(default_factory=dict)
    description: str = ""
    tier: str = "PREMIUM"
    status: str = "RESERVED"
    user: str = ""
    """The machine that has it; empty for nobody."""


@dataclass(slots=True)
class Interface:
    """A network interface of an instance."""

    name: str
    subnet: Subnet
    ip: str
    external: bool = False
    nat_ip: str = ""
    """While the instance runs, if it has one."""
    address: Address | None = None
    """Reserved, if that is where the external address is from."""
    internal: Address | None = None
    access_name: str = "External NAT"
    tier: str = "PREMIUM"
    asked: Mapping[str, Any] = field(default_factory=dict)


class OpError(NamedTuple):
    """How an operation failed."""

    code: str
    message: str
    status: int
    text: str
    """The HTTP status in words."""
    details: tuple[Mapping[str, Any], ...] = ()


@dataclass(slots=True)
class Operation:
    """Something that was accepted and takes its time."""

    id: str
    name: str
    scope: str
    type: str
    target: str
    target_id: str
    inserted_at: float
    starts_at: float
    user: str
    ends_at: float = inf
    request_id: str = ""
    group: str = ""
    """What a bulk insert's operations have in common."""
    errors: tuple[OpError, ...] = ()
    """How it will have failed once it is done."""
    bulk: "Bulk | None" = None
    parent: "Operation | None" = None
    written: "tuple[object, Checked] | None" = None

    def status(self, now: float) -> str:
        if now >= self.ends_at:
            return "DONE"
        return "RUNNING" if now >= self.starts_at else "PENDING"


@dataclass(slots=True)
class Bulk:
    """How far a bulk insert is."""

    target: int
    children: list[Operation] = field(default_factory=list)
    rolling_back: bool = False
    deleted: int = 0


@dataclass(slots=True)
class Instance:
    """What Compute Engine knows of an instance beyond what the simulated cloud knows of the machine."""

    machine: str
    """Its id in the simulated cloud; that of no machine, if the instance will never be for want of room."""
    id: str
    zone: str
    name: str
    type: MachineType
    asked: Mapping[str, Any]
    """What its insert said of it, as far as nothing else here has it."""
    labels: Labels
    metadata: list[dict[str, str]]
    disks: list[Attachment]
    interfaces: list[Interface]
    created_at: float
    visible_at: float
    started_at: float
    doomed: bool = False
    """Whether there is no room for it."""
    protected: bool = False
    spot: bool = False
    insert: Operation | None = None
    ending: Operation | None = None
    stopping: bool = False
    stopped_at: float | None = None
    unhealthy: bool = False
    """Whether it fails the checks of what balances load."""
    console: str = ""
    maintenance: Mapping[str, Any] | None = None
    released: bool = False
    """Whether what it held has been given back."""
    written: "tuple[object, Checked] | None" = None
    """The JSON of it, and what it was written from."""

    @property
    def path(self) -> str:
        return f"projects/infrakit-test/zones/{self.zone}/instances/{self.name}"


@dataclass(slots=True)
class InstanceGroup:
    """An unmanaged instance group."""

    id: str
    zone: str
    name: str
    created_at: float
    members: dict[str, float] = field(default_factory=dict)
    """When each joined, by machine."""
    left: dict[str, float] = field(default_factory=dict)
    """When each was taken out, by machine."""


@dataclass(slots=True)
class BackendService:
    id: str
    name: str
    scope: str
    groups: tuple[InstanceGroup, ...]
    draining_seconds: int
    created_at: float


@dataclass(slots=True)
class TargetPool:
    id: str
    name: str
    region: str
    created_at: float
    members: dict[str, float] = field(default_factory=dict)
    """When each joined, by instance's path."""
