"""Which function answers which method."""

from collections.abc import Callable, Mapping
from typing import Final

from tests.fakes.gce import (
    addresses,
    balancing,
    bulk,
    catalogue,
    changing,
    disks,
    exposing,
    groups,
    importing,
    inserting,
    instances,
    operations,
)
from tests.fakes.gce.asking import Asked
from tests.fakes.gce.checking import Checked
from tests.fakes.gce.world import World
from tests.fakes.gce.writing import Reply

Handler = Callable[[World, Asked], Reply | Checked]

HANDLERS: Final[Mapping[str, Handler]] = {
    "instances.insert": inserting.insert,
    "instances.bulkInsert": bulk.bulk_insert,
    "instances.get": instances.get_instance,
    "instances.list": instances.list_instances,
    "instances.aggregatedList": instances.aggregated_instances,
    "instances.delete": instances.delete_instance,
    "instances.setLabels": instances.set_labels,
    "instances.setMetadata": instances.set_metadata,
    "instances.setDeletionProtection": instances.set_deletion_protection,
    "instances.addAccessConfig": exposing.add_access_config,
    "instances.deleteAccessConfig": exposing.delete_access_config,
    "instances.stop": changing.stop_instance,
    "instances.start": changing.start_instance,
    "instances.attachDisk": changing.attach_disk,
    "instances.detachDisk": changing.detach_disk,
    "instances.setDiskAutoDelete": changing.set_disk_auto_delete,
    "instances.getSerialPortOutput": changing.get_serial_port_output,
    "instances.testIamPermissions": changing.may,
    **{
        f"{place}Operations.{name}": handler
        for place in ("zone", "region", "global")
        for name, handler in (
            ("get", operations.get_operation),
            ("list", operations.list_operations),
            ("wait", operations.wait_operation),
        )
    },
    "images.insert": importing.insert_image,
    "images.delete": importing.delete_image,
    "images.setLabels": importing.set_image_labels,
    "images.getIamPolicy": importing.get_image_policy,
    "images.setIamPolicy": importing.set_image_policy,
    "globalOperations.aggregatedList": operations.aggregated_operations,
    **catalogue.HANDLERS,
    **addresses.HANDLERS,
    **disks.HANDLERS,
    **groups.HANDLERS,
    **balancing.HANDLERS,
}
