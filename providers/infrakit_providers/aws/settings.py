"""What a user may write for AWS: a provider's settings, and which mistakes in a machine its model cannot see."""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Final, Self

from pydantic import Field, StringConstraints, model_validator

from infrakit_providers.aws.fields import Region, RoleArn
from infrakit_providers.aws.machine import Capacity, Machine
from infrakit_providers.aws.publish_settings import Publish
from infrakit_providers.cloud.fields import Duration, Name, Strict
from infrakit_py.model.spec import ARM64, Image, ImageForm
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.provider import MachineReview, Rate

_REFERENCE: Final = re.compile(r"ami-[0-9a-f]{8,17}|ssm:[A-Za-z0-9_.\-/]+")
_DISK_FORMATS: Final = ("raw", "qcow2", "gcp")
"""What raw disks can be made of."""
_ARM_TYPE: Final = re.compile(r"(a1|[a-z]+\d+[a-z]*g[a-z]*)\.\S+")
"""EC2 User Guide, "Amazon EC2 instance type naming conventions": a `g` after the generation is Graviton."""


class AssumeRole(Strict):
    """A role to work as. Its limits: STS API Reference, AssumeRole (a session takes 15 minutes to 12 hours).

    A session longer than the role's own maximum (one hour, unless changed) is refused by STS.
    """

    role_arn: RoleArn
    session_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@-]{2,64}$")] = "infrakit"
    external_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@:/-]{2,1224}$")] | None = None
    duration: Duration = Field(default=3600.0, ge=900, le=43_200)


class Bucket(Strict):
    """A token bucket: it holds `burst` tokens and gains `per_second`."""

    burst: float = Field(gt=0, allow_inf_nan=False)
    per_second: float = Field(gt=0, allow_inf_nan=False)

    @property
    def rate(self) -> Rate:
        return Rate(self.burst, self.per_second)


class Limits(Strict):
    """The account's buckets in this region, where AWS has raised (or lowered) them.

    The defaults are those of the EC2 Developer Guide, "Request throttling for the Amazon EC2 API": requests of
    RunInstances 5 and 2 a second, of TerminateInstances 100 and 5, of CreateTags 100 and 10, of filtered Describe
    calls 100 and 20, of other mutating calls 50 and 5; instances of RunInstances 1000 and 2, of TerminateInstances
    1000 and 20. Blocks of snapshots: 1000 a second (AWS General Reference, "Amazon EBS endpoints and quotas").
    """

    run_instances: Bucket = Bucket(burst=5, per_second=2)
    run_instances_machines: Bucket = Bucket(burst=1000, per_second=2)
    terminate_instances: Bucket = Bucket(burst=100, per_second=5)
    terminate_instances_machines: Bucket = Bucket(burst=1000, per_second=20)
    create_tags: Bucket = Bucket(burst=100, per_second=10)
    describe: Bucket = Bucket(burst=100, per_second=20)
    mutate: Bucket = Bucket(burst=50, per_second=5)
    put_snapshot_block: Bucket = Bucket(burst=1000, per_second=1000)


class Settings(Strict):
    """One account's region. Durations are seconds once validated.

    `listing_lag`: how long EC2 may leave a new instance out of its listings (the EC2 Developer Guide, "Eventual
    consistency", names no number). `capacity_memory`: how long a type is not asked for again in a zone that had none.
    """

    region: Region
    profile: Name | None = None
    assume_role: AssumeRole | None = None
    listing_lag: Duration = Field(default=30.0, ge=0, le=600)
    capacity_memory: Duration = Field(default=180.0, ge=0, le=86_400)
    prices: Annotated[str, Field(min_length=1)] | None = None
    limits: Limits = Limits()
    parallel_calls: int = Field(default=8, ge=1, le=64)
    publish: Publish = Publish()

    @model_validator(mode="after")
    def _must_fit_the_region(self) -> Self:
        if self.region in self.publish.copy_to:
            raise ValueError(f"publish.copy_to: {self.region} is the provider's own region; leave it out")
        key = self.publish.kms_key
        if key is not None and key.split(":")[3] != self.region:
            raise ValueError(f"publish.kms_key: not a key of the provider's region {self.region}")
        return self

    @property
    def account(self) -> str:
        """What AWS counts calls by, as far as it can be told without asking: whose credentials, and the region."""
        role = self.assume_role.role_arn if self.assume_role is not None else ""
        return f"aws {self.profile or ''} {role} {self.region}"


