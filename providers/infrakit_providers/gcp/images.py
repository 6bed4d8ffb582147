"""Images of Compute Engine as they are: by path, or by the family of which one is the newest."""

from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import structlog

from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.disks import GIB
from infrakit_providers.gcp.faults import IMAGE_GONE, NotThere
from infrakit_providers.gcp.fields import ImagePath, image_path
from infrakit_providers.gcp.publish_settings import PublishSettings, must_be_published
from infrakit_providers.gcp.published import (
    COMPLETE,
    IDENTITY,
    architecture_of,
    identity_in,
    least_size,
    reference_of,
)
from infrakit_py.errors import ImageMissing, ProviderError
from infrakit_py.model.spec import Image
from infrakit_py.spi.provider import Now

_READY: Final = "READY"
_WITHDRAWN: Final = frozenset({"OBSOLETE", "DELETED"})
"""No machine boots from such an image; from a DEPRECATED one it does. Source: API reference, DeprecationStatus."""
_REMEMBERED_SECONDS: Final = 600.0
_DELETE_SECONDS: Final = 120.0
_UNKNOWN_ARCHITECTURE: Final = "ARCHITECTURE_UNSPECIFIED"
_log: Final = structlog.get_logger("infrakit.gcp")


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as it was last seen. `architecture` is empty where the image does not say.

    `identity` is that of what was published here, and `is_whole` whether that has come to its end.
    """

    path: str
    status: str
    deprecation: str = ""
    replacement: str = ""
    architecture: str = ""
    size_gib: int = 0
    """What a disk that is made from it needs at least."""
    features: frozenset[str] = frozenset()
    identity: str = ""
    is_whole: bool = True
    is_planned: bool = False
    """It is not there yet, and will be like this once it is published."""

    @property
    def is_withdrawn(self) -> bool:
        return self.deprecation in _WITHDRAWN

    @property
    def is_usable(self) -> bool:
        return self.status == _READY and not self.is_withdrawn


class Images:
    """What is known of images. One that machines can boot from is remembered for a while. Safe for threads."""

    def __init__(self, caller: Caller, clock: Now) -> None:
        self._caller = caller
        self._clock = clock
        self._lock = Lock()
        self._known: dict[str, tuple[float, Picture]] = {}

    def link(self, reference: str) -> str:
        """Return what a machine's disk is made from. ProviderError for what names no image."""
        return str(self._path(reference))

    def resolve(self, reference: str) -> str:
        """Return the path of the image that a reference stands for now. ImageMissing where a family has none."""
        path = self._path(reference)
        return self._asked(path).path if path.is_family else str(path)

    def is_available(self, reference: str) -> bool:
        """Tell whether machines can boot from an image right now."""
        found = self.find(reference)
        return found is not None and found.is_usable

    def has(self, image: Image) -> bool:
        """Tell whether machines can boot from an image of a spec right now."""
        found = self.find(reference_of(image))
        if found is None or not found.is_usable:
            return False
        return not must_be_published(image) or (found.is_whole and found.identity == image.identity)

    def find(self, reference: str) -> Picture | None:
        """Return what is known of an image; None where there is none."""
        path = self._path(reference)
        with self._lock:
            at, known = self._known.get(str(path), (0.0, None))
        if known is not None and self._clock.now() - at < _REMEMBERED_SECONDS:
            return known
        try:
            found = self._asked(path)
        except ImageMissing:
            return None
        if found.is_usable and found.is_whole:
            with self._lock:
                self._known[str(path)] = self._clock.now(), found
        return found

    def forget(self, reference: str) -> None:
        """Ask again: Compute Engine does not take an image any more."""
        with self._lock:
            self._known.pop(str(self._path(reference)), None)

    def forget_published(self) -> None:
        """Ask again for all that was published here: some of it may be gone."""
        with self._lock:
            self._known = {path: known for path, known in self._known.items() if not known[1].identity}

    def _path(self, reference: str) -> ImagePath:
        path = image_path(reference, self._caller.project)
        if path is None:
            raise ProviderError(
                f"gcp: {reference} is no image",
                hint="write projects/PROJECT/global/images/NAME, or .../family/FAMILY",
            )
        return path

    def _asked(self, path: ImagePath) -> Picture:
        doing = f"find the image {path}"
        try:
            if path.is_family:
                raw = self._caller.ask("images", "get_from_family", doing, project=path.project, family=path.name)
            else:
                raw = self._caller.ask("images", "get", doing, project=path.project, image=path.name)
        except NotThere as exc:
            raise ImageMissing(str(exc)) from exc
        return _picture(raw, path.project)


def delete_image(caller: Caller, name: str) -> None:
    """Delete an image of the project. Gone already is fine."""
    doing = f"delete image {name}"
    try:
        operation = caller.act("images", "delete", doing, definite=IMAGE_GONE, image=name)
        caller.finish(operation, doing, within_seconds=_DELETE_SECONDS)
    except IMAGE_GONE:
        return
    _log.info("image deleted", image=name)


def planned(image: Image, publish: PublishSettings | None) -> Picture:
    """Return what an image will be once it is published. Its size is the least that it may have."""
    features = publish.features_of(image) if publish is not None else ()
    return Picture(
        path=reference_of(image),
        status="",
        architecture=architecture_of(image),
        size_gib=max(1, -(-least_size(image) // GIB)),
        features=frozenset(features),
        identity=image.identity,
        is_whole=False,
        is_planned=True,
    )


def _picture(raw: Any, project: str) -> Picture:
    architecture = raw.architecture
    return Picture(
        path=str(ImagePath(project, raw.name, is_family=False)),
        status=raw.status,
        deprecation=raw.deprecated.state if raw.deprecated else "",
        replacement=raw.deprecated.replacement if raw.deprecated else "",
        architecture="" if architecture == _UNKNOWN_ARCHITECTURE else architecture,
        size_gib=raw.disk_size_gb,
        features=frozenset(one.type_ for one in raw.guest_os_features),
        identity=identity_in(raw.labels),
        is_whole=IDENTITY not in raw.labels or COMPLETE in raw.labels,
    )
