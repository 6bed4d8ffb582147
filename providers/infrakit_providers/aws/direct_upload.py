"""A disk written to a snapshot block by block: the EBS direct APIs, which need neither a bucket nor a role.

What a pending snapshot holds cannot be asked for, so whoever goes on where another was cut short writes all blocks
again; a block that is written twice is the same. Numbers and rules: EBS direct APIs Reference, and EBS User Guide,
"Write EBS snapshots".
"""

import os
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from typing import Any, Final

from infrakit_providers.aws import marks
from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.disk_files import DiskChanged, opened
from infrakit_providers.aws.kept import vendor_code
from infrakit_providers.aws.publish_settings import Publish
from infrakit_providers.aws.snapshots import COMPLETED, ERROR, PENDING, Snapshots, holds
from infrakit_providers.aws.waiting import awaited
from infrakit_py.errors import ProviderError, Throttled, Transient
from infrakit_py.model.spec import Image, ImageFile
from infrakit_py.spi.provider import Now

_BLOCK_SIZE: Final = 524_288
"""What EBS answers to StartSnapshot, as yet always."""
_ABANDONED_MINUTES: Final = 60
"""After so long without a block EBS gives a snapshot up: then it is in the state `error`."""
_MOST_TOKENS: Final = 50
_CONFLICT: Final = "ConflictException"
_MAY_PASS: Final = frozenset({"ResourceNotFoundException", "ValidationException"})
"""EBS does not know a new snapshot everywhere at once, and now and then says of good blocks that they are not."""
_PUT_SECONDS: Final = 150.0
"""EBS was seen not to know a snapshot for two minutes (awslabs/coldsnap, issue 43)."""
_LISTED_SECONDS: Final = 60.0
_KNOWN_AFTER_SECONDS: Final = 900.0
"""More than a clock may be wrong: AWS refuses what is signed five minutes off."""
_BLOCKS_A_THREAD: Final = 8

Progress = Callable[[int, int], None]


class _Sealed(ProviderError):
    """The snapshot is completed: somebody else wrote the same, and was quicker."""


