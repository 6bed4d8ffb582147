"""The declared state, validated: clusters, providers, images, groups. Plain values to store and compare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from infrakit_py.model.quantities import Amount

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

API_VERSION: Final = "infrakit-py/v1alpha1"


class ImageForm(StrEnum):
    """What an image is made of."""

    KERNEL = "kernel"
    """LinuxKit's kernel+initrd output: files `kernel`, `initrd`, `cmdline`."""
    DISK = "disk"
    """One bootable disk: file `disk`, with `disk_format`."""
    REFERENCE = "reference"
    """Something that the provider already has, by the provider's own name for it."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One artefact: where it lies, its sha256 in hex and its size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Image:
    """An immutable artefact. `identity` is the sha256 (hex) of its content, so equal bytes are the same image."""

    name: str
    identity: str
    form: ImageForm
    files: Mapping[str, ImageFile] = field(default_factory=dict)
    disk_format: str = "raw"
    reference: str = ""

    @property
    def size(self) -> int:
        """Bytes to publish."""
        return sum(file.size for file in self.files.values())

    @property
    def short(self) -> str:
        return self.identity[:12]


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A configured plugin. `settings` are the plugin's own, validated, as written."""

    name: str
    plugin: str
    settings: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FlavorSpec:
    """What makes the members special. `tags` are the user's own; `options` are the flavor plugin's, and secret."""

    kind: str = "vanilla"
    tags: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Json] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How health is asked for. Times in seconds; counts are answers in a row.

    Without a check a machine that runs is healthy. `grace_seconds` counts from the launch and ends early
    with the first healthy answer; within it a failing machine is starting, not unhealthy.
    """

    tcp: int | None = None
    interval_seconds: float = 5.0
    timeout_seconds: float = 2.0
    healthy_after: int = 1
    unhealthy_after: int = 3
    grace_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    """How changes may roll out. `None` means the default for the group's kind.

    `drain_timeout_seconds`: how long a flavor may take to drain a machine before it is destroyed all the same.
    `progress_deadline_seconds`: how long a group may go without progress before `apply` gives up on it.
    """

    max_surge: Amount | None = None
    max_unavailable: Amount | None = None
    drain_timeout_seconds: float = 30.0
    progress_deadline_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """Machines of one kind: `size` interchangeable ones, or one for each of `logical_ids`."""

    name: str
    provider: str
    image: str
    size: int | None = None
    logical_ids: tuple[str, ...] | None = None
    machine: Mapping[str, Json] = field(default_factory=dict)
    flavor: FlavorSpec = FlavorSpec()
    health: HealthCheck = HealthCheck()
    rollout: RolloutSpec = RolloutSpec()
    depends_on: tuple[str, ...] = ()
    prevent_destroy: bool = False

    @property
    def count(self) -> int:
        return len(self.logical_ids) if self.logical_ids is not None else self.size or 0


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """One YAML document. Its name owns its instances."""

    name: str
    source: str
    providers: Mapping[str, ProviderSpec]
    images: Mapping[str, Image]
    groups: Mapping[str, GroupSpec]
