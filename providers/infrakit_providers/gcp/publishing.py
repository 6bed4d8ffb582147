"""Publishes images: a disk goes into the bucket, an image is made of it, and the object goes again.

Each step looks at what is there first, so whoever was killed is followed by one who finishes. The image's name is the
lock, and its last label is set when the object is gone. No image is ever replaced, except one that failed.
"""

from collections.abc import Callable
from typing import Final

import structlog

from infrakit_providers.gcp.bucket import Bucket
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.faults import IMAGE_GONE, AlreadyThere, Outdated
from infrakit_providers.gcp.images import delete_image
from infrakit_providers.gcp.operations import Operation, read_operation
from infrakit_providers.gcp.publish_settings import PublishSettings
from infrakit_providers.gcp.published import (
    COMPLETE,
    FAILED,
    READY,
    Published,
    body_of,
    name_of,
    object_name,
    read,
)
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.model.spec import Image, ImageFile
from infrakit_py.spi.images import DiskFormat, Disks
from infrakit_py.spi.provider import Now

_USER: Final = "roles/compute.imageUser"
_POLICY_VERSION: Final = 3
"""The one that tells of conditions: IAM documentation, "Policy versions"."""
_PATIENCE_SECONDS: Final = 1800.0
"""For Compute Engine to make an image of an archive, which takes a minute or so for each GiB of data."""
_FINISH_SECONDS: Final = 120.0
_FIRST_LOOK_SECONDS: Final = 0.3
_LONGEST_PAUSE_SECONDS: Final = 5.0
_log: Final = structlog.get_logger("infrakit.gcp")


class Publisher:
    """Publishes images in one project. Safe for threads and processes."""

    def __init__(self, caller: Caller, bucket: Bucket, settings: PublishSettings, disks: Disks, clock: Now) -> None:
        self._caller = caller
        self._bucket = bucket
        self._settings = settings
        self._disks = disks
        self._clock = clock

    def publish(self, image: Image, progress: Callable[[int, int], None]) -> None:
        """Make an image of Compute Engine of it, unless there is one. Idempotent, also for several at once.

        Transient where Compute Engine takes longer than half an hour over it.
        """
        until, pause = self._clock.now() + _PATIENCE_SECONDS, _FIRST_LOOK_SECONDS
        steady = _Steady(progress)
        while True:
            there = self._look(image)
            if there is not None and there.status == READY and self._completed(there):
                return
            if self._clock.now() >= until:
                state = f"still {there.status}" if there is not None else "not there yet"
                raise Transient(f"gcp: image {name_of(image)} is {state}")
            if there is None:
                self._make(image, steady)
            elif there.status == FAILED:
                delete_image(self._caller, there.name)
            elif there.status != READY:  # somebody else makes it, or deletes it
                self._clock.sleep(pause)
                pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)

    def _look(self, image: Image) -> Published | None:
        """Return the image of its name. ProviderError for one that is not what it is taken for."""
        name = name_of(image)
        try:
            raw = self._caller.ask("images", "get", f"look at image {name}", project=self._caller.project, image=name)
        except IMAGE_GONE:
            return None
        there = read(raw)
        if there.identity != image.identity:
            raise ProviderError(
                f"gcp: there is an image {name}, and its labels do not say that it is {image.name}",
                hint="delete it, if it is nobody's: gcloud compute images delete",
            )
        return there

    def _make(self, image: Image, progress: "_Steady") -> None:
        """Import the image's disk. Where it has come to be there meanwhile, all is well."""
        name, key = name_of(image), self._key(image)
        archive: ImageFile = self._disks.disk(image, DiskFormat.GCP)
        self._bucket.ensure(key, archive, lambda done: progress.tell(done, archive.size))
        body, doing = body_of(image, self._bucket.url(key), self._settings), f"make image {name}"
        try:
            operation = self._caller.act("images", "insert", doing, image_resource=body)
        except ProviderError as exc:
            if self._look(image) is not None or self._bucket.find(key) is None:
                return  # somebody else was quicker, with the image or in giving up
            if not exc.retryable:
                self._bucket.remove(key)
            raise
        self._follow(operation, image, doing)
        _log.info("image made", image=name)

    def _follow(self, operation: Operation, image: Image, doing: str) -> None:
        """Wait for an import. One that failed leaves nothing behind, neither its image nor the object."""
        try:
            self._caller.finish(operation, doing, within_seconds=_PATIENCE_SECONDS)
        except ProviderError:
            there = self._look(image)
            if there is not None and there.status != FAILED:
                return  # it takes its time, or somebody else has made it
            if there is not None:
                delete_image(self._caller, there.name)
            self._bucket.remove(self._key(image))
            raise

    def _completed(self, there: Published) -> bool:
        """Do what is left to be done for an image that is ready; False where somebody else changed it meanwhile."""
        self._bucket.remove(object_name(there.name, self._settings.prefix))
        if there.is_complete:
            return True
        try:
            self._share(there.name)
            self._mark(there)
        except (*IMAGE_GONE, AlreadyThere, Outdated):
            return False
        _log.info("image published", image=there.name)
        return True

    def _mark(self, there: Published) -> None:
        """Set the label that says that nothing is left to be done."""
        doing = f"label image {there.name}"
        body = {"labels": {**there.labels, COMPLETE: "yes"}, "label_fingerprint": there.fingerprint}
        raw = self._caller.change(
            "images", "set_labels_unary", doing, definite=(*IMAGE_GONE, Outdated),
            resource=there.name, global_set_labels_request_resource=body,
        )  # fmt: skip
        self._caller.finish(read_operation(raw), doing, within_seconds=_FINISH_SECONDS)

    def _share(self, name: str) -> None:
        """Let others make machines of an image, beside those who may already."""
        if not self._settings.share_with:
            return
        doing = f"share image {name}"
        policy = self._caller.ask(
            "images", "get_iam_policy", doing, resource=name, options_requested_policy_version=_POLICY_VERSION
        )
        users = [one for one in policy.bindings if one.role == _USER and not one.condition]
        known = {member for one in users for member in one.members}
        if missing := sorted(set(self._settings.share_with) - known):
            policy.bindings.append({"role": _USER, "members": missing})
            asked = {"policy": policy}
            self._caller.change(
                "images", "set_iam_policy", doing, resource=name, global_set_policy_request_resource=asked
            )

    def _key(self, image: Image) -> str:
        return object_name(name_of(image), self._settings.prefix)


class _Steady:
    """Tells of progress, and never that there was more of it before: what is sent again is not told again."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self._progress = progress
        self._most = 0

    def tell(self, done: int, total: int) -> None:
        if done > self._most:
            self._most = done
            self._progress(done, total)
