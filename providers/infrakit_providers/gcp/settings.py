"""What a user may write for GCP: a provider's settings, and which mistakes in a machine its model cannot see."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Final, Self

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from infrakit_providers.cloud.fields import Duration, Strict
from infrakit_providers.gcp.families import (
    family_of,
    may_be_confidential,
    may_get_accelerators,
    may_have_disks,
    migrates,
)
from infrakit_providers.gcp.fields import Endpoint, Project, Region, Zones, image_path, region_of
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.publish_settings import PublishSettings, image_complaints, must_be_published
from infrakit_py.model.spec import Image
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.provider import MachineReview

_SEV_MIGRATES: Final = "n2d"


class Limits(Strict):
    """How many requests Compute Engine takes in a minute of the clock; each window is full again with the next one.

    The defaults are those of the Compute Engine documentation, "Rate quotas"; what a project really has stands in its
    console.
    """

    mutations_per_minute: PositiveInt = 1500
    reads_per_minute: PositiveInt = 1500
    lists_per_minute: PositiveInt = 1500
    operation_reads_per_minute: PositiveInt = 1500


class Settings(Strict):
    """One project's region. Durations are seconds once validated.

    `zones` are where machines may be; without them, all zones of the `region`. `credentials` is the path of a JSON
    file; without it they are found as Google's own tools find them. `endpoint` is for private endpoints and for
    stand-ins, as is `storage_endpoint` for Cloud Storage. `publish` is how images come into the project; without it
    they must be there. `listing_lag`: how long Compute Engine may leave a new instance out of its listings (it
    publishes no number). `capacity_memory`: how long a type is not asked for again in a zone that had none.
    """

    project: Project
    region: Region | None = None
    zones: Zones | None = None
    credentials: Annotated[str, Field(min_length=1)] | None = None
    endpoint: Endpoint | None = None
    storage_endpoint: Endpoint | None = None
    publish: PublishSettings | None = None
    listing_lag: Duration = Field(default=10.0, ge=0, le=600)
    capacity_memory: Duration = Field(default=180.0, ge=0, le=86_400)
    prices: Annotated[str, Field(min_length=1)] | None = None
    limits: Limits = Limits()
    parallel_calls: int = Field(default=16, ge=1, le=64)

    @property
    def home(self) -> str:
        """The region, whether it is written or that of the zones."""
        return self.region or region_of((self.zones or ("",))[0])

    @property
    def account(self) -> str:
        """What Google counts calls by: the project and the region, at one endpoint."""
        return f"gcp {self.project} {self.endpoint or ''} {self.home}"

    @field_validator("zones")
    @classmethod
    def _must_lie_in_one_region(cls, zones: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if zones is None or "region" not in info.data:
            return zones
        region = info.data["region"] or region_of(zones[0])
        for zone in zones:
            if region_of(zone) != region:
                raise ValueError(f"{zone} does not lie in {region}; a provider has one region")
        return zones

    @model_validator(mode="after")
    def _must_lie_somewhere(self) -> Self:
        if self.region is None and self.zones is None:
            raise ValueError("write region, such as region: europe-west1, or zones")
        return self


def only_points(reference: str) -> bool:
    """Tell whether a reference is a family's, whose newest image is another one tomorrow."""
    path = image_path(reference, "own")
    return path is not None and path.is_family


def complaints(review: MachineReview) -> Iterable[Complaint]:
    """Find the mistakes that the models cannot see."""
    machine = Machine.model_validate(dict(review.machine))
    settings = Settings.model_validate(dict(review.settings))
    if not review.named:
        yield from _what_needs_a_name(machine)
    yield from _regional_complaints(machine, settings)
    yield from _network_complaints(machine)
    yield from _disk_complaints(machine)
    yield from _scheduling_complaints(machine)
    yield from _family_complaints(machine)
    if review.image is not None:
        yield from _image_complaints(review.image, machine, settings)


def _what_needs_a_name(machine: Machine) -> Iterator[Complaint]:
    for key, there, what in (
        ("data_disks", bool(machine.data_disks), "keep data disks"),
        ("external_ip", machine.external_ip == "static", "keep an address"),
        ("internal_ip", machine.internal_ip == "static", "keep an address"),
    ):
        if there:
            yield Complaint((key,), f"only members with logical_ids {what}; a group with a size has none")


def _regional_complaints(machine: Machine, settings: Settings) -> Iterator[Complaint]:
    home = settings.home
    for index, zone in enumerate(machine.zones or ()):
        if region_of(zone) != home:
            yield Complaint(("zones", index), f"not a zone of the provider's region {home}")
        elif settings.zones is not None and zone not in settings.zones:
            yield Complaint(("zones", index), f"not one of the provider's zones: {', '.join(settings.zones)}")
    if machine.subnetwork is not None and f"regions/{home}/" not in machine.subnetwork and "/" in machine.subnetwork:
        yield Complaint(("subnetwork",), f"not a subnetwork of the provider's region {home}")
    for index, service in enumerate(machine.backend_services):
        if "/" in service and service.split("/")[1] != home:
            yield Complaint(("backend_services", index), f"not a backend service of the provider's region {home}")
    for path, key in _kms_keys(machine):
        location = key.split("/")[3]
        if location[-1].isdigit() and location != home:
            yield Complaint(path, f"a key of {location} is not to be had in the provider's region {home}")


