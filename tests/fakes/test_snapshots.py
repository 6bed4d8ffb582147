"""Snapshots and images of the fake: written by blocks, imported, registered, copied; refused where AWS refuses."""

import base64
from hashlib import sha256
from typing import Any, Final

import pytest

from tests.fakes.account import Account, Opens, client, refused
from tests.fakes.ec2.settings import LINUX

BLOCK: Final = b"boot".ljust(524_288, b"\0")
FRIEND: Final = "210987654321"


def digest(content: bytes) -> str:
    return base64.b64encode(sha256(content).digest()).decode()


def ebs_of(account: Account) -> Any:
    return client("ebs", account.fake.url)


def put(snapshot_id: str, index: int = 0, block: bytes = BLOCK, **unlike: Any) -> dict[str, Any]:
    return {
        "SnapshotId": snapshot_id,
        "BlockIndex": index,
        "BlockData": block,
        "DataLength": 524_288,
        "Checksum": digest(block),
        "ChecksumAlgorithm": "SHA256",
        **unlike,
    }


def complete(snapshot_id: str, *blocks: bytes) -> dict[str, Any]:
    linear = b"".join(sha256(one).digest() for one in blocks)
    return {
        "SnapshotId": snapshot_id,
        "ChangedBlocksCount": len(blocks),
        "Checksum": digest(linear),
        "ChecksumAlgorithm": "SHA256",
        "ChecksumAggregationMethod": "LINEAR",
    }


def snapshot_of(account: Account) -> str:
    ebs = ebs_of(account)
    id_: str = ebs.start_snapshot(VolumeSize=1, Tags=[{"Key": "is", "Value": "mine"}])["SnapshotId"]
    ebs.put_snapshot_block(**put(id_))
    ebs.complete_snapshot(**complete(id_, BLOCK))
    return id_


def state(account: Account, id_: str) -> str:
    return account.ec2.describe_snapshots(SnapshotIds=[id_])["Snapshots"][0]["State"]


def registration(snapshot_id: str, name: str = "mine", **unlike: Any) -> dict[str, Any]:
    root = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}
    return {
        "Name": name,
        "Architecture": "x86_64",
        "RootDeviceName": "/dev/sda1",
        "BlockDeviceMappings": [root],
        **unlike,
    }


def test_blocks_are_kept_and_a_snapshot_is_pending_until_it_is_sealed(opens: Opens) -> None:
    account = opens(snapshot_seconds=10)
    ebs = ebs_of(account)
    begun = ebs.start_snapshot(VolumeSize=1, Tags=[{"Key": "is", "Value": "mine"}])
    id_ = begun["SnapshotId"]
    assert (begun["BlockSize"], begun["Status"], state(account, id_)) == (524_288, "pending", "pending")
    ebs.put_snapshot_block(**put(id_, 2))
    ebs.put_snapshot_block(**put(id_, 2))
    assert ebs.complete_snapshot(**complete(id_, BLOCK))["Status"] == "pending"
    assert refused(ebs, "put_snapshot_block", **put(id_, 1)) == "ValidationException"
    account.clock.sleep(10)
    assert state(account, id_) == "completed"
    assert account.fake.content(id_) == bytes(2 * 524_288) + b"boot"
    found = account.ec2.describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "tag:is", "Values": ["mine"]}])
    assert [one["SnapshotId"] for one in found["Snapshots"]] == [id_]


@pytest.mark.parametrize(
    "wrong",
    [{"Checksum": digest(b"else")}, {"DataLength": 512}, {"BlockIndex": 2048}, {"block": b"short"}],
    ids=["checksum", "length", "beyond the end", "short"],
)
def test_a_block_that_is_not_what_it_says_is_refused(account: Account, wrong: dict[str, Any]) -> None:
    ebs = ebs_of(account)
    id_ = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    index = wrong.pop("BlockIndex", 0)
    assert refused(ebs, "put_snapshot_block", **put(id_, index, **wrong)) == "ValidationException"


def test_a_snapshot_whose_blocks_are_not_those_that_were_meant_is_not_sealed(account: Account) -> None:
    ebs = ebs_of(account)
    id_ = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    ebs.put_snapshot_block(**put(id_))
    assert refused(ebs, "complete_snapshot", **complete(id_)) == "ValidationException"
    assert refused(ebs, "complete_snapshot", **complete(id_, b"else")) == "ValidationException"
    assert state(account, id_) == "pending"


def test_a_token_gives_the_same_snapshot_and_refuses_another_request(account: Account) -> None:
    ebs = ebs_of(account)
    ids = {ebs.start_snapshot(VolumeSize=1, ClientToken="t")["SnapshotId"] for _ in range(2)}
    assert len(ids) == len(account.fake.snapshots()) == 1
    assert refused(ebs, "start_snapshot", VolumeSize=2, ClientToken="t") == "ConflictException"


