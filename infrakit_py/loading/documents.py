"""The shape of a cluster's YAML document. What it says is judged elsewhere; here is only what it may look like."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from infrakit_py.loading.fields import (
    Age,
    AmountField,
    Command,
    Count,
    Duration,
    FileName,
    ImageName,
    Name,
    Omittable,
    OneOf,
    OneOrMore,
    Port,
    PositiveAmount,
    PositiveDuration,
    Size,
    TagKey,
    TagValue,
)
from infrakit_py.loading.http_fields import HeaderName, HeaderValue, Host, RegularExpression, Statuses, UrlPath
from infrakit_py.loading.image_fields import Architecture, BuildArguments, ByteSize, ImageFormat
from infrakit_py.loading.window_fields import Days, OpenDuration, TimeOfDay, TimeZone
from infrakit_py.model.quantities import Amount, format_duration
from infrakit_py.model.spec import (
    FlavorSpec,
    HealingSpec,
    HealthCheck,
    HttpCheck,
    OnFailure,
    Recipe,
    RolloutSpec,
    Strategy,
    VictimOrder,
)

_HTTP: Final = HttpCheck(port=80)
_HEALTH: Final = HealthCheck()
_ROLLOUT: Final = RolloutSpec()
_HEALING: Final = HealingSpec()
_BUILD_SECONDS: Final = Recipe("", "").time_limit_seconds


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _OpenEntry(BaseModel):
    """An entry whose further keys belong to a plugin."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


def _seconds(default: float, description: str) -> Any:
    return Field(default=default, description=description, json_schema_extra={"default": format_duration(default)})


def _share(default: Amount, description: str) -> Any:
    return Field(default=default, description=description, json_schema_extra={"default": str(default)})


class MetadataEntry(_Entry):
    name: Name = Field(description="the cluster's name; it owns the cluster's machines")


class ProviderEntry(_OpenEntry):
    plugin: str = Field(description="the provider plugin; further keys are its settings")


class ImageEntry(_Entry):
    """A LinuxKit YAML, or what was built of one, or one bootable disk, or something that the provider already has."""

    linuxkit: Omittable[FileName] = Field(
        default=None, description="LinuxKit YAML file to build the image from, relative to this YAML file"
    )
    kernel: Omittable[FileName] = Field(default=None, description="file, relative to this YAML file")
    initrd: Omittable[FileName] = Field(default=None, description="file, relative to this YAML file")
    cmdline: Omittable[FileName] = Field(default=None, description="file that holds the kernel's command line")
    disk: Omittable[FileName] = Field(default=None, description="file, relative to this YAML file")
    format: Omittable[ImageFormat] = Field(
        default=None,
        description="of a disk (default: by its suffix); of a kernel: what machines boot from where both can be done",
    )
    reference: Omittable[FileName] = Field(default=None, description="the provider's own name for an image")
    arch: OneOf[Architecture] = Field(
        default=Architecture.AMD64, description="of the machines that boot it; amd64 and x86_64 are the same"
    )
    size: Omittable[ByteSize] = Field(default=None, description="of disks that are made of a kernel, at least")
    build_args: BuildArguments = Field(default=[], description="further arguments of `linuxkit build`")
    build_timeout: PositiveDuration = _seconds(_BUILD_SECONDS, "for a build")
    sbom: bool = Field(default=False, description="keep a list of what the image is made of beside it (SPDX)")
    verify: Omittable[FileName] = Field(
        default=None, description="public key (PEM) that must have signed the image's manifest"
    )
    signature: Omittable[FileName] = Field(
        default=None, description="the detached signature; default: beside the image's first file, with suffix .sig"
    )


class HttpEntry(_Entry):
    """A GET that a healthy machine answers."""

    port: Port = Field(description="of the machine")
    path: UrlPath = Field(default=_HTTP.path, description="path and query of the URL")
    scheme: Literal["http", "https"] = Field(default="http", description="with or without TLS")
    verify: bool = Field(default=_HTTP.verify, description="check the certificate of https")
    host: Omittable[Host] = Field(default=None, description="the Host header; https checks its certificate by it")
    headers: dict[HeaderName, HeaderValue] = Field(default={}, description="further headers of the request")
    status: OneOrMore[Statuses] = Field(
        default=list(_HTTP.status),
        description="codes that count as healthy, and ranges of them",
        json_schema_extra={"default": "200-399"},
    )
    body: Omittable[RegularExpression] = Field(default=None, description="must be found in the answer's body")


class HealthEntry(_Entry):
    """Checks that must all pass. Without any, a machine that runs is healthy."""

    tcp: Omittable[Port] = Field(default=None, description="healthy when this port accepts a connection")
    http: Omittable[HttpEntry] = Field(default=None, description="healthy when a GET is answered as it should be")
    command: Omittable[Command] = Field(
        default=None, description="program and arguments, run where this program runs; healthy when it ends with 0"
    )
    flavor: bool = Field(default=_HEALTH.flavor, description="healthy when the flavor says so")
    interval: PositiveDuration = _seconds(_HEALTH.interval_seconds, "between two questions")
    timeout: PositiveDuration = _seconds(_HEALTH.timeout_seconds, "for one answer")
    healthy_after: Count = Field(default=_HEALTH.healthy_after, description="good answers in a row")
    unhealthy_after: Count = Field(default=_HEALTH.unhealthy_after, description="bad answers in a row")
    grace: Duration = _seconds(_HEALTH.grace_seconds, "after the launch, in which a failing machine is starting")


