"""What IAM must allow for publishing images: only with the tag of a published image, given by the call that makes it.

Sources: Service Authorization Reference for Amazon EBS, EC2 and S3; EBS User Guide, "IAM permissions for EBS direct
APIs"; VM Import/Export User Guide, "Required permissions". Pure.
"""

from collections.abc import Iterator
from typing import Final

from infrakit_providers.aws.marks import KEY
from infrakit_providers.aws.policies import KEY_USES, Condition, Scope, Statement, allow
from infrakit_providers.aws.publish_settings import Publish

_MARKED_BY_CALL: Final[Condition] = {"Null": {f"aws:RequestTag/{KEY}": "false"}}
_MARKED: Final[Condition] = {"Null": {f"aws:ResourceTag/{KEY}": "false"}}
_BUCKET: Final = ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads")
_OBJECTS: Final = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:ListMultipartUploadParts", "s3:PutObject")


def publishing(scope: Scope, settings: Publish) -> Iterator[Statement]:
    """Yield what publishing as these settings want it needs, besides looking at images and snapshots."""
    looks = ["ec2:GetEbsEncryptionByDefault"]
    images = _ours(scope, scope.region, "image", "snapshot")
    making = ["ec2:RegisterImage", "ec2:CreateTags"]
    if settings.upload == "direct":
        making.append("ebs:StartSnapshot")
        blocks = ["ebs:PutSnapshotBlock", "ebs:CompleteSnapshot"]
        yield allow("WriteSnapshots", blocks, _ours(scope, scope.region, "snapshot"), _MARKED)
    else:
        looks.append("ec2:DescribeImportSnapshotTasks")
        making.append("ec2:ImportSnapshot")
        images += [scope.arn("ec2", "import-snapshot-task/*")]
        bucket = f"arn:{scope.partition}:s3:::{settings.bucket}"
        yield allow("LookIntoBucket", _BUCKET, [bucket])
        yield allow("UploadImages", _OBJECTS, [f"{bucket}/{settings.folder}*"])
    if settings.copy_to:
        making.append("ec2:CopyImage")
        for region in settings.copy_to:
            images += _ours(scope, region, "image", "snapshot")
    yield allow("LookForPublishing", looks, ["*"])
    yield allow("PublishImages", making, images, _MARKED_BY_CALL)
    if settings.copy_to or settings.share_with:
        yield from _handing_on(scope, settings)
    if settings.kms_key is not None:
        keys = [key for region in (scope.region, *settings.copy_to) if (key := settings.key_in(region)) is not None]
        yield allow("EncryptImages", [*KEY_USES, "kms:CreateGrant", "kms:GenerateDataKey"], keys)


def removing(scope: Scope) -> Statement:
    """Allow to take images away: whoever destroys a cluster does, whatever its spec says now."""
    resources = _ours(scope, scope.region, "image", "snapshot")
    return allow("RemoveImages", ["ec2:DeregisterImage", "ec2:DeleteSnapshot"], resources, _MARKED)


def _handing_on(scope: Scope, settings: Publish) -> Iterator[Statement]:
    actions = ["ec2:CreateTags"]
    if settings.share_with:
        actions += ["ec2:ModifyImageAttribute", "ec2:ModifySnapshotAttribute"]
    regions = (scope.region, *settings.copy_to)
    resources = [one for region in regions for one in _ours(scope, region, "image", "snapshot")]
    yield allow("HandImagesOn", actions, resources, _MARKED)


def _ours(scope: Scope, region: str, *kinds: str) -> list[str]:
    """Return resources that have no account in their names."""
    return [f"arn:{scope.partition}:ec2:{region}::{kind}/*" for kind in kinds]
