"""What is there from the start: machine types, images, networks, groups. The names are in `settings`."""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network
from typing import Final

from tests.fakes.gce.settings import GROUP, IMAGE_PROJECT, INTERNAL_SERVICE, PROJECT, ZONES
from tests.fakes.gce.tables import BackendService, Image, InstanceGroup, MachineType, Subnet, TargetPool

_MAIN: Final = "europe-west1"
_B: Final = (f"{_MAIN}-b",)
TYPES: Final[Mapping[str, MachineType]] = {
    one.name: one
    for one in (
        MachineType("e2-micro", 2, 1024),
        MachineType("e2-small", 2, 2048),
        MachineType("e2-medium", 2, 4096),
        MachineType("e2-standard-2", 2, 8192),
        MachineType("n1-standard-1", 1, 3840, platform="Intel Haswell"),
        MachineType("n2-standard-2", 2, 8192, metric="N2_CPUS", platform="Intel Cascade Lake"),
        MachineType("n2-standard-4", 4, 16384, metric="N2_CPUS", platform="Intel Cascade Lake"),
        MachineType(
            "c3-standard-4", 4, 16384, not_in=(f"{_MAIN}-d",), metric="C3_CPUS", platform="Intel Sapphire Rapids"
        ),
        MachineType("t2d-standard-1", 1, 4096, metric="T2D_CPUS", platform="AMD Milan"),
        MachineType("n2d-standard-2", 2, 8192, metric="N2D_CPUS", platform="AMD Rome"),
        MachineType("a2-highgpu-1g", 12, 87040, only_in=_B, metric="A2_CPUS", gpus=1, platform="Intel Cascade Lake"),
        MachineType("t2a-standard-1", 1, 4096, "ARM64", only_in=_B, metric="T2A_CPUS", platform="Ampere Altra"),
    )
}
PLATFORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "e2": (),
    "n1": ("Intel Haswell", "Intel Broadwell", "Intel Skylake"),
    "n2": ("Intel Cascade Lake", "Intel Ice Lake"),
    "c3": ("Intel Sapphire Rapids",),
    "t2d": ("AMD Milan",),
    "n2d": ("AMD Rome", "AMD Milan"),
    "a2": ("Intel Cascade Lake",),
    "t2a": ("Ampere Altra",),
}
"""CPU platforms that may be asked for, by a machine type's family."""

NewId = Callable[[], str]


def images(new_id: NewId, now: float) -> dict[tuple[str, str], Image]:
    day = 86_400.0
    found = (
        Image(PROJECT, "linuxkit-1", new_id(), now - 2 * day, "linuxkit"),
        Image(PROJECT, "linuxkit-2", new_id(), now - day, "linuxkit"),
        Image(IMAGE_PROJECT, "debian-12-bookworm-v20250610", new_id(), now - 7 * day, "debian-12", size_gb=10),
    )
    return {(one.project, one.name): one for one in found}


def subnets(new_id: NewId, bits: int) -> dict[tuple[str, str], Subnet]:
    found = (
        Subnet(new_id(), "default", _MAIN, "default", IPv4Network(("10.132.0.0", bits))),
        Subnet(new_id(), "default", "europe-north1", "default", IPv4Network(("10.166.0.0", bits))),
        Subnet(new_id(), "private", _MAIN, "private", IPv4Network("10.10.0.0/24")),
    )
    return {(one.region, one.name): one for one in found}


def groups(new_id: NewId, now: float) -> dict[tuple[str, str], InstanceGroup]:
    return {
        (zone, GROUP): InstanceGroup(new_id(), zone, GROUP, now) for zone in ZONES if zone.startswith(f"{_MAIN}-")
    }


def services(new_id: NewId, now: float, members: tuple[InstanceGroup, ...]) -> dict[tuple[str, str], BackendService]:
    found = (
        BackendService(new_id(), GROUP, "global", members, 30, now),
        BackendService(new_id(), INTERNAL_SERVICE, f"regions/{_MAIN}", members, 30, now),
    )
    return {(one.scope, one.name): one for one in found}


def pools(new_id: NewId, now: float) -> dict[tuple[str, str], TargetPool]:
    return {(_MAIN, GROUP): TargetPool(new_id(), GROUP, _MAIN, now)}
