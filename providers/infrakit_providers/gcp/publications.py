"""What was published in a project, who uses it, and its deletion: images, and objects left in the bucket by a crash.

A disk says which image it was made from, and its labels whose machine it is: one listing of disks tells all of that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from infrakit_providers.gcp import labels
from infrakit_providers.gcp.bucket import Bucket
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.faults import IMAGE_GONE
from infrakit_providers.gcp.images import delete_image
from infrakit_providers.gcp.listing import require_whole
from infrakit_providers.gcp.operations import last
from infrakit_providers.gcp.published import (
    FAILED,
    IDENTITY,
    Published,
    digits_in_object,
    is_name,
    object_name,
    read,
)
from infrakit_py.errors import NotOurs, ProviderError
from infrakit_py.model import tags
from infrakit_py.spi.images import Publication
from infrakit_py.spi.provider import Leftover, Now, Outcome

IMAGE: Final = "image"
_UPLOAD_SECONDS: Final = 86_400.0
"""Nobody takes longer to make an image: what was begun earlier and is not done was cut short."""
_OURS: Final = f"labels.{IDENTITY}:*"
_FROM_OURS: Final = 'sourceImage eq ".*/global/images/infrakit-.*"'
_DISK_FIELDS: Final = (
    "items/*/disks(name,status,users,labels,sourceImageId),items/*/warning,nextPageToken,unreachables,warning"
)
_BEING_MADE: Final = frozenset({"CREATING", "RESTORING"})
_SCHEME: Final = "gs://"


@dataclass(frozen=True, slots=True)
class _Use:
    """A machine's disk that was made from an image: the image's id, the machine, and what the labels say of it."""

    image_id: str
    machine: str
    tags: Mapping[str, str]


class Publications:
    """All that was published, for whichever cluster. Safe for threads. `bucket` is None where there is none."""

    def __init__(self, caller: Caller, bucket: Bucket | None, prefix: str, clock: Now) -> None:
        self._caller = caller
        self._bucket = bucket
        self._prefix = prefix
        self._clock = clock

    def all(self) -> list[Publication]:
        """Return what was published, whole or cut short."""
        images = self._images()
        used = {use.image_id for use in self._uses()} if images else set()
        found = [
            Publication(
                id=one.name,
                identity=one.identity,
                name=one.name,
                size=one.size,
                created_at=one.created_at,
                in_use=one.id in used,
                complete=one.is_complete,
            )
            for one in images
        ]
        return [*found, *self._objects()]

    def remove(self, ids: Sequence[str]) -> list[Outcome]:
        """Delete publications by their ids, one outcome each in order. Gone already is fine.

        ProviderError for one that a machine was made from, NotOurs for what was not published here.
        """
        if not ids:
            return []
        try:
            uses = self._uses()
        except ProviderError as exc:
            return [Outcome(error=exc) for _ in ids]
        removed = self._caller.each(partial(self._remove, uses), list(ids))
        return [Outcome(error=one) if isinstance(one, ProviderError) else Outcome() for one in removed]

    def leftovers(self, cluster: str) -> list[Leftover]:
        """Return images that no machine of another cluster was made from. One that is being made is left out."""
        images = [
            one for one in self._images() if one.is_complete or one.status == FAILED or self._is_old(one.created_at)
        ]
        if not images:
            return []
        used = {use.image_id for use in self._uses() if not tags.owned_by(use.tags, cluster)}
        return [Leftover(one.name, IMAGE, one.name) for one in images if one.id not in used]

    def _images(self) -> list[Published]:
        doing = "list published images"
        found = [
            read(raw)
            for page in self._caller.pages("images", "list", doing, filter=_OURS)
            for raw in page.items
            if is_name(raw.name)
        ]
        return sorted((one for one in found if one.identity), key=lambda one: one.name)

    def _objects(self) -> list[Publication]:
        """Return objects that are too old to be on their way."""
        if self._bucket is None:
            return []
        return [
            Publication(
                id=f"{_SCHEME}{self._bucket.name}/{one.key}",
                identity=digits,
                name=one.key,
                size=one.size,
                created_at=one.created_at,
                complete=False,
            )
            for one in self._bucket.listed(self._prefix)
            if self._is_old(one.created_at) and (digits := digits_in_object(one.key, self._prefix)) is not None
        ]

    def _uses(self) -> list[_Use]:
        """Return the disks that machines have, or that are being made with them."""
        doing = "list the disks made from published images"
        pages = self._caller.pages("disks", "aggregated_list", doing, fields=_DISK_FIELDS, filter=_FROM_OURS)
        return [use for page in pages for use in _uses_in(page, doing)]

    def _remove(self, uses: Iterable[_Use], id_: str) -> None:
        if id_.startswith(_SCHEME):
            self._remove_object(id_)
            return
        there = self._look(id_)
        if there is not None and (users := [use.machine for use in uses if use.image_id == there.id]):
            more = "..." if users[3:] else ""
            raise ProviderError(f"gcp: image {id_} is still used by {', '.join(users[:3])}{more}")
        if self._bucket is not None:
            self._bucket.remove(object_name(id_, self._prefix))
        if there is not None:
            delete_image(self._caller, id_)

    def _look(self, name: str) -> Published | None:
        if not is_name(name):
            raise NotOurs(f"gcp: {name} is no image that was published here")
        try:
            raw = self._caller.ask("images", "get", f"look at image {name}", project=self._caller.project, image=name)
        except IMAGE_GONE:
            return None
        if not (there := read(raw)).identity:
            raise NotOurs(f"gcp: image {name} does not carry the label {IDENTITY} of what was published here")
        return there

    def _remove_object(self, id_: str) -> None:
        bucket, _, key = id_.removeprefix(_SCHEME).partition("/")
        if self._bucket is None or bucket != self._bucket.name or digits_in_object(key, self._prefix) is None:
            raise NotOurs(f"gcp: {id_} is no object of an image that was published here")
        self._bucket.remove(key)

    def _is_old(self, created_at: float) -> bool:
        return self._clock.now() - created_at > _UPLOAD_SECONDS


def _uses_in(page: Any, doing: str) -> Iterable[_Use]:
    require_whole(page, doing)
    for scoped in page.items.values():
        for raw in scoped.disks:
            if raw.users or raw.status in _BEING_MADE:
                machine = last(raw.users[0]) if raw.users else f"disk {raw.name}"
                yield _Use(str(raw.source_image_id), machine, labels.read(dict(raw.labels)))
