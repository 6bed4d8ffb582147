"""The IAM permissions that calls take, as Google's reference says of each method.

What a call takes beyond these depends on what it says: `Asked.permit` is asked for it where that is read.
"""

from collections.abc import Mapping
from typing import Final

ALWAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "instances.insert": ("compute.instances.create",),
    "instances.bulkInsert": ("compute.instances.create",),
    "instances.get": ("compute.instances.get",),
    "instances.list": ("compute.instances.list",),
    "instances.aggregatedList": ("compute.instances.list",),
    "instances.delete": ("compute.instances.delete",),
    "instances.setLabels": ("compute.instances.setLabels",),
    "instances.setMetadata": ("compute.instances.setMetadata",),
    "instances.setDeletionProtection": ("compute.instances.setDeletionProtection",),
    "instances.addAccessConfig": ("compute.instances.addAccessConfig",),
    "instances.deleteAccessConfig": ("compute.instances.deleteAccessConfig",),
    "instances.stop": ("compute.instances.stop",),
    "instances.start": ("compute.instances.start",),
    "instances.attachDisk": ("compute.instances.attachDisk",),
    "instances.detachDisk": ("compute.instances.detachDisk",),
    "instances.setDiskAutoDelete": ("compute.instances.setDiskAutoDelete",),
    "instances.getSerialPortOutput": ("compute.instances.getSerialPortOutput",),
    "instances.testIamPermissions": (),
    "zoneOperations.get": ("compute.zoneOperations.get",),
    "zoneOperations.list": ("compute.zoneOperations.list",),
    "zoneOperations.wait": ("compute.zoneOperations.get",),
    "regionOperations.get": ("compute.regionOperations.get",),
    "regionOperations.list": ("compute.regionOperations.list",),
    "regionOperations.wait": ("compute.regionOperations.get",),
    "globalOperations.get": ("compute.globalOperations.get",),
    "globalOperations.list": ("compute.globalOperations.list",),
    "globalOperations.wait": ("compute.globalOperations.get",),
    "globalOperations.aggregatedList": ("compute.globalOperations.list",),
    "addresses.insert": ("compute.addresses.create",),
    "addresses.get": ("compute.addresses.get",),
    "addresses.list": ("compute.addresses.list",),
    "addresses.aggregatedList": ("compute.addresses.list",),
    "addresses.delete": ("compute.addresses.delete",),
    "addresses.setLabels": ("compute.addresses.setLabels",),
    "disks.insert": ("compute.disks.create",),
    "disks.get": ("compute.disks.get",),
    "disks.list": ("compute.disks.list",),
    "disks.aggregatedList": ("compute.disks.list",),
    "disks.delete": ("compute.disks.delete",),
    "disks.setLabels": ("compute.disks.setLabels",),
    "instanceGroups.get": ("compute.instanceGroups.get",),
    "instanceGroups.list": ("compute.instanceGroups.list",),
    "instanceGroups.aggregatedList": ("compute.instanceGroups.list",),
    "instanceGroups.listInstances": ("compute.instanceGroups.list",),
    "instanceGroups.addInstances": ("compute.instanceGroups.update",),
    "instanceGroups.removeInstances": ("compute.instanceGroups.update",),
    "backendServices.get": ("compute.backendServices.get",),
    "backendServices.list": ("compute.backendServices.list",),
    "backendServices.getHealth": ("compute.backendServices.get",),
    "regionBackendServices.get": ("compute.regionBackendServices.get",),
    "regionBackendServices.list": ("compute.regionBackendServices.list",),
    "regionBackendServices.getHealth": ("compute.regionBackendServices.get",),
    "targetPools.get": ("compute.targetPools.get",),
    "targetPools.list": ("compute.targetPools.list",),
    "targetPools.aggregatedList": ("compute.targetPools.list",),
    "targetPools.addInstance": ("compute.targetPools.addInstance",),
    "targetPools.removeInstance": ("compute.targetPools.removeInstance",),
    "targetPools.getHealth": ("compute.targetPools.get",),
    "projects.get": ("compute.projects.get",),
    "images.get": ("compute.images.get",),
    "images.getFromFamily": ("compute.images.getFromFamily",),
    "images.list": ("compute.images.list",),
    **{
        f"{resource}.{name}": (f"compute.{resource}.{'get' if name == 'get' else 'list'}",)
        for resource in (
            "machineTypes",
            "zones",
            "regions",
            "networks",
            "subnetworks",
            "diskTypes",
            "acceleratorTypes",
        )
        for name in ("get", "list", "aggregatedList")
        if resource not in ("zones", "regions", "networks") or name != "aggregatedList"
    },
}
"""By method, what each call of it takes."""
