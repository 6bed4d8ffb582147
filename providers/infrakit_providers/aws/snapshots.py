"""The snapshots that images are made of: found by their tags, waited for, deleted. It knows no way to fill one."""

from collections.abc import Collection
from typing import Any, Final

from infrakit_providers.aws import marks
from infrakit_providers.aws.calls import Caller, Kind
from infrakit_providers.aws.kept import tags_of, vendor_code
from infrakit_providers.aws.marks import Raw
from infrakit_providers.aws.waiting import awaited
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.model.spec import Image, ImageFile
from infrakit_py.spi.provider import Now

PENDING: Final = "pending"
COMPLETED: Final = "completed"
ERROR: Final = "error"
_GONE: Final = "gone"
_MISSING: Final = "InvalidSnapshot.NotFound"
_IN_USE: Final = "InvalidSnapshot.InUse"
_COMPLETION_SECONDS: Final = 3600.0
"""Snapshots of a few GiB are completed within minutes; nobody promises that."""


class Snapshots:
    """The account's own snapshots in a region, as far as images are made of them. Safe for threads."""

    def __init__(self, caller: Caller, clock: Now) -> None:
        self._caller = caller
        self._clock = clock

    def of(self, image: Image) -> list[Raw]:
        """Return all snapshots of an image, oldest first, failed ones too."""
        return self._listed(marks.published_as([marks.key_of(image)]))

    def all(self) -> list[Raw]:
        return self._listed(marks.published())

    def look(self, snapshot_id: str) -> Raw | None:
        """Return a snapshot; None for one that EC2 does not know, or not yet."""
        doing = f"look at {snapshot_id}"
        try:
            answer = self._caller.ask("ec2", "describe_snapshots", doing, SnapshotIds=[snapshot_id])
        except ProviderError as exc:
            if vendor_code(exc) != _MISSING:
                raise
            return None
        return next(iter(answer["Snapshots"]), None)

    def state(self, snapshot_id: str) -> str:
        found = self.look(snapshot_id)
        return _GONE if found is None else str(found["State"])

    def await_completion(self, snapshot_id: str) -> None:
        """Return when a snapshot is completed. Transient where it fails, goes, or takes more than an hour."""

        def look() -> bool | None:
            found = self.look(snapshot_id)
            if found is None or found["State"] == ERROR:
                why = f"failed: {found.get('StateMessage') or 'EC2 does not say why'}" if found else "is gone"
                raise Transient(f"aws: the snapshot {snapshot_id} {why}")
            return True if found["State"] == COMPLETED else None

        awaited(self._clock, look, f"the snapshot {snapshot_id}", seconds=_COMPLETION_SECONDS)

    def mark(self, snapshot_id: str, image: Image, disk: ImageFile) -> None:
        """Let a snapshot be known again as the image's. Idempotent."""
        self._caller.act(
            Kind.TAG,
            "ec2",
            "create_tags",
            f"tag the snapshot {snapshot_id}",
            Resources=[snapshot_id],
            Tags=marks.tags_of(image, disk),
        )

    def delete(self, snapshot_id: str) -> bool:
        """Delete a snapshot, and tell whether it is gone: one that an AMI is made of stays. Idempotent."""
        doing = f"delete the snapshot {snapshot_id}"
        try:
            self._caller.act(Kind.MUTATE, "ec2", "delete_snapshot", doing, SnapshotId=snapshot_id)
        except ProviderError as exc:
            if vendor_code(exc) == _IN_USE:
                return False
            if vendor_code(exc) != _MISSING:
                raise
        return True

    def delete_surplus(self, image: Image, kept: Collection[str]) -> None:
        """Delete what is left of attempts that came to nothing: all of an image's snapshots but those."""
        for one in self.of(image):
            if one["SnapshotId"] not in kept:
                self.delete(one["SnapshotId"])

    def _listed(self, filters: Any) -> list[Raw]:
        pages = self._caller.pages(
            "ec2", "describe_snapshots", "look for snapshots of images", OwnerIds=["self"], Filters=filters
        )
        found = [one for page in pages for one in page["Snapshots"]]
        return sorted(found, key=lambda one: (one["StartTime"], one["SnapshotId"]))


def holds(snapshot: Raw, disk: ImageFile) -> bool:
    """Tell whether a snapshot is, or is to be, made from these very bytes."""
    return tags_of(snapshot).get(marks.BYTES) == disk.sha256