def complaints(review: MachineReview) -> Iterable[Complaint]:
    """Find the mistakes that the models cannot see."""
    machine = Machine.model_validate(review.machine)
    if not review.named:
        yield from _what_needs_a_name(machine)
    if machine.keep_interface and machine.public_ip:
        yield Complaint(
            ("public_ip",), "an interface that is kept gets no public address at launch; use elastic_ip instead"
        )
    yield from _capacity_complaints(machine)
    yield from _region_complaints(machine, str(review.settings.get("region", "")))
    if review.image is not None:
        yield from _image_complaints(review.image, machine)


def _what_needs_a_name(machine: Machine) -> Iterator[Complaint]:
    for key, there, what in (
        ("data_disks", bool(machine.data_disks), "keep data disks"),
        ("elastic_ip", machine.elastic_ip, "keep an address"),
        ("keep_interface", machine.keep_interface, "keep an interface"),
    ):
        if there:
            yield Complaint((key,), f"only members with logical_ids {what}; a group with a size has none")


def _capacity_complaints(machine: Machine) -> Iterator[Complaint]:
    capacity = machine.capacity
    if capacity.spot_percent == 0:
        for key in ("max_price", "interruption", "allocation"):
            if getattr(capacity, key) != Capacity.model_fields[key].default:
                yield Complaint(
                    ("capacity", key), f"{key} is for spot machines; write spot_percent too, or leave it out"
                )
    elif machine.placement.tenancy == "host":
        yield Complaint(("capacity", "spot_percent"), "dedicated hosts have no spot machines; use tenancy: dedicated")


def _region_complaints(machine: Machine, region: str) -> Iterator[Complaint]:
    if not region:
        return
    for index, zone in enumerate(machine.zones or ()):
        if zone == region:
            yield Complaint(("zones", index), f"{zone} is the region; zones are named {zone}a and so on")
        elif not zone.startswith(region):
            yield Complaint(("zones", index), f"not a zone of the provider's region {region}")
    for index, group in enumerate(machine.target_groups):
        if group.startswith("arn:") and group.split(":")[3] != region:
            yield Complaint(("target_groups", index), f"not a target group of the provider's region {region}")


def _image_complaints(image: Image, machine: Machine) -> Iterator[Complaint]:
    if image.form is ImageForm.REFERENCE:
        if not _REFERENCE.fullmatch(image.reference):
            yield Complaint(
                (), f"image {image.name}: a reference is an AMI's id (ami-...) or ssm:/path of a parameter"
            )
        return
    if image.form is ImageForm.KERNEL and image.architecture == ARM64:
        yield Complaint(
            (), f"image {image.name}: disks are made of kernels for amd64 only; declare a disk for {ARM64} instead"
        )
        return
    if image.form is ImageForm.DISK and image.disk_format not in _DISK_FORMATS:
        formats = ", ".join(_DISK_FORMATS[:-1]) + f" or {_DISK_FORMATS[-1]}"
        yield Complaint((), f"image {image.name}: AWS boots no {image.disk_format}; use a disk of format {formats}")
    for index, name in enumerate(machine.instance_types):
        if (_ARM_TYPE.fullmatch(name) is not None) is not (image.architecture == ARM64):
            text = f"image {image.name} is for {image.architecture}, and {name} has another architecture"
            yield Complaint(("instance_types", index), text)
