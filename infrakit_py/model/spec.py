"""The declared state, validated: clusters, providers, images, groups. Plain values to store and compare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from infrakit_py.model.quantities import Amount

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

API_VERSION: Final = "infrakit-py/v1alpha1"
KNOWN_LATER: Final = "known after build"
AMD64: Final = "amd64"
ARM64: Final = "arm64"
_FEW: Final = Amount(5, percent=True)
_HALF: Final = Amount(50, percent=True)


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
class Signed:
    """Files that an image is checked with: a public key (PEM), and a detached signature of the image's manifest."""

    key: str
    signature: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """How LinuxKit makes an image: its YAML file and the rest of what `linuxkit build` is told.

    `key` (a sha256 in hex) tells two recipes apart by all that goes into the build but the version of LinuxKit. It
    says whether to build again, never what an image is. `content` is what the YAML holds, and may hold secrets;
    `sources` are the digests of the files that it reads, by their names in the YAML, and `watched` where they lie;
    `unpinned` names its components that may be something else tomorrow.
    """

    file: str
    key: str
    content: Mapping[str, Json] = field(default_factory=dict, repr=False)
    sources: Mapping[str, str] = field(default_factory=dict)
    watched: tuple[str, ...] = ()
    unpinned: tuple[str, ...] = ()
    build_args: tuple[str, ...] = ()
    sbom: bool = False
    time_limit_seconds: float = 1800.0
    signed: Signed | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An immutable artefact. `identity` is the sha256 (hex) of its content, so equal bytes are the same image.

    `cmdline` is the text of a kernel's command line, so that the image boots when its files are another image's.
    `written` is the reference as the user wrote it, where that only points to the one that it stood for when asked.
    `architecture` is that of the machines that it boots on, as Go and LinuxKit call it.

    Of a kernel: `as_disk` is the format of the disk that machines boot from where they could boot from the kernel
    itself (empty: they do that), `disk_size` the least size of such disks in bytes (0: what they need). With a
    `recipe` and no files it is not built yet: its identity then stands for the recipe.
    """

    name: str
    identity: str
    form: ImageForm
    files: Mapping[str, ImageFile] = field(default_factory=dict)
    disk_format: str = "raw"
    reference: str = ""
    cmdline: str = ""
    written: str = ""
    architecture: str = AMD64
    as_disk: str = ""
    disk_size: int = 0
    recipe: Recipe | None = None

    @property
    def is_built(self) -> bool:
        return self.recipe is None or bool(self.files)

    @property
    def size(self) -> int:
        """Bytes to publish."""
        return sum(file.size for file in self.files.values())

    @property
    def short(self) -> str:
        """The beginning of the identity, for people; KNOWN_LATER as long as there is none."""
        return self.identity[:12] if self.is_built else KNOWN_LATER


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
class HttpCheck:
    """A GET that a healthy machine answers. `status` are the codes that count as healthy, as (first, last) ranges.

    `body` is a regular expression that must be found in what comes back. `host` is sent as the Host header and
    checked against an https certificate; without `verify` no certificate is checked.
    """

    port: int
    path: str = "/"
    https: bool = False
    verify: bool = True
    host: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    status: tuple[tuple[int, int], ...] = ((200, 399),)
    body: str = ""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How health is asked for. Times in seconds; counts are answers in a row.

    All checks that are declared must pass: a TCP port that accepts, an HTTP answer, a command that ends with 0 where
    this program runs, the flavor's own opinion. A provider that reports a machine as impaired is always heard.
    Without a check a machine that runs is healthy. `grace_seconds` counts from the launch and ends early
    with the first healthy answer; within it a failing machine is starting, not unhealthy.
    """

    tcp: int | None = None
    http: HttpCheck | None = None
    command: tuple[str, ...] = ()
    flavor: bool = False
    interval_seconds: float = 5.0
    timeout_seconds: float = 2.0
    healthy_after: int = 1
    unhealthy_after: int = 3
    grace_seconds: float = 120.0

    @property
    def asks(self) -> bool:
        """Tell whether any check is declared."""
        return self.tcp is not None or self.http is not None or bool(self.command) or self.flavor


