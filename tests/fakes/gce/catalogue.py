"""What Google has to offer, and what the project was given with it: to be looked at, not to be changed."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.errors import not_found
from tests.fakes.gce.images import newest_of_family
from tests.fakes.gce.links import link, path
from tests.fakes.gce.quotas import used
from tests.fakes.gce.settings import (
    ACCELERATOR_TYPE,
    DEFAULT_ACCOUNT,
    DISK_TYPES,
    METRICS,
    PROJECT,
    PROJECT_NUMBER,
    REGIONS,
    UNLIMITED,
    ZONES,
    region_of,
)
from tests.fakes.gce.shelves import Handler, Shelf
from tests.fakes.gce.tables import Image, MachineType, Subnet
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import checked, fingerprint, fixed_id, instant, without_none

_LONG_AGO: Final = instant(0.0)


def get_project(world: World, asked: Asked) -> Checked:
    shown = {
        "kind": "compute#project",
        "id": PROJECT_NUMBER,
        "creationTimestamp": _LONG_AGO,
        "name": PROJECT,
        "commonInstanceMetadata": {"kind": "compute#metadata", "fingerprint": fingerprint(None)},
        "defaultServiceAccount": DEFAULT_ACCOUNT,
        "defaultNetworkTier": "PREMIUM",
        "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
        "selfLink": link(""),
    }
    return checked("Project", shown)


def get_image_of_family(world: World, asked: Asked) -> Checked:
    project, family = asked["project"], asked["family"]
    found = newest_of_family(world, project, family)
    if found is None:
        raise not_found(path("global", "images", "family", family, project=project))
    return _image(found)


def _images(world: World, project: str, scope: str) -> Iterable[Checked]:
    return [_image(one) for one in world.images.values() if one.project == project]


def _image(one: Image) -> Checked:
    shown: dict[str, Any] = {
        "kind": "compute#image",
        "id": one.id,
        "creationTimestamp": instant(one.created_at),
        "name": one.name,
        "description": one.description,
        "family": one.family,
        "architecture": one.arch,
        "diskSizeGb": str(one.size_gb),
        "archiveSizeBytes": str(len(one.archive) or one.size_gb * 2**27),
        "sourceType": "RAW",
        "status": one.status,
        "guestOsFeatures": [{"type": feature} for feature in one.features],
        "storageLocations": list(one.locations),
        "imageEncryptionKey": {"kmsKeyName": one.kms_key} if one.kms_key else None,
        "labels": one.labels or None,
        "labelFingerprint": fingerprint(one.labels),
        "deprecated": {"state": one.deprecated} if one.deprecated else None,
        "selfLink": link("global", "images", one.name, project=one.project),
    }
    return checked("Image", without_none(shown))


def _machine_types(world: World, project: str, scope: str) -> Iterable[Checked]:
    zone = scope.removeprefix("zones/")
    return [_machine_type(zone, one) for one in world.types.values() if one.is_in(zone)]


def _machine_type(zone: str, one: MachineType) -> Checked:
    gpus = [{"guestAcceleratorType": "nvidia-tesla-a100", "guestAcceleratorCount": one.gpus}] if one.gpus else None
    shown = {
        "kind": "compute#machineType",
        "id": fixed_id(one.name),
        "creationTimestamp": _LONG_AGO,
        "name": one.name,
        "description": f"{one.vcpus} vCPUs, {one.memory_mb} MB RAM",
        "guestCpus": one.vcpus,
        "memoryMb": one.memory_mb,
        "imageSpaceGb": 0,
        "maximumPersistentDisks": 128,
        "maximumPersistentDisksSizeGb": "263168",
        "isSharedCpu": one.name in ("e2-micro", "e2-small", "e2-medium"),
        "architecture": one.arch,
        "accelerators": gpus,
        "zone": zone,
        "selfLink": link(f"zones/{zone}", "machineTypes", one.name),
    }
    return checked("MachineType", without_none(shown))


def _zones(world: World, project: str, scope: str) -> Iterable[Checked]:
    return [
        checked(
            "Zone",
            {
                "kind": "compute#zone",
                "id": fixed_id(zone),
                "creationTimestamp": _LONG_AGO,
                "name": zone,
                "description": zone,
                "status": "UP",
                "region": link(f"regions/{region_of(zone)}"),
                "availableCpuPlatforms": sorted({one.platform for one in world.types.values() if one.is_in(zone)}),
                "supportsPzs": False,
                "selfLink": link(f"zones/{zone}"),
            },
        )
        for zone in ZONES
    ]


def _regions(world: World, project: str, scope: str) -> Iterable[Checked]:
    return [_region(world, region) for region in REGIONS]


def _region(world: World, region: str) -> Checked:
    usage = used(world, region)
    limits = {metric: world.limit(region, metric) for metric in METRICS}
    shown = {
        "kind": "compute#region",
        "id": fixed_id(region),
        "creationTimestamp": _LONG_AGO,
        "name": region,
        "description": region,
        "status": "UP",
        "zones": [link(f"zones/{zone}") for zone in ZONES if region_of(zone) == region],
        "quotas": [
            {"metric": metric, "limit": UNLIMITED if limit is None else float(limit), "usage": float(usage[metric])}
            for metric, limit in limits.items()
        ],
        "supportsPzs": False,
        "selfLink": link(f"regions/{region}"),
    }
    return checked("Region", shown)


def _networks(world: World, project: str, scope: str) -> Iterable[Checked]:
    return [
        checked(
            "Network",
            {
                "kind": "compute#network",
                "id": id_,
                "creationTimestamp": _LONG_AGO,
                "name": name,
                "autoCreateSubnetworks": name == "default",
                "subnetworks": [
                    link(f"regions/{one.region}", "subnetworks", one.name)
                    for one in world.subnets.values()
                    if one.network == name
                ],
                "routingConfig": {"routingMode": "REGIONAL"},
                "mtu": 1460,
                "selfLink": link("global", "networks", name),
            },
        )
        for name, id_ in world.networks.items()
    ]


def _subnets(world: World, project: str, scope: str) -> Iterable[Checked]:
    region = scope.removeprefix("regions/")
    return [_subnet(one) for one in world.subnets.values() if one.region == region]


def _subnet(one: Subnet) -> Checked:
    shown = {
        "kind": "compute#subnetwork",
        "id": one.id,
        "creationTimestamp": _LONG_AGO,
        "name": one.name,
        "network": link("global", "networks", one.network),
        "ipCidrRange": str(one.range),
        "gatewayAddress": str(one.range.network_address + 1),
        "region": link(f"regions/{one.region}"),
        "privateIpGoogleAccess": False,
        "purpose": "PRIVATE",
        "stackType": "IPV4_ONLY",
        "fingerprint": fingerprint(one.id),
        "selfLink": link(f"regions/{one.region}", "subnetworks", one.name),
    }
    return checked("Subnetwork", shown)


def _disk_types(world: World, project: str, scope: str) -> Iterable[Checked]:
    return [
        checked(
            "DiskType",
            {
                "kind": "compute#diskType",
                "creationTimestamp": _LONG_AGO,
                "name": name,
                "description": name,
                "validDiskSize": "4GB-65536GB" if name.startswith("hyperdisk") else "10GB-65536GB",
                "defaultDiskSizeGb": "100",
                "zone": link(scope),
                "selfLink": link(scope, "diskTypes", name),
            },
        )
        for name in DISK_TYPES
    ]


def _accelerator_types(world: World, project: str, scope: str) -> Iterable[Checked]:
    return [
        checked(
            "AcceleratorType",
            {
                "kind": "compute#acceleratorType",
                "id": fixed_id(ACCELERATOR_TYPE),
                "creationTimestamp": _LONG_AGO,
                "name": ACCELERATOR_TYPE,
                "description": "NVIDIA T4",
                "maximumCardsPerInstance": 4,
                "zone": link(scope),
                "selfLink": link(scope, "acceleratorTypes", ACCELERATOR_TYPE),
            },
        )
    ]


HANDLERS: Final[Mapping[str, Handler]] = {
    "projects.get": get_project,
    "images.getFromFamily": get_image_of_family,
    **Shelf("images", "image", "Image", _images, "global").handlers(),
    **Shelf("machineTypes", "machineType", "MachineType", _machine_types, "zones").handlers(everywhere=True),
    **Shelf("zones", "zone", "Zone", _zones).handlers(),
    **Shelf("regions", "region", "Region", _regions).handlers(),
    **Shelf("networks", "network", "Network", _networks, "global").handlers(),
    **Shelf("subnetworks", "subnetwork", "Subnetwork", _subnets, "regions").handlers(everywhere=True),
    **Shelf("diskTypes", "diskType", "DiskType", _disk_types, "zones").handlers(everywhere=True),
    **Shelf("acceleratorTypes", "acceleratorType", "AcceleratorType", _accelerator_types, "zones").handlers(
        everywhere=True
    ),
}
