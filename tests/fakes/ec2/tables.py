"""What an account has besides machines: images, subnets, volumes, interfaces, addresses, target groups.

Records only; what may happen to them is said where the calls are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any, Literal

Tags = dict[str, str]


@dataclass(frozen=True, slots=True)
class Type:
    """An instance type. `zones` are letters; its vCPUs count against the account's quota."""

    name: str
    vcpus: int
    memory_mib: int
    arch: Literal["x86_64", "arm64"] = "x86_64"
    zones: str = "abcdef"
    threads_per_core: int = 2


@dataclass(slots=True)
class Image:
    id: str
    name: str
    arch: str
    snapshot: str
    root: str
    gibibytes: int
    created_at: float
    state: str = "available"
    tags: Tags = field(default_factory=dict)
    boot_mode: str | None = None
    volume_type: str = "gp3"
    ena: bool = True
    encrypted: bool = False
    description: str = ""
    imds: str | None = None
    reason: str = ""
    """Why it failed."""
    shared: set[str] = field(default_factory=set)
    """Accounts that may launch it."""


@dataclass(slots=True)
class Snapshot:
    """A snapshot with its bytes: blocks by index, those that are empty left out."""

    id: str
    gibibytes: int
    created_at: float
    state: str = "pending"
    tags: Tags = field(default_factory=dict)
    description: str = ""
    encrypted: bool = False
    kms_key: str | None = None
    message: str = ""
    blocks: dict[int, bytes] = field(default_factory=dict)
    written_at: float = 0.0
    sealed: bool = False
    """Whether no more blocks are taken."""
    shared: set[str] = field(default_factory=set)
    """Accounts that may make volumes of it."""


@dataclass(slots=True)
class ImportTask:
    """A snapshot being made of an object in a bucket."""

    id: str
    asked: Mapping[str, Any]
    status: str = "active"
    message: str = ""
    snapshot: str = ""
    tags: Tags = field(default_factory=dict)


@dataclass(slots=True)
class Subnet:
    """A subnet and who has which of its addresses."""

    id: str
    zone: str
    network: IPv4Network
    tags: Tags = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    given_back: list[int] = field(default_factory=list)
    next: int = 4
    """AWS keeps the first four addresses of a subnet for itself, and the last."""
    first: int = 0
    size: int = 0

    def __post_init__(self) -> None:
        self.first, self.size = int(self.network.network_address), self.network.num_addresses

    @property
    def free(self) -> int:
        return self.size - 5 - len(self.taken)


@dataclass(slots=True)
class Group:
    """A security group."""

    id: str
    name: str
    tags: Tags = field(default_factory=dict)


@dataclass(slots=True)
class Volume:
    id: str
    zone: str
    gibibytes: int
    type: str
    created_at: float
    iops: int | None = None
    throughput: int | None = None
    encrypted: bool = False
    kms_key: str | None = None
    snapshot: str = ""
    tags: Tags = field(default_factory=dict)
    instance: str = ""
    """Who has it; empty for nobody."""
    device: str = ""
    attached_at: float = 0.0
    delete_on_termination: bool = False


@dataclass(slots=True)
class Interface:
    """A network interface."""

    id: str
    subnet: Subnet
    private_ip: str
    groups: tuple[str, ...]
    created_at: float
    description: str = ""
    ipv6: tuple[str, ...] = ()
    public_ip: str = ""
    """Given at launch, and gone with the instance; an elastic address is an Address."""
    tags: Tags = field(default_factory=dict)
    instance: str = ""
    attachment: str = ""
    device_index: int = 0
    attached_at: float = 0.0
    delete_on_termination: bool = False


@dataclass(slots=True)
class Address:
    """An elastic address."""

    id: str
    public_ip: str
    tags: Tags = field(default_factory=dict)
    association: str = ""
    interface: str = ""


@dataclass(slots=True)
class Target:
    """An instance and port in a target group."""

    instance: str
    port: int
    registered_at: float
    unhealthy: str = ""
    """Reason, if it was made to fail its checks."""
    draining_until: float | None = None


@dataclass(slots=True)
class TargetGroup:
    arn: str
    name: str
    protocol: str
    port: int
    health: Mapping[str, Any]
    tags: Tags = field(default_factory=dict)
    targets: dict[tuple[str, int], Target] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """A scheduled event of an instance."""

    id: str
    code: str
    description: str
    not_before: float


@dataclass(slots=True)
class SpotRequest:
    id: str
    instance: str
    created_at: float
    max_price: str
    kind: str
    behavior: str
    state: str = "active"
    status: str = "fulfilled"
    message: str = "Your Spot request is fulfilled."
    updated_at: float = 0.0
    tags: Tags = field(default_factory=dict)


@dataclass(slots=True)
class Reservation:
    """What one RunInstances call made."""

    id: str
    digest: str
    token: str
    instances: tuple[str, ...]


@dataclass(slots=True)
class Instance:
    """What EC2 knows of an instance beyond what the simulated cloud knows of the machine."""

    id: str
    reservation: Reservation
    index: int
    image: Image
    type: Type
    asked: Mapping[str, Any]
    """The parameters of its launch."""
    subnet: Subnet
    interfaces: list[Interface]
    volumes: list[Volume]
    profile: str = ""
    user_data: str = ""
    """As it was sent: base64."""
    protected: bool = False
    stop_protected: bool = False
    spot: SpotRequest | None = None
    reason: tuple[str, str] | None = None
    """StateReason: code and message."""
    transition: str = ""
    events: list[Event] = field(default_factory=list)
    released: bool = False
    """Whether what it held has been given back."""
    written: tuple[object, str] | None = None
    """The XML of it, and the machine it was written from."""


@dataclass(slots=True)
class Template:
    """A launch template with one version."""

    id: str
    name: str
    data: Mapping[str, Any]
    created_at: float
    tags: Tags = field(default_factory=dict)


@dataclass(slots=True)
class Session:
    """Temporary credentials."""

    arn: str
    """Of the role as it was assumed."""
    expires_at: float
