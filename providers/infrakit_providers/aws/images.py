"""Amazon machine images that are there already: by id, or by a parameter that points to one."""

import re
from threading import Lock
from typing import Any, Final

from infrakit_providers.aws.calls import Caller
from infrakit_py.errors import ImageMissing, ProviderError

POINTER: Final = "ssm:"
_AMI: Final = re.compile(r"ami-[0-9a-f]{8,17}")


class Images:
    """What is known of images. An image never changes until it goes, so it is asked for once. Safe for threads."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._lock = Lock()
        self._known: dict[str, Any] = {}

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

    def is_available(self, image_id: str) -> bool:
        """Tell whether machines can boot from an image right now."""
        return self._find(image_id) is not None

    def root_device(self, image_id: str) -> str | None:
        found = self._find(image_id)
        return str(found["RootDeviceName"]) if found and found.get("RootDeviceName") else None

    def forget(self, image_id: str) -> None:
        """Ask again: EC2 does not know an image any more."""
        with self._lock:
            self._known.pop(image_id, None)

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
