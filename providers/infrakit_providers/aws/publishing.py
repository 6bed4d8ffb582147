"""Images made bootable here: the disk becomes a snapshot, the snapshot an AMI, once for each image.

Every step finds what it made before by tags, so whoever is killed at any point, or works beside others, comes to the
same end. What attempts left behind is taken away before the AMI is registered: from then on nobody looks again.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from infrakit_providers.aws import marks
from infrakit_providers.aws.amis import Amis, bootable
from infrakit_providers.aws.bucket_upload import BucketUpload
from infrakit_providers.aws.calls import Caller
from infrakit_providers.aws.direct_upload import DirectUpload
from infrakit_providers.aws.handing_on import HandingOn
from infrakit_providers.aws.marks import Raw
from infrakit_providers.aws.settings import Settings
from infrakit_providers.aws.snapshots import COMPLETED, Snapshots
from infrakit_providers.aws.waiting import Overdue
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.model.spec import Image, ImageFile
from infrakit_py.spi.images import DiskFormat, Disks
from infrakit_py.spi.provider import Now

_ATTEMPTS: Final = 5
_LONGEST_WAIT_SECONDS: Final = 10.0

Progress = Callable[[int, int], None]


class Upload(Protocol):
    """A way to make a snapshot of a disk."""

    def made(self, image: Image, disk: ImageFile, progress: Progress) -> str:
        """Return a completed snapshot. Idempotent, also for several at once."""
        ...

    def tidy(self, image: Image) -> None:
        """Take away what only the upload needed. Idempotent."""
        ...


class Publisher:
    """Publishes images in an account's region. Safe for threads, processes and machines."""

    def __init__(
        self, caller: Caller, settings: Settings, disks: Disks, clock: Now, abroad: Callable[[str], Caller]
    ) -> None:
        """`abroad` returns what calls another region of the account."""
        self._settings = settings.publish
        self._disks = disks
        self._clock = clock
        self._amis = Amis(caller, clock)
        self._snapshots = Snapshots(caller, clock)
        way = BucketUpload if self._settings.upload == "s3" else DirectUpload
        self._upload: Upload = way(caller, self._snapshots, clock, self._settings)
        self._handing_on = HandingOn(caller, self._settings, settings.region, abroad, clock)

    def publish(self, image: Image, progress: Progress) -> None:
        """Make an image bootable; see `infrakit_py.spi.provider.Provider.publish`."""
        if image.architecture not in marks.ARCHITECTURES:
            raise ProviderError(f"aws: image {image.name} is for {image.architecture}, which EC2 does not have")
        furthest = 0

        def forwards(done: int, total: int) -> None:
            nonlocal furthest  # a repetition begins anew, and shows nothing until it is further
            if done > furthest or done == total:
                furthest = max(furthest, done)
                progress(done, total)

        policy = Retrying(
            retry=retry_if_exception(lambda exc: isinstance(exc, Transient) and not isinstance(exc, Overdue)),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_WAIT_SECONDS),
            sleep=self._clock.sleep,
            reraise=True,
        )
        policy(self._publish, image, forwards)

    def _publish(self, image: Image, progress: Progress) -> None:
        found = self._found(image)
        if not found:
            disk = self._disks.disk(image, DiskFormat.RAW)
            registered = self._amis.register(image, self._snapshot(image, disk, progress))
            self._amis.await_available(registered)
            found = self._amis.await_listed(image)
        ami = bootable(found) or self._amis.await_available(str(found[0]["ImageId"]))
        self._upload.tidy(image)
        if kept := {id_ for one in (ami, *found) for id_ in marks.snapshots_in(one)}:
            self._snapshots.delete_surplus(image, kept)
        self._handing_on.hand_on(image, ami)

    def _found(self, image: Image) -> Sequence[Raw]:
        return self._amis.of([marks.key_of(image)]).get(marks.key_of(image), [])

    def _snapshot(self, image: Image, disk: ImageFile, progress: Progress) -> str:
        """Return the one snapshot of an image, completed, with nothing beside it."""
        done = [one["SnapshotId"] for one in self._snapshots.of(image) if self._is_usable(one)]
        snapshot_id = str(done[0]) if done else self._upload.made(image, disk, progress)
        self._upload.tidy(image)
        self._snapshots.delete_surplus(image, [snapshot_id])
        return snapshot_id

    def _is_usable(self, snapshot: Raw) -> bool:
        encrypted = bool(snapshot.get("Encrypted"))
        return snapshot["State"] == COMPLETED and (encrypted or not self._settings.encrypt)