def test_a_snapshot_that_nobody_writes_to_is_given_up(account: Account) -> None:
    ebs = ebs_of(account)
    id_ = ebs.start_snapshot(VolumeSize=1, Timeout=10)["SnapshotId"]
    account.clock.sleep(500)
    ebs.put_snapshot_block(**put(id_))
    account.clock.sleep(500)
    assert state(account, id_) == "pending"
    account.clock.sleep(100)
    assert state(account, id_) == "error"


def test_what_does_not_exist_cannot_be_written(account: Account) -> None:
    assert refused(ebs_of(account), "put_snapshot_block", **put("snap-0")) == "ResourceNotFoundException"


def test_an_image_needs_a_completed_snapshot_and_a_name_of_its_own(account: Account) -> None:
    pending = ebs_of(account).start_snapshot(VolumeSize=1)["SnapshotId"]
    assert refused(account.ec2, "register_image", **registration(pending)) == "IncorrectState"
    assert refused(account.ec2, "register_image", **registration("snap-0")) == "InvalidSnapshot.NotFound"
    id_ = snapshot_of(account)
    account.ec2.register_image(**registration(id_))
    assert refused(account.ec2, "register_image", **registration(id_)) == "InvalidAMIName.Duplicate"
    assert refused(account.ec2, "register_image", **registration(id_, "no;")) == "InvalidAMIName.Malformed"


def test_a_snapshot_of_an_image_cannot_be_deleted_before_it(account: Account) -> None:
    id_ = snapshot_of(account)
    image_id = account.ec2.register_image(**registration(id_))["ImageId"]
    assert refused(account.ec2, "delete_snapshot", SnapshotId=id_) == "InvalidSnapshot.InUse"
    account.ec2.deregister_image(ImageId=image_id)
    account.ec2.delete_snapshot(SnapshotId=id_)
    assert refused(account.ec2, "describe_snapshots", SnapshotIds=[id_]) == "InvalidSnapshot.NotFound"
    assert refused(account.ec2, "deregister_image", ImageId=image_id) == "InvalidAMIID.NotFound"


def test_a_registered_image_boots(account: Account) -> None:
    image_id = account.ec2.register_image(**registration(snapshot_of(account)))["ImageId"]
    (id_,) = account.boot(ImageId=image_id)
    (one,) = account.see(id_)
    assert (one["ImageId"], one["RootDeviceName"]) == (image_id, "/dev/sda1")


def test_what_is_encrypted_by_the_default_key_cannot_be_shared(account: Account) -> None:
    ebs = ebs_of(account)
    id_ = ebs.start_snapshot(VolumeSize=1, Encrypted=True)["SnapshotId"]
    ebs.complete_snapshot(SnapshotId=id_, ChangedBlocksCount=0)
    shared: Any = {"Attribute": "createVolumePermission", "OperationType": "add", "UserIds": [FRIEND]}
    assert refused(account.ec2, "modify_snapshot_attribute", SnapshotId=id_, **shared) == "OperationNotPermitted"
    plain = snapshot_of(account)
    account.ec2.modify_snapshot_attribute(SnapshotId=plain, **shared)
    assert {one.id: one.shared for one in account.fake.snapshots()} == {id_: set(), plain: {FRIEND}}


def test_a_copy_comes_to_the_other_region_after_a_while(opens: Opens) -> None:
    account = opens(copy_seconds=60, neighbours=("eu-west-1",))
    image_id = account.ec2.register_image(**registration(snapshot_of(account)))["ImageId"]
    there = client("ec2", account.fake.url, region="eu-west-1")
    asked = {"Name": "mine", "SourceImageId": image_id, "SourceRegion": "eu-central-1", "ClientToken": "t"}
    copies = {there.copy_image(**asked)["ImageId"] for _ in range(2)}
    assert len(copies) == 1
    (copy,) = there.describe_images(ImageIds=list(copies))["Images"]
    assert copy["State"] == "pending"
    account.clock.sleep(60)
    (copy,) = there.describe_images(ImageIds=list(copies))["Images"]
    assert copy["State"] == "available"
    (snapshot,) = account.fake.abroad("eu-west-1").snapshots()
    assert account.fake.abroad("eu-west-1").content(snapshot.id) == b"boot"
    assert refused(there, "copy_image", **{**asked, "ClientToken": "u"}) == "InvalidAMIName.Duplicate"


def test_an_import_of_what_is_not_there_ends_in_an_error(account: Account) -> None:
    place = {"S3Bucket": "images", "S3Key": "disk.raw"}
    begun = account.ec2.import_snapshot(DiskContainer={"Format": "RAW", "UserBucket": place})  # type: ignore[typeddict-item]
    (task,) = account.ec2.describe_import_snapshot_tasks(ImportTaskIds=[begun["ImportTaskId"]])["ImportSnapshotTasks"]
    assert task["SnapshotTaskDetail"]["Status"] == "deleted"
    assert "does not exist" in task["SnapshotTaskDetail"]["StatusMessage"]


def test_images_from_the_start_are_still_there(account: Account) -> None:
    (one,) = account.ec2.describe_images(ImageIds=[LINUX])["Images"]
    assert (one["State"], one["EnaSupport"]) == ("available", True)
