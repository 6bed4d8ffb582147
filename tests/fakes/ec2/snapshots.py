"""Snapshots: listed, shared, deleted; and imported from a bucket. How blocks come into one is said elsewhere."""

from functools import partial
from typing import Any, Final

from tests.fakes.ec2.errors import AwsError, missing
from tests.fakes.ec2.filters import Fields, check_ids, page, selected
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.settings import ACCOUNT
from tests.fakes.ec2.tables import ImportTask, Snapshot
from tests.fakes.ec2.tags import tags_for, written
from tests.fakes.ec2.tokens import once
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply

BLOCK_SIZE: Final = 524_288
GIB: Final = 2**30


def describe_snapshots(world: World, asked: Asked) -> Reply:
    ids = asked.get("SnapshotIds")
    check_ids(ids, world.snapshots, "InvalidSnapshot.NotFound", "snapshot")
    if ids:
        found = [world.snapshots[one] for one in ids]
    else:
        listed_by = world.now() - world.settings.listing_lag
        found = [one for one in world.snapshots.values() if one.created_at <= listed_by]
    if owners := asked.get("OwnerIds"):
        found = [one for one in found if {"self", ACCOUNT} & set(owners)]
    fields: Fields[Snapshot] = {
        "snapshot-id": lambda one: one.id,
        "status": lambda one: one.state,
        "owner-id": lambda _: ACCOUNT,
        "encrypted": lambda one: "true" if one.encrypted else "false",
    }
    shown, token = page(selected(found, asked, fields, lambda one: one.tags), asked, ids=ids)
    return {"Snapshots": [_shown(one) for one in shown], "NextToken": token}


def delete_snapshot(world: World, asked: Asked) -> Reply:
    snapshot = find_snapshot(world, asked["SnapshotId"])
    for image in world.images.values():
        if image.snapshot == snapshot.id:
            raise AwsError("InvalidSnapshot.InUse", f"The snapshot {snapshot.id} is currently in use by {image.id}")
    del world.snapshots[snapshot.id]
    return {}


def modify_snapshot_attribute(world: World, asked: Asked) -> Reply:
    """Change who may make volumes of a snapshot."""
    snapshot = find_snapshot(world, asked["SnapshotId"])
    changes = asked.get("CreateVolumePermission", {})
    added = {one["UserId"] for one in changes.get("Add", ())}
    removed = {one["UserId"] for one in changes.get("Remove", ())}
    if asked.get("OperationType") == "add":
        added |= set(asked.get("UserIds", ()))
    elif asked.get("OperationType") == "remove":
        removed |= set(asked.get("UserIds", ()))
    if added and snapshot.encrypted and snapshot.kms_key is None:
        raise AwsError("OperationNotPermitted", "Encrypted snapshots with EBS default key cannot be shared")
    if snapshot.state != "completed":
        raise AwsError("IncorrectState", f"Snapshot {snapshot.id} is {snapshot.state}")
    snapshot.shared = (snapshot.shared | added) - removed
    return {}


def get_ebs_encryption_by_default(world: World, asked: Asked) -> Reply:
    del asked
    return {"EbsEncryptionByDefault": world.encrypts_by_default}


def find_snapshot(world: World, snapshot_id: str) -> Snapshot:
    if snapshot_id not in world.snapshots:
        raise AwsError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
    return world.snapshots[snapshot_id]


def import_snapshot(world: World, asked: Asked) -> Reply:
    container = asked.get("DiskContainer", {})
    if "UserBucket" not in container:
        raise missing("DiskContainer.UserBucket")
    if container.get("Format", "").upper() != "RAW":
        raise AwsError("InvalidParameter", f"The fake imports RAW disks, not {container.get('Format')}")
    tags = tags_for(asked, "import-snapshot-task")["import-snapshot-task"]

    def make() -> str:
        task = ImportTask(world.new_id("import-snap"), asked, tags=tags)
        world.import_tasks[task.id] = task
        world.later(world.now() + world.settings.import_seconds, partial(_import, world, task))
        return task.id

    id_ = once(world, "ImportSnapshot", asked, make)
    world.settle()
    return {name: one for name, one in _task(world.import_tasks[id_]).items() if one is not None}


def describe_import_snapshot_tasks(world: World, asked: Asked) -> Reply:
    ids = asked.get("ImportTaskIds")
    check_ids(ids, world.import_tasks, "InvalidConversionTaskId", "import task")
    found = [world.import_tasks[one] for one in ids] if ids else list(world.import_tasks.values())
    shown, token = page(selected(found, asked, {}), asked, smallest=1)
    return {"ImportSnapshotTasks": [_task(one) for one in shown], "NextToken": token}


def _import(world: World, task: ImportTask) -> None:
    """Make a snapshot of what is in the bucket now. It gets no tags: AWS gives the task's to the task alone."""
    place = task.asked["DiskContainer"]["UserBucket"]
    content = world.fetch(place["S3Bucket"], place["S3Key"])
    if world.failing_imports:
        task.status, task.message = "deleted", world.failing_imports.pop(0)
    elif content is None:
        task.status, task.message = "deleted", "ClientError: The given S3 object does not exist."
    else:
        snapshot = Snapshot(
            world.new_id("snap"),
            -(-len(content) // GIB),
            world.now(),
            "completed",
            description=f"Created by AWS-VMImport service for {task.id}",
            encrypted=task.asked.get("Encrypted", False) or world.encrypts_by_default,
            kms_key=task.asked.get("KmsKeyId"),
            blocks=blocks_of(content),
        )
        world.snapshots[snapshot.id] = snapshot
        task.status, task.snapshot = "completed", snapshot.id


def blocks_of(content: bytes) -> dict[int, bytes]:
    """Return the blocks of a disk that are not empty."""
    blocks = {
        begin // BLOCK_SIZE: content[begin : begin + BLOCK_SIZE].ljust(BLOCK_SIZE, b"\0")
        for begin in range(0, len(content), BLOCK_SIZE)
    }
    return {index: block for index, block in blocks.items() if block.strip(b"\0")}


def _task(one: ImportTask) -> dict[str, Any]:
    container = one.asked["DiskContainer"]
    return {
        "ImportTaskId": one.id,
        "Description": one.asked.get("Description"),
        "SnapshotTaskDetail": {
            "Description": container.get("Description"),
            "Format": "RAW",
            "Status": one.status,
            "StatusMessage": one.message or None,
            "SnapshotId": one.snapshot or None,
            "UserBucket": dict(container["UserBucket"]),
        },
        "Tags": written(one.tags),
    }


def _shown(one: Snapshot) -> dict[str, Any]:
    return {
        "SnapshotId": one.id,
        "OwnerId": ACCOUNT,
        "VolumeId": "vol-ffffffff",
        "VolumeSize": one.gibibytes,
        "StartTime": one.created_at,
        "State": one.state,
        "StateMessage": one.message or None,
        "Progress": "100%" if one.state == "completed" else "0%",
        "Description": one.description,
        "Encrypted": one.encrypted,
        "KmsKeyId": one.kms_key,
        "StorageTier": "standard",
        "FullSnapshotSizeInBytes": len(one.blocks) * BLOCK_SIZE,
        "Tags": written(one.tags),
    }
