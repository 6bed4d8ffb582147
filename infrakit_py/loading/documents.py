"""The shape of a cluster's YAML document. What it says is judged elsewhere; here is only what it may look like."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from infrakit_py.loading.fields import (
    AmountField,
    Count,
    Duration,
    FileName,
    ImageName,
    Name,
    Omittable,
    Port,
    PositiveDuration,
    Size,
    TagKey,
    TagValue,
)
from infrakit_py.model.quantities import format_duration
from infrakit_py.model.spec import FlavorSpec, HealthCheck, RolloutSpec

_HEALTH: Final = HealthCheck()
_ROLLOUT: Final = RolloutSpec()


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _OpenEntry(BaseModel):
    """An entry whose further keys belong to a plugin."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


def _seconds(default: float, description: str) -> Any:
    return Field(default=default, description=description, json_schema_extra={"default": format_duration(default)})


class MetadataEntry(_Entry):
    name: Name = Field(description="the cluster's name; it owns the cluster's machines")


class ProviderEntry(_OpenEntry):
    plugin: str = Field(description="the provider plugin; further keys are its settings")


class ImageEntry(_Entry):
    """LinuxKit's kernel+initrd output, or one bootable disk, or something that the provider already has."""

    kernel: Omittable[FileName] = Field(default=None, description="file, relative to this YAML file")
    initrd: Omittable[FileName] = Field(default=None, description="file, relative to this YAML file")
    cmdline: Omittable[FileName] = Field(default=None, description="file that holds the kernel's command line")
    disk: Omittable[FileName] = Field(default=None, description="file, relative to this YAML file")
    format: Omittable[Literal["raw", "qcow2"]] = Field(
        default=None, description="of the disk; default: by its suffix"
    )
    reference: Omittable[FileName] = Field(default=None, description="the provider's own name for an image")


class HealthEntry(_Entry):
    tcp: Omittable[Port] = Field(default=None, description="healthy when this port accepts a connection")
    interval: PositiveDuration = _seconds(_HEALTH.interval_seconds, "between two questions")
    timeout: PositiveDuration = _seconds(_HEALTH.timeout_seconds, "for one answer")
    healthy_after: Count = Field(default=_HEALTH.healthy_after, description="good answers in a row")
    unhealthy_after: Count = Field(default=_HEALTH.unhealthy_after, description="bad answers in a row")
    grace: Duration = _seconds(_HEALTH.grace_seconds, "after the launch, in which a failing machine is starting")


class RolloutEntry(_Entry):
    max_surge: Omittable[AmountField] = Field(
        default=None, description="machines above the size; percentages round up"
    )
    max_unavailable: Omittable[AmountField] = Field(
        default=None, description="machines that may be missing; percentages round down"
    )
    drain_timeout: Duration = _seconds(
        _ROLLOUT.drain_timeout_seconds, "to drain a machine; then it goes all the same"
    )
    progress_deadline: PositiveDuration = _seconds(
        _ROLLOUT.progress_deadline_seconds, "without progress until giving up"
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
    depends_on: list[str] = Field(default=[], description="groups that must be up before this one changes")
    prevent_destroy: bool = Field(default=False, description="refuse to destroy any machine of this group")


class ClusterDocument(_Entry):
    """One cluster."""

    apiVersion: Literal["infrakit-py/v1alpha1"]
    kind: Literal["Cluster"]
    metadata: MetadataEntry
    providers: dict[Name, ProviderEntry]
    images: dict[ImageName, ImageEntry] = {}
    groups: dict[Name, GroupEntry]
