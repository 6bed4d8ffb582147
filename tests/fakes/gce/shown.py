"""What Compute Engine says of an instance."""

from typing import Any

from infrakit_providers.simulated.machines import Machine
from infrakit_py.model.instance import InstanceState
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.links import ROOT, link
from tests.fakes.gce.tables import Attachment, Instance, Interface
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import checked, fingerprint, instant, without_none

_ECHOED = (
    *("description", "canIpForward", "hostname", "minCpuPlatform", "guestAccelerators", "serviceAccounts"),
    *("shieldedInstanceConfig", "confidentialInstanceConfig", "advancedMachineFeatures", "reservationAffinity"),
    *("resourcePolicies", "keyRevocationActionType", "networkPerformanceConfig", "displayDevice"),
)


def status_of(world: World, instance: Instance, machine: Machine | None) -> str:
    """Return the status of an instance that is not gone."""
    if machine is None:
        return "PROVISIONING" if instance.doomed else "STOPPING"  # gone, and not settled yet
    match machine.state:
        case InstanceState.PENDING | InstanceState.RUNNING if instance.stopping:
            return "STOPPING"
        case InstanceState.PENDING:
            staged_at = instance.started_at + world.settings.boot_seconds / 2
            return "STAGING" if world.now() >= staged_at else "PROVISIONING"
        case InstanceState.RUNNING:
            return "REPAIRING" if machine.impaired else "RUNNING"
        case InstanceState.STOPPED:
            return "TERMINATED"
        case InstanceState.LEAVING | InstanceState.GONE:
            return "STOPPING"
        case _:
            return "PROVISIONING"


def show_instance(world: World, instance: Instance, machine: Machine | None) -> Checked:
    """Return an instance as it is now. What was written before is given again until something changes."""
    status = status_of(world, instance, machine)
    key = (machine, status)
    written = instance.written
    if written and written[0] == key:
        return written[1]
    shown = checked("Instance", without_none(_instance(instance, status)))
    instance.written = (key, shown)
    return shown


def _instance(one: Instance, status: str) -> dict[str, Any]:
    zone = f"zones/{one.zone}"
    asked = one.asked
    tags = asked.get("tags", {}).get("items", [])
    return {
        "kind": "compute#instance",
        "id": one.id,
        "creationTimestamp": instant(one.created_at),
        "name": one.name,
        "machineType": link(zone, "machineTypes", one.type.name),
        "status": status,
        "zone": link(zone),
        "cpuPlatform": "Unknown CPU Platform" if status in ("PROVISIONING", "TERMINATED") else one.type.platform,
        "networkInterfaces": [_interface(interface, one) for interface in one.interfaces],
        "disks": [_disk(index, attachment) for index, attachment in enumerate(one.disks)],
        "metadata": {"kind": "compute#metadata", "fingerprint": fingerprint(one.metadata)}
        | ({"items": one.metadata} if one.metadata else {}),
        "tags": {"fingerprint": fingerprint(tags)} | ({"items": tags} if tags else {}),
        "labels": one.labels or None,
        "labelFingerprint": fingerprint(one.labels),
        "scheduling": asked["scheduling"],
        "deletionProtection": one.protected,
        "startRestricted": False,
        "fingerprint": fingerprint([one.id, status]),
        "lastStartTimestamp": instant(one.started_at),
        "lastStopTimestamp": instant(one.stopped_at) if one.stopped_at is not None else None,
        "selfLink": ROOT + one.path,
        "resourceStatus": _resource_status(one, status),
        "satisfiesPzs": False,
        **{name: asked[name] for name in _ECHOED if name in asked},
    }


def _resource_status(one: Instance, status: str) -> dict[str, Any]:
    found: dict[str, Any] = {"scheduling": {}}
    if status == "RUNNING":
        found["physicalHost"] = f"/{one.zone}/rack-{int(one.id) % 97}/host-{int(one.id) % 1009}"
    if one.maintenance:
        found["upcomingMaintenance"] = dict(one.maintenance)
    return found


def _interface(one: Interface, instance: Instance) -> dict[str, Any]:
    region = f"regions/{one.subnet.region}"
    shown = {
        "kind": "compute#networkInterface",
        "name": one.name,
        "network": link("global", "networks", one.subnet.network),
        "subnetwork": link(region, "subnetworks", one.subnet.name),
        "networkIP": one.ip,
        "fingerprint": fingerprint([instance.id, one.name, one.nat_ip]),
        "stackType": "IPV4_ONLY",
        **one.asked,
    }
    if one.external:
        access = {
            "kind": "compute#accessConfig",
            "type": "ONE_TO_ONE_NAT",
            "name": one.access_name,
            "natIP": one.nat_ip or None,
            "networkTier": one.tier,
        }
        shown["accessConfigs"] = [without_none(access)]
    return shown


def _disk(index: int, one: Attachment) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "kind": "compute#attachedDisk",
        "type": "PERSISTENT",
        "mode": one.mode,
        "source": link(f"zones/{one.disk.zone}", "disks", one.disk.name),
        "deviceName": one.device,
        "index": index,
        "boot": one.boot,
        "autoDelete": one.auto_delete,
        "interface": one.interface,
        "diskSizeGb": str(one.disk.size_gb),
    }
    if one.disk.image:
        shown["architecture"] = one.disk.image.arch
    return shown
