"""What an insert asks for, checked against the project before anything is accepted."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.fakes.gce.asking import Asked
from tests.fakes.gce.catalogue_data import PLATFORMS
from tests.fakes.gce.errors import GceError, invalid, required
from tests.fakes.gce.labels import check_labels
from tests.fakes.gce.links import link, path, read_link
from tests.fakes.gce.settings import ACCELERATOR_TYPE, DEFAULT_ACCOUNT, PROJECT, SERVICE_ACCOUNT
from tests.fakes.gce.site import Site, check_metadata, unhonoured
from tests.fakes.gce.tables import Labels, MachineType
from tests.fakes.gce.wished_disks import DiskWish, read_disks
from tests.fakes.gce.wished_interfaces import InterfaceWish, read_interfaces
from tests.fakes.gce.world import World

Body = Mapping[str, Any]

_HONOURED: Final = frozenset(
    {"description", "machineType", "disks", "networkInterfaces", "metadata", "labels", "tags", "scheduling"}
    | {"serviceAccounts", "guestAccelerators", "minCpuPlatform", "shieldedInstanceConfig", "canIpForward"}
    | {"confidentialInstanceConfig", "advancedMachineFeatures", "displayDevice", "keyRevocationActionType"}
    | {"networkPerformanceConfig", "reservationAffinity"}
)
_OF_ONE: Final = frozenset({"name", "deletionProtection", "hostname", "kind", "zone"})
_CONFIDENTIAL: Final = ("n2d", "c3")
_TAG: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Wish:
    """Instances of one kind, all of whose parts are known to exist."""

    zone: str
    type: MachineType
    disks: tuple[DiskWish, ...]
    interfaces: tuple[InterfaceWish, ...]
    labels: Labels
    metadata: list[dict[str, str]]
    spot: bool
    protected: bool
    asked: Body
    """What is shown as it was asked for."""


def read_wish(world: World, asked: Asked, zone: str, body: Body, *, bulk: bool) -> Wish:
    """Return what a launch asks for. GceError for anything that Google refuses."""
    site = Site(world, asked, zone, bulk)
    where = site.where
    unhonoured(where, body, _HONOURED if bulk else _HONOURED | _OF_ONE)
    type_ = _type(world, zone, body, f"{where}.machineType", bulk=bulk)
    labels = dict(body.get("labels", {}))
    check_labels(labels, f"{where}.labels")
    if labels:
        asked.permit("compute.instances.setLabels")
    metadata = check_metadata(body.get("metadata", {}), f"{where}.metadata")
    if metadata:
        asked.permit("compute.instances.setMetadata")
    scheduling = _scheduling(body, type_, f"{where}.scheduling")
    shown = dict(body) | {"scheduling": scheduling, "serviceAccounts": _accounts(asked, body, where)}
    _tags(asked, body, f"{where}.tags")
    _platform(body, type_, f"{where}.minCpuPlatform")
    if accelerators := _accelerators(zone, body, type_, f"{where}.guestAccelerators", bulk=bulk):
        shown["guestAccelerators"] = accelerators
    _confidential(body, type_, f"{where}.confidentialInstanceConfig")
    return Wish(
        zone=zone,
        type=type_,
        disks=read_disks(site, type_, body.get("disks", [])),
        interfaces=read_interfaces(site, body.get("networkInterfaces", [])),
        labels=labels,
        metadata=metadata,
        spot=scheduling["provisioningModel"] == "SPOT",
        protected=body.get("deletionProtection", False),
        asked={name: value for name, value in shown.items() if value},
    )


def _type(world: World, zone: str, body: Body, field: str, *, bulk: bool) -> MachineType:
    written = body.get("machineType", "")
    if not written:
        raise required(field)
    name = written
    if not bulk:
        _, scope, name = read_link(written, "machineTypes", field)
        if scope != f"zones/{zone}":
            raise invalid(field, written, f"The machine type must be in zone '{zone}'.")
    elif "/" in written:
        raise invalid(field, written, "Must be the name of a machine type, not a URL.")
    type_ = world.types.get(name)
    if type_ is None or not type_.is_in(zone):
        raise invalid(field, written, f"Machine type with name '{name}' does not exist in zone '{zone}'.")
    return type_


def _scheduling(body: Body, type_: MachineType, field: str) -> dict[str, Any]:
    given = body.get("scheduling", {})
    spot = given.get("provisioningModel") == "SPOT"
    preemptible = given.get("preemptible", spot)
    if spot and not preemptible:
        raise invalid(f"{field}.preemptible", "false", "A Spot VM must be preemptible.")
    restarts = given.get("automaticRestart", not preemptible)
    if preemptible and restarts:
        raise invalid(
            f"{field}.preemptible", "true", "Scheduling must have preemptible be false when AutomaticRestart is true."
        )
    maintenance = given.get("onHostMaintenance", "TERMINATE" if preemptible else "MIGRATE")
    if maintenance == "MIGRATE" and (preemptible or type_.gpus or body.get("guestAccelerators")):
        what = "Spot VMs" if preemptible else "Instances with guest accelerators"
        raise invalid(f"{field}.onHostMaintenance", maintenance, f"{what} do not support live migration.")
    if "instanceTerminationAction" in given and not spot and "maxRunDuration" not in given:
        raise invalid(
            f"{field}.instanceTerminationAction", given["instanceTerminationAction"], "It is only for Spot VMs."
        )
    return {
        "onHostMaintenance": maintenance,
        "automaticRestart": restarts,
        "preemptible": preemptible,
        "provisioningModel": "SPOT" if spot else "STANDARD",
        **{name: value for name, value in given.items() if name not in ("onHostMaintenance", "preemptible")},
        **({"instanceTerminationAction": given.get("instanceTerminationAction", "STOP")} if spot else {}),
    }


def _accounts(asked: Asked, body: Body, where: str) -> list[dict[str, Any]]:
    given = body.get("serviceAccounts", [])
    if not given:
        return []
    if len(given) > 1:
        raise invalid(f"{where}.serviceAccounts", "", "At most one service account can be specified.")
    email = given[0].get("email", "default")
    email = DEFAULT_ACCOUNT if email == "default" else email
    if not given[0].get("scopes"):
        raise required(f"{where}.serviceAccounts[0].scopes")
    if email not in (SERVICE_ACCOUNT, DEFAULT_ACCOUNT):
        message = (
            f"The user does not have access to service account '{email}'.  User: '{asked.caller}'.  Ask a project "
            "owner to grant you the iam.serviceAccountUser role on the service account"
        )
        raise GceError(400, "serviceAccountAccessDenied", message)
    asked.permit("compute.instances.setServiceAccount")
    asked.permit("iam.serviceAccounts.actAs", f"projects/{PROJECT}/serviceAccounts/{email}")
    return [{"email": email, "scopes": given[0]["scopes"]}]


def _tags(asked: Asked, body: Body, field: str) -> None:
    tags = body.get("tags", {}).get("items", [])
    if len(tags) > 64:
        raise invalid(field, "", "At most 64 tags can be specified.")
    for number, one in enumerate(tags):
        if not _TAG.fullmatch(one):
            raise invalid(f"{field}.items[{number}]", one, f"Must be a match of regex '{_TAG.pattern}'")
    if tags:
        asked.permit("compute.instances.setTags")


def _platform(body: Body, type_: MachineType, field: str) -> None:
    wanted = body.get("minCpuPlatform")
    if wanted and wanted not in PLATFORMS[type_.name.partition("-")[0]]:
        raise invalid(field, wanted, f"Machine type {type_.name} does not have it.")


def _accelerators(zone: str, body: Body, type_: MachineType, field: str, *, bulk: bool) -> list[dict[str, Any]]:
    shown = []
    for number, one in enumerate(body.get("guestAccelerators", [])):
        written = one.get("acceleratorType", "")
        name = written
        if not bulk:
            _, scope, name = read_link(written, "acceleratorTypes", f"{field}[{number}].acceleratorType")
            name = name if scope == f"zones/{zone}" else ""
        if name != ACCELERATOR_TYPE:
            raise invalid(f"{field}[{number}].acceleratorType", written, "The referenced resource cannot be found.")
        if not type_.name.startswith("n1-"):
            raise invalid(
                field, written, f"[{type_.name}, {name}] features are not compatible for creating instance."
            )
        link_ = link(f"zones/{zone}", "acceleratorTypes", name)
        shown.append({"acceleratorType": link_, "acceleratorCount": one.get("acceleratorCount", 1)})
    return shown


def _confidential(body: Body, type_: MachineType, field: str) -> None:
    wanted = body.get("confidentialInstanceConfig", {}).get("enableConfidentialCompute")
    if wanted and not type_.name.startswith(_CONFIDENTIAL):
        raise invalid(field, type_.name, "This machine type does not support Confidential VMs.")


def instance_path(zone: str, name: str) -> str:
    return path(f"zones/{zone}", "instances", name)
