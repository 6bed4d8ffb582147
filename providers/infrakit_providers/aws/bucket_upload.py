"""A disk by way of a bucket: a multipart upload to S3, which VM Import reads and makes a snapshot of.

Parts that are there already are not sent again. The object is deleted once the snapshot bears its tags. Numbers: S3
User Guide, "Amazon S3 multipart upload limits" (5 MiB to 5 GiB a part, 10,000 parts); VM Import/Export User Guide.
"""

import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import md5, sha256
from typing import Any, Final

from infrakit_providers.aws import marks
from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.disk_files import opened
from infrakit_providers.aws.kept import tags_of, vendor_code
from infrakit_providers.aws.marks import Raw
from infrakit_providers.aws.publish_settings import Publish
from infrakit_providers.aws.snapshots import Snapshots
from infrakit_providers.aws.waiting import awaited
from infrakit_py.errors import ProviderError, TokenMismatch, Transient
from infrakit_py.model.spec import Image, ImageFile
from infrakit_py.spi.provider import Now

_LEAST_PART: Final = 8 * 2**20
_MOST_PARTS: Final = 10_000
_TOGETHER: Final = 8
_NO_UPLOAD: Final = "NoSuchUpload"
_ACTIVE: Final = frozenset({"active", "pending", "converting", "updating", "updated", "validating", "validated"})
_IMPORT_SECONDS: Final = 7200.0
"""An import of a few GiB was seen to take 20 minutes; VM Import promises nothing."""
_MOST_TOKENS: Final = 50
_DIGITS: Final = 12

Progress = Callable[[int, int], None]