class WindowEntry(_Entry):
    """When a rollout may go on."""

    days: Omittable[OneOrMore[Days]] = Field(default=None, description="on which it begins; default: every day")
    start: TimeOfDay = Field(description="time of day at which it begins")
    duration: OpenDuration = Field(description="for how long; at most 7d")
    time_zone: TimeZone = Field(default="UTC", description="IANA name of the zone of `start` and `days`")


class RolloutEntry(_Entry):
    """How a change may roll out."""

    strategy: OneOf[Strategy] = Field(default=_ROLLOUT.strategy, description="how new machines replace old ones")
    max_surge: Omittable[AmountField] = Field(
        default=None, description="machines above the size; percentages round up"
    )
    max_unavailable: Omittable[AmountField] = Field(
        default=None, description="machines that may be missing; percentages round down"
    )
    steps: list[PositiveAmount] = Field(
        default=[], description="new machines there may be before the next step; percentages round up"
    )
    bake: Duration = _seconds(_ROLLOUT.bake_seconds, "how long each step must have been ready")
    min_ready: Duration = _seconds(
        _ROLLOUT.min_ready_seconds, "how long a new machine must have been healthy to count as ready"
    )
    failure_limit: PositiveAmount = _share(
        _ROLLOUT.failure_limit, "failed new machines at which it stops; percentages round up"
    )
    on_failure: OneOf[OnFailure] = Field(default=_ROLLOUT.on_failure, description="what a failed rollout does")
    order: OneOf[VictimOrder] = Field(default=_ROLLOUT.order, description="which old machines go first")
    windows: list[WindowEntry] = Field(default=[], description="when it may go on; default: always")
    paused: bool = Field(default=_ROLLOUT.paused, description="let nothing go on")
    keep_old: Duration = _seconds(_ROLLOUT.keep_old_seconds, "how long blue_green keeps the old machines")
    drain_timeout: Duration = _seconds(
        _ROLLOUT.drain_timeout_seconds, "to drain a machine; then it goes all the same"
    )
    progress_deadline: PositiveDuration = _seconds(
        _ROLLOUT.progress_deadline_seconds, "without progress until giving up"
    )


class HealingEntry(_Entry):
    """How failed machines are replaced, and when that stops because they are not to blame."""

    back_off: PositiveDuration = _seconds(
        _HEALING.back_off_seconds, "from a launch that failed to the next; twice as long after each failure"
    )
    max_back_off: PositiveDuration = _seconds(_HEALING.max_back_off_seconds, "at most that long")
    max_unhealthy: AmountField = _share(
        _HEALING.max_unhealthy, "replace none for bad health while more are unhealthy, and at least three"
    )
    max_failed_launches: Count = Field(
        default=_HEALING.max_failed_launches, description="failures in a row after which there are only retries"
    )
    retry: PositiveDuration = _seconds(_HEALING.retry_seconds, "between two of these retries")
    max_alike: Count = Field(
        default=_HEALING.max_alike,
        description="leave as many failed machines alone that only share a zone, image or host",
    )


class FlavorEntry(_OpenEntry):
    kind: str = Field(default=FlavorSpec().kind, description="the flavor plugin; further keys are its options")
    tags: dict[TagKey, TagValue] = Field(default={}, description="your own tags for every machine")


class GroupEntry(_Entry):
    """Machines of one kind: `size` interchangeable ones, or one for each of `logical_ids`."""

    provider: str = Field(description="one of this document's providers")
    image: str = Field(description="one of this document's images")
    size: Omittable[Size] = Field(default=None, description="how many interchangeable machines")
    logical_ids: Omittable[list[Name]] = Field(default=None, description="names of machines whose identity survives")
    machine: dict[str, Any] = Field(default={}, description="the machine, as the provider's plugin defines it")
    flavor: FlavorEntry = FlavorEntry()
    health: HealthEntry = HealthEntry()
    rollout: RolloutEntry = RolloutEntry()
    healing: HealingEntry = HealingEntry()
    scale_down: OneOf[VictimOrder] = Field(
        default=VictimOrder.NEWEST, description="which of equals goes first when the group shrinks"
    )
    max_age: Age | None = Field(default=None, description="replace older machines; at least 1m; default: never")
    rebalance: bool = Field(default=False, description="replace machines of crowded zones until zones are even")
    depends_on: list[str] = Field(default=[], description="groups that must be up before this one changes")
    prevent_destroy: bool = Field(default=False, description="refuse to destroy any machine of this group")


class BudgetEntry(_Entry):
    """What all groups together may do to the cluster at once."""

    max_unavailable: Omittable[AmountField] = Field(
        default=None, description="machines of all groups that may be missing; percentages round down"
    )


class ClusterDocument(_Entry):
    """One cluster."""

    apiVersion: Literal["infrakit-py/v1alpha1"]
    kind: Literal["Cluster"]
    metadata: MetadataEntry
    providers: dict[Name, ProviderEntry]
    images: dict[ImageName, ImageEntry] = {}
    budget: BudgetEntry = BudgetEntry()
    groups: dict[Name, GroupEntry]