class Strategy(StrEnum):
    """How a new version takes the place of the old one."""

    ROLLING = "rolling"
    RECREATE = "recreate"
    """All old machines first, then the new ones: never both."""
    BLUE_GREEN = "blue_green"
    """A full second set, and only when it is ready and baked the first old one goes."""


class OnFailure(StrEnum):
    PAUSE = "pause"
    ROLLBACK = "rollback"


class VictimOrder(StrEnum):
    OLDEST = "oldest"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class Window:
    """When a rollout may change something: from `start_minutes` after midnight on `days` (0 is Monday), for a while.

    Both are local times in the IANA `time_zone`. An empty `days` means every day.
    """

    start_minutes: int
    duration_seconds: float
    days: tuple[int, ...] = ()
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    """How changes may roll out. `None` means the default for the group's kind.

    `steps`: how many machines of the new version there may be before the next step, each baked for `bake_seconds`.
    `min_ready_seconds`: how long a new machine must have been healthy until it counts as ready.
    `failure_limit`: failed new machines at which the rollout stops.
    `drain_timeout_seconds`: how long a flavor may take to drain a machine before it is destroyed all the same.
    `progress_deadline_seconds`: how long a group may go without progress before its rollout is taken for failed.
    `keep_old_seconds`: how long blue_green keeps the old set once the new one is ready and baked.
    """

    strategy: Strategy = Strategy.ROLLING
    max_surge: Amount | None = None
    max_unavailable: Amount | None = None
    steps: tuple[Amount, ...] = ()
    bake_seconds: float = 0.0
    min_ready_seconds: float = 0.0
    failure_limit: Amount = _FEW
    on_failure: OnFailure = OnFailure.PAUSE
    order: VictimOrder = VictimOrder.OLDEST
    windows: tuple[Window, ...] = ()
    paused: bool = False
    keep_old_seconds: float = 0.0
    drain_timeout_seconds: float = 30.0
    progress_deadline_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class HealingSpec:
    """How failed machines are replaced, and when that stops because the machines are not to blame.

    A first failure is followed by a successor at once, the `n`th in a row by one no earlier than `back_off_seconds` *
    2^(n-2) after the launch of the failed machine, at most `max_back_off_seconds`. The circuit breaker: nobody is
    replaced for bad health while more than `max_unhealthy` of the group (and at least three) are; after
    `max_failed_launches` failed ones in a row a slot is tried once in `retry_seconds`; and where at least `max_alike`
    failed machines share a zone, image or host that others do not fail in, they are left alone.
    """

    back_off_seconds: float = 10.0
    max_back_off_seconds: float = 300.0
    max_unhealthy: Amount = _HALF
    max_failed_launches: int = 5
    retry_seconds: float = 1800.0
    max_alike: int = 3


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """Machines of one kind: `size` interchangeable ones, or one for each of `logical_ids`.

    `scale_down`: who goes first among equals when the group shrinks. `max_age_seconds`: older machines are
    replaced. `rebalance`: machines of crowded zones are replaced until the zones are even.
    """

    name: str
    provider: str
    image: str
    size: int | None = None
    logical_ids: tuple[str, ...] | None = None
    machine: Mapping[str, Json] = field(default_factory=dict)
    flavor: FlavorSpec = FlavorSpec()
    health: HealthCheck = HealthCheck()
    rollout: RolloutSpec = RolloutSpec()
    healing: HealingSpec = HealingSpec()
    scale_down: VictimOrder = VictimOrder.NEWEST
    max_age_seconds: float | None = None
    rebalance: bool = False
    depends_on: tuple[str, ...] = ()
    prevent_destroy: bool = False

    @property
    def count(self) -> int:
        return len(self.logical_ids) if self.logical_ids is not None else self.size or 0


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """One YAML document. Its name owns its instances.

    `max_unavailable`: machines that may be missing in all groups together by our own act.
    """

    name: str
    source: str
    providers: Mapping[str, ProviderSpec]
    images: Mapping[str, Image]
    groups: Mapping[str, GroupSpec]
    max_unavailable: Amount | None = None