class BucketUpload:
    """Makes snapshots of disks. Safe for threads."""

    def __init__(self, caller: Caller, snapshots: Snapshots, clock: Now, settings: Publish) -> None:
        self._caller = caller
        self._snapshots = snapshots
        self._clock = clock
        self._settings = settings

    def made(self, image: Image, disk: ImageFile, progress: Progress) -> str:
        """Return a completed and tagged snapshot of the disk. Idempotent, also for several at once."""
        task = self._task(image, disk)
        if task is None:
            key = f"{self._stem(image)}-{disk.sha256[:_DIGITS]}.raw"
            with opened(disk) as descriptor:
                self._upload(image, disk, descriptor, key, progress)
            task = self._import(image, disk, key)
        snapshot_id = self._imported(image, str(task["ImportTaskId"]))
        self._snapshots.mark(snapshot_id, image, disk)
        self._snapshots.await_completion(snapshot_id)
        return snapshot_id

    def tidy(self, image: Image) -> None:
        """Delete the image's objects, and end uploads of it that were cut short. Idempotent."""
        stem = self._stem(image)
        own = re.compile(rf"{re.escape(stem)}-[0-9a-f]{{{_DIGITS}}}\.raw")
        for one in self._uploads(stem):
            if own.fullmatch(one["Key"]):
                self._forgiving(_NO_UPLOAD, "abort_multipart_upload", Key=one["Key"], UploadId=one["UploadId"])
        for one in self._ask("list_objects_v2", Prefix=stem).get("Contents", ()):
            if own.fullmatch(one["Key"]):
                self._act("delete_object", Key=one["Key"])

    def _stem(self, image: Image) -> str:
        return f"{self._settings.folder}{marks.key_of(image)}"

    # S3.

    def _upload(self, image: Image, disk: ImageFile, descriptor: int, key: str, progress: Progress) -> None:
        if self._is_there(key, disk.size):
            progress(disk.size, disk.size)
            return
        known = [one for one in self._uploads(key) if one["Key"] == key]
        if known:
            upload_id = min(known, key=lambda one: (one["Initiated"], one["UploadId"]))["UploadId"]
        else:
            answer = self._act("create_multipart_upload", Key=key, ChecksumAlgorithm="SHA256")
            upload_id = answer["UploadId"]
        try:
            parts = self._send_all(descriptor, disk.size, key, upload_id, progress)
            self._act("complete_multipart_upload", Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts})
        except ProviderError as exc:
            if vendor_code(exc) == _NO_UPLOAD and self._is_there(key, disk.size):
                return
            if vendor_code(exc) == _NO_UPLOAD:  # somebody else has ended it: look again from the start
                raise Transient(f"aws: the upload of image {image.name} was ended by another: {exc}") from exc
            raise

    def _send_all(
        self, descriptor: int, whole: int, key: str, upload_id: str, progress: Progress
    ) -> list[dict[str, Any]]:
        """Send the parts that are not there yet, and return all."""
        there = {one["PartNumber"]: one for one in self._parts(key, upload_id)}
        size = max(_LEAST_PART, -(-whole // _MOST_PARTS))
        send = partial(self._send, descriptor, key, upload_id, there, size)
        numbers = range(1, max(1, -(-whole // size)) + 1)
        parts = []
        with ThreadPoolExecutor(_TOGETHER, thread_name_prefix="put-part") as pool:
            for number, part in zip(numbers, pool.map(send, numbers), strict=True):
                parts.append(part)
                progress(min(whole, number * size), whole)
        return parts

    def _send(
        self, descriptor: int, key: str, upload_id: str, there: dict[int, Raw], size: int, number: int
    ) -> dict[str, Any]:
        block = os.pread(descriptor, size, (number - 1) * size)
        checksum = b64encode(sha256(block).digest()).decode()
        known = there.get(number)
        if known is not None and _is_same(known, block, checksum):
            etag = known["ETag"]
        else:
            answer = self._act(
                "upload_part", Key=key, UploadId=upload_id, PartNumber=number, Body=block, ChecksumSHA256=checksum
            )
            etag = answer["ETag"]
        return {"PartNumber": number, "ETag": etag, "ChecksumSHA256": checksum}

    def _is_there(self, key: str, size: int) -> bool:
        found = self._ask("list_objects_v2", Prefix=key).get("Contents", ())
        return any(one["Key"] == key and one["Size"] == size for one in found)

    def _uploads(self, prefix: str) -> list[Raw]:
        marker: dict[str, str] = {}
        found: list[Raw] = []
        while True:
            answer = self._ask("list_multipart_uploads", Prefix=prefix, **marker)
            found += [one for one in answer.get("Uploads", ()) if one["Key"].startswith(prefix)]
            if not answer.get("IsTruncated"):
                return found
            marker = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}

    def _parts(self, key: str, upload_id: str) -> Iterator[Raw]:
        marker: dict[str, int] = {}
        while True:
            answer = self._ask("list_parts", Key=key, UploadId=upload_id, **marker)
            yield from answer.get("Parts", ())
            if not answer.get("IsTruncated"):
                return
            marker = {"PartNumberMarker": answer["NextPartNumberMarker"]}

    def _forgiving(self, code: str, operation: str, **parameters: Any) -> None:
        try:
            self._act(operation, **parameters)
        except ProviderError as exc:
            if vendor_code(exc) != code:
                raise

    def _ask(self, operation: str, **parameters: Any) -> Any:
        return self._caller.ask("s3", operation, self._doing(operation), Bucket=self._settings.bucket, **parameters)

    def _act(self, operation: str, **parameters: Any) -> Any:
        doing = self._doing(operation)
        return self._caller.act(Kind.OTHER, "s3", operation, doing, Bucket=self._settings.bucket, **parameters)

    def _doing(self, operation: str) -> str:
        return f"{operation.replace('_', ' ')} in the bucket {self._settings.bucket}"

    # VM Import.

    def _task(self, image: Image, disk: ImageFile) -> Raw | None:
        """Return an import of the disk that is under way, or done and its snapshot there."""
        for one in self._tasks():
            held, detail = tags_of(one), one.get("SnapshotTaskDetail", {})
            if (held.get(marks.KEY), held.get(marks.BYTES)) != (marks.key_of(image), disk.sha256):
                continue
            if detail.get("Status") in _ACTIVE or (
                detail.get("Status") == "completed" and self._snapshots.look(detail["SnapshotId"]) is not None
            ):
                return one
        return None

    def _tasks(self) -> Iterator[Raw]:
        doing = "look for imports of images"
        for page in self._caller.pages("ec2", "describe_import_snapshot_tasks", doing):
            yield from page["ImportSnapshotTasks"]

    def _import(self, image: Image, disk: ImageFile, key: str) -> Raw:
        """Begin an import. A token whose import failed, or whose snapshot is gone, is spent: take the next."""
        for attempt in range(_MOST_TOKENS):
            token = marks.client_token(image, disk, f"import {self._encryption}", attempt)
            try:
                task = self._begin_import(image, disk, key, token)
            except TokenMismatch as exc:  # somebody imports the same under another name
                known = self._task(image, disk)
                if known is not None:
                    return known
                raise Transient(str(exc)) from exc
            detail = self._look(str(task["ImportTaskId"]))
            if detail.get("Status", "active") in _ACTIVE or (
                detail.get("Status") == "completed" and self._snapshots.look(detail["SnapshotId"]) is not None
            ):
                return task
        raise ProviderError(
            f"aws: image {image.name} was imported {_MOST_TOKENS} times and came to nothing",
            hint="try again when a day has passed",
        )

    def _begin_import(self, image: Image, disk: ImageFile, key: str, token: str) -> Raw:
        answer: Raw = self._caller.act(
            Kind.MUTATE,
            "ec2",
            "import_snapshot",
            f"import image {image.name}",
            ClientToken=token,
            Description=marks.ami_name(image),
            DiskContainer={
                "Description": marks.ami_name(image),
                "Format": "RAW",
                "UserBucket": {"S3Bucket": self._settings.bucket, "S3Key": key},
            },
            TagSpecifications=[marks.specification("import-snapshot-task", image, disk)],
            **({"RoleName": self._settings.role_name} if self._settings.role_name else {}),
            **self._encryption,
        )
        return answer

    @property
    def _encryption(self) -> dict[str, Any]:
        if not self._settings.encrypt:
            return {}
        key = self._settings.kms_key
        return {"Encrypted": True, **({"KmsKeyId": key} if key is not None else {})}

    def _look(self, task_id: str) -> Raw:
        doing = f"look at the import {task_id}"
        answer = self._caller.ask("ec2", "describe_import_snapshot_tasks", doing, ImportTaskIds=[task_id])
        found: Raw = answer["ImportSnapshotTasks"][0].get("SnapshotTaskDetail", {})
        return found

    def _imported(self, image: Image, task_id: str) -> str:
        """Return the snapshot of an import once that is done. ProviderError, with VM Import's words, if it fails."""

        def look() -> str | None:
            detail = self._look(task_id)
            status = detail.get("Status", "active")
            if status == "completed":
                return str(detail["SnapshotId"])
            if status in _ACTIVE:
                return None
            said = detail.get("StatusMessage") or "VM Import does not say why"
            raise ProviderError(
                f"aws: the import of image {image.name} ({task_id}) is {status}: {said}",
                hint="the role of VM Import must be allowed to read the bucket; infra doctor looks at both",
            )

        return awaited(self._clock, look, f"the import {task_id}", seconds=_IMPORT_SECONDS)


def _is_same(part: Raw, block: bytes, checksum: str) -> bool:
    """Tell whether a part that was sent before is this one. A part whose bytes nobody can tell is not."""
    if part.get("Size") != len(block):
        return False
    if part.get("ChecksumSHA256"):
        return bool(part["ChecksumSHA256"] == checksum)
    return str(part["ETag"]).strip('"') == md5(block, usedforsecurity=False).hexdigest()