def _kms_keys(machine: Machine) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if machine.boot_disk.kms_key is not None:
        yield ("boot_disk", "kms_key"), machine.boot_disk.kms_key
    for place, disks in (("disks", machine.disks), ("data_disks", machine.data_disks)):
        for index, disk in enumerate(disks):
            if disk.kms_key is not None:
                yield (place, index, "kms_key"), disk.kms_key


def _network_complaints(machine: Machine) -> Iterator[Complaint]:
    if machine.network_tier is not None and machine.external_ip == "none":
        yield Complaint(("network_tier",), "a network tier is an external address's; write external_ip, too")
    if machine.ipv6 != "none" and machine.subnetwork is None:
        yield Complaint(("ipv6",), "IPv6 is a subnetwork's; write subnetwork, too")
    if machine.scopes is not None and machine.service_account is None:
        yield Complaint(("scopes",), "scopes are a service account's; write service_account, too")
    for key in machine.user_data_keys:
        if key in machine.metadata:
            yield Complaint(("metadata", key), f"user data goes there; leave {key} out here or in user_data_keys")


def _disk_complaints(machine: Machine) -> Iterator[Complaint]:
    seen: set[str] = {disk.name for disk in machine.data_disks}
    for index, disk in enumerate(machine.disks):
        if disk.device_name is not None and disk.device_name in seen:
            yield Complaint(("disks", index, "device_name"), f"two disks want the device {disk.device_name}")
        if machine.confidential is not None and disk.interface == "scsi":
            yield Complaint(("disks", index, "interface"), "confidential machines have disks by NVMe only")
        seen.add(disk.device_name or "")


def _scheduling_complaints(machine: Machine) -> Iterator[Complaint]:
    if not machine.is_spot:
        if "interruption" in machine.model_fields_set:
            yield Complaint(("interruption",), "interruption is for spot machines; write provisioning: spot, too")
    else:
        for key, there, what in (
            ("maintenance", machine.maintenance == "migrate", "are never migrated"),
            ("automatic_restart", machine.automatic_restart is True, "are never restarted"),
            ("reservation", machine.reservation is not None, "come from no reservation"),
            ("node_group", machine.node_group is not None, "run on no sole-tenant nodes"),
        ):
            if there:
                yield Complaint((key,), f"spot machines {what}; leave {key} out")
    if machine.maintenance == "migrate" and machine.accelerators:
        yield Complaint(("maintenance",), "machines with accelerators do not migrate; leave maintenance out")


def _family_complaints(machine: Machine) -> Iterator[Complaint]:
    for index, one in enumerate(machine.machine_types):
        place = ("machine_types", index)
        family = family_of(one)
        technology = machine.confidential
        if technology is not None and not may_be_confidential(one, technology):
            yield Complaint(place, f"{family} machines have no {technology.upper().replace('_', '-')}")
        if machine.accelerators and not may_get_accelerators(one):
            yield Complaint(
                place, f"{family} machines get no accelerators; n1 machines do, others have them built in"
            )
        if machine.maintenance == "migrate" and not machine.accelerators and not _may_migrate(one, technology):
            yield Complaint(("maintenance",), f"such {family} machines do not migrate; leave maintenance out")
        for path, kind in _disk_types(machine):
            if not may_have_disks(one, kind):
                yield Complaint(path, f"{family} machines have no {kind} disks")


def _may_migrate(machine_type: str, technology: str | None) -> bool:
    """Tell whether a machine may move alive: of confidential ones only those with SEV on n2d do."""
    if technology is not None and (technology, family_of(machine_type)) != ("sev", _SEV_MIGRATES):
        return False
    return migrates(machine_type)


def _disk_types(machine: Machine) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if machine.boot_disk.type is not None:
        yield ("boot_disk", "type"), machine.boot_disk.type
    for place, disks in (("disks", machine.disks), ("data_disks", machine.data_disks)):
        for index, disk in enumerate(disks):
            if disk.type is not None:
                yield (place, index, "type"), disk.type


def _image_complaints(image: Image, machine: Machine, settings: Settings) -> Iterator[Complaint]:
    if must_be_published(image):
        yield from image_complaints(image, machine, settings.publish)
    elif image_path(image.reference, "own") is None:
        yield Complaint(
            (),
            f"image {image.name}: a reference is projects/PROJECT/global/images/NAME or .../images/family/FAMILY "
            "(global/images/NAME for the provider's own project)",
        )
