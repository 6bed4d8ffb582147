"""Amazon machine images to boot from: those that are there already (by id, or by a parameter that points to one), and
those that were published here, which are known by their tags.
"""

import re
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Final

from infrakit_providers.aws import marks
from infrakit_providers.aws.amis import Amis, bootable
from infrakit_providers.aws.calls import Caller
from infrakit_providers.aws.marks import Raw
from infrakit_py.errors import ImageMissing, ProviderError
from infrakit_py.model.spec import Image, ImageForm

POINTER: Final = "ssm:"
_AMI: Final = re.compile(r"ami-[0-9a-f]{8,17}")


class Images:
    """What is known of images. An AMI never changes until it goes, so it is asked for once. Safe for threads."""

    def __init__(self, caller: Caller, amis: Amis, is_whole: Callable[[Raw], bool]) -> None:
        """`is_whole` tells whether all was done with a published AMI that is to be done with it."""
        self._caller = caller
        self._amis = amis
        self._is_whole = is_whole
        self._lock = Lock()
        self._known: dict[str, Any] = {}
        self._published: dict[str, str] = {}

    def resolve(self, reference: str) -> str:
        """Return the id that a reference stands for now. ImageMissing where there is no such parameter."""
        if not reference.startswith(POINTER):
            return reference
        name = reference.removeprefix(POINTER)
        answer = self._caller.ask("ssm", "get_parameter", f"read the parameter {name}", Name=name)
        value = str(answer["Parameter"]["Value"]).strip()
        if not _AMI.fullmatch(value):
            raise ProviderError(f"aws: the parameter {name} holds no image id, but {value[:60]!r}")
        return value

    def available(self, images: Sequence[Image]) -> frozenset[str]:
        """Return the identities of those images that machines can boot from right now.

        Published ones are asked for anew each time, by one call: whoever prunes takes them away.
        """
        references = [one for one in images if one.form is ImageForm.REFERENCE]
        found = {one.identity for one in references if self._find(one.reference) is not None}
        others = [one for one in images if one.form is not ImageForm.REFERENCE]
        for one in others if self._look(others) else ():
            if (ami := self._known.get(self._published.get(marks.key_of(one), ""))) and self._is_whole(ami):
                found.add(one.identity)
        return frozenset(found)

    def ami_of(self, image: Image) -> str:
        """Return the id of the AMI that machines of an image boot from. ImageMissing where it is not published."""
        if image.form is ImageForm.REFERENCE:
            return image.reference
        key = marks.key_of(image)
        if key not in self._published:
            self._look([image])
        with self._lock:
            known = self._published.get(key)
        if known is None:
            raise ImageMissing(f"aws: image {image.name} ({image.short}) is not published in this region")
        return known

    def root_device(self, image_id: str) -> str | None:
        found = self._find(image_id)
        return str(found["RootDeviceName"]) if found and found.get("RootDeviceName") else None

    def forget(self, image: Image) -> None:
        """Ask again: EC2 does not know an image any more."""
        with self._lock:
            image_id = self._published.pop(marks.key_of(image), image.reference)
            self._known.pop(image_id, None)

    def _look(self, images: Sequence[Image]) -> bool:
        """Learn which published images there are. Return whether there may be any."""
        keys = {marks.key_of(one) for one in images}
        if not keys:
            return False
        found = self._amis.of(keys)
        with self._lock:
            for key in keys:
                ami = bootable(found.get(key, []))
                if ami is None:
                    self._known.pop(self._published.pop(key, ""), None)
                else:
                    self._published[key] = ami["ImageId"]
                    self._known[ami["ImageId"]] = ami
        return bool(found)

    def _find(self, image_id: str) -> Any:
        with self._lock:
            if (known := self._known.get(image_id)) is not None:
                return known
        try:
            answer = self._caller.ask("ec2", "describe_images", f"find the image {image_id}", ImageIds=[image_id])
        except ImageMissing:
            return None
        available = [one for one in answer["Images"] if one.get("State") == "available"]
        if not available:
            return None
        with self._lock:
            self._known[image_id] = available[0]
        return available[0]