class DirectUpload:
    """Makes snapshots of disks. Safe for threads."""

    def __init__(self, caller: Caller, snapshots: Snapshots, clock: Now, settings: Publish) -> None:
        self._caller = caller
        self._snapshots = snapshots
        self._clock = clock
        self._settings = settings
        self._spent: set[str] = set()
        """Client tokens whose snapshot is no more."""

    def made(self, image: Image, disk: ImageFile, progress: Progress) -> str:
        """Return a completed snapshot of the disk. Idempotent, also for several at once; Transient: try again."""
        begun: list[str] = []
        try:
            with opened(disk) as descriptor:
                snapshot_id, block_size, token = self._started(image, disk)
                begun.append(snapshot_id)
                put = partial(self._put, snapshot_id, block_size, descriptor, disk.size)
                digests = self._written(
                    snapshot_id, token, partial(self._put_all, put, block_size, disk.size, progress)
                )
        except DiskChanged:
            for one in begun:
                self._snapshots.delete(one)
            raise
        if digests is not None:
            self._seal(snapshot_id, digests)
        self._snapshots.await_completion(snapshot_id)
        return snapshot_id

    def _written(self, snapshot_id: str, token: str, put_all: Callable[[], list[bytes]]) -> list[bytes] | None:
        """Write all blocks and return their digests; None where somebody else has written and sealed them."""
        try:
            return put_all() if self._snapshots.state(snapshot_id) != COMPLETED else None
        except DiskChanged:
            raise
        except _Sealed:
            return None
        except ProviderError as exc:
            state = self._snapshots.state(snapshot_id)
            if state == COMPLETED:
                return None
            if state == PENDING:
                raise
            self._spent.add(token)
            raise Transient(str(exc), hint=exc.hint) from exc

    def tidy(self, image: Image) -> None:
        """Take away what only the upload needed: nothing."""
        del image

    def _started(self, image: Image, disk: ImageFile) -> tuple[str, int, str]:
        """Return a snapshot that is being made of the disk, its blocks' size, and its token where that is known."""
        if (begun := self._begun(image, disk)) is not None:
            return begun, _BLOCK_SIZE, ""
        for attempt in range(_MOST_TOKENS):
            token = marks.client_token(image, disk, f"start {self._encryption}", attempt)
            if token in self._spent:
                continue
            try:
                answer = self._start(image, disk, token)
            except ProviderError as exc:
                if vendor_code(exc) != _CONFLICT:
                    raise
                # Somebody began the same under another name. What is not there a while later is no more.
                try:
                    look = partial(self._begun, image, disk)
                    begun = awaited(self._clock, look, "a snapshot of the same image", seconds=_LISTED_SECONDS)
                except Transient:
                    continue
                return begun, _BLOCK_SIZE, ""
            if self._is_alive(answer):
                return str(answer["SnapshotId"]), int(answer.get("BlockSize") or _BLOCK_SIZE), token
        raise ProviderError(
            f"aws: a snapshot of image {image.name} was begun {_MOST_TOKENS} times and came to nothing",
            hint="try again when a day has passed",
        )

    def _begun(self, image: Image, disk: ImageFile) -> str | None:
        """Return a listed snapshot that is being made of the disk, or was meanwhile."""
        for one in self._snapshots.of(image):
            fits = holds(one, disk) and (one.get("Encrypted") or not self._settings.encrypt)
            if fits and one["State"] in (PENDING, COMPLETED):
                return str(one["SnapshotId"])
        return None

    def _is_alive(self, started: Any) -> bool:
        """Tell whether a token's snapshot is of use. One that EC2 does not know is new, or was deleted long ago."""
        if started.get("Status") == ERROR:
            return False
        found = self._snapshots.look(started["SnapshotId"])
        if found is None:
            since = started.get("StartTime")
            return since is None or self._clock.now() - since.timestamp() < _KNOWN_AFTER_SECONDS
        return bool(found["State"] != ERROR)

    @property
    def _encryption(self) -> dict[str, Any]:
        if not self._settings.encrypt:
            return {}
        key = self._settings.kms_key
        return {"Encrypted": True, **({"KmsKeyArn": key} if key is not None else {})}

    def _start(self, image: Image, disk: ImageFile, token: str) -> Any:
        return self._caller.act(
            Kind.OTHER,
            "ebs",
            "start_snapshot",
            f"start a snapshot of image {image.name}",
            VolumeSize=max(1, -(-disk.size // marks.GIB)),
            ClientToken=token,
            Timeout=_ABANDONED_MINUTES,
            Description=marks.ami_name(image),
            Tags=marks.tags_of(image, disk),
            **self._encryption,
        )

    def _seal(self, snapshot_id: str, digests: list[bytes]) -> None:
        """Let EBS compare what was written with what we meant, and take no more. Done by somebody else is done."""
        doing = f"complete the snapshot {snapshot_id}"
        try:
            self._caller.act(
                Kind.OTHER,
                "ebs",
                "complete_snapshot",
                doing,
                SnapshotId=snapshot_id,
                ChangedBlocksCount=len(digests),
                Checksum=b64encode(sha256(b"".join(digests)).digest()).decode(),
                ChecksumAlgorithm="SHA256",
                ChecksumAggregationMethod="LINEAR",
            )
        except ProviderError as exc:
            if vendor_code(exc) not in _MAY_PASS:
                raise

            def look() -> bool | None:
                return None if self._snapshots.state(snapshot_id) == PENDING else True

            # A snapshot that another has sealed is pending for a while.
            awaited(self._clock, look, doing, seconds=_PUT_SECONDS)

    def _put_all(
        self, put: Callable[[int], bytes | None], block_size: int, size: int, progress: Progress
    ) -> list[bytes]:
        """Write blocks, many at once but not all: what is read waits in memory."""
        count, window = -(-size // block_size), self._settings.parallel * _BLOCKS_A_THREAD
        digests: list[bytes] = []
        with ThreadPoolExecutor(self._settings.parallel, thread_name_prefix="put-block") as pool:
            for begin in range(0, count, window):
                answers = pool.map(put, range(begin, min(count, begin + window)))
                for index, digest in enumerate(answers, begin):
                    if digest is not None:
                        digests.append(digest)
                    progress(min(size, (index + 1) * block_size), size)
        return digests

    def _put(self, snapshot_id: str, block_size: int, descriptor: int, size: int, index: int) -> bytes | None:
        """Write a block and return its digest; None for one that is empty, which snapshots leave out."""
        wanted = min(block_size, size - index * block_size)
        block = os.pread(descriptor, wanted, index * block_size)
        if len(block) != wanted:
            raise DiskChanged("aws: the disk became shorter while it was uploaded", hint="plan again")
        if not block.strip(b"\0"):
            return None
        block = block.ljust(block_size, b"\0")
        digest = sha256(block).digest()
        parameters = {
            "SnapshotId": snapshot_id,
            "BlockIndex": index,
            "BlockData": block,
            "DataLength": block_size,
            "Checksum": b64encode(digest).decode(),
            "ChecksumAlgorithm": "SHA256",
        }
        what = f"block {index} of the snapshot {snapshot_id}"
        awaited(self._clock, partial(self._put_once, what, parameters), what, seconds=_PUT_SECONDS)
        return digest

    def _put_once(self, what: str, parameters: dict[str, Any]) -> bool | None:
        try:
            self._caller.act(Kind.PUT_BLOCK, "ebs", "put_snapshot_block", f"write {what}", **parameters)
        except Throttled:
            return None
        except ProviderError as exc:
            if vendor_code(exc) not in _MAY_PASS:
                raise
            found = self._snapshots.look(parameters["SnapshotId"])
            state = found["State"] if found is not None else PENDING  # not listed yet, as long as it may be
            if state == COMPLETED:
                raise _Sealed(str(exc)) from exc
            if state != PENDING:
                raise Transient(str(exc)) from exc
            return None
        return True
