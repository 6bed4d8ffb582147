"""What was published here, by whichever cluster: who boots from it, and its removal.

An image in the account that bears the tags is one; so are snapshots that a crash left before there was an AMI.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from infrakit_providers.aws import marks, owned
from infrakit_providers.aws.amis import Amis, bootable
from infrakit_providers.aws.calls import Caller
from infrakit_providers.aws.kept import tags_of
from infrakit_providers.aws.marks import Raw
from infrakit_providers.aws.snapshots import Snapshots
from infrakit_providers.aws.wire import THERE
from infrakit_py.errors import ProviderError
from infrakit_py.model import tags
from infrakit_py.spi.images import Publication
from infrakit_py.spi.provider import Leftover, Now, Outcome

IMAGE: Final = "image"
_VALUES_A_FILTER: Final = 200


@dataclass(slots=True)
class _Found:
    """All that was published under one key."""

    amis: list[Raw] = field(default_factory=list)
    snapshots: list[Raw] = field(default_factory=list)

    @property
    def image_ids(self) -> set[str]:
        return {one["ImageId"] for one in self.amis}


class Publications:
    """Published images of all clusters in an account's region. Safe for threads."""

    def __init__(self, caller: Caller, clock: Now, new: Callable[[], Iterable[str]]) -> None:
        """`new` returns instances that were made so lately that EC2 may not list them."""
        self._caller = caller
        self._new = new
        self._amis = Amis(caller, clock)
        self._snapshots = Snapshots(caller, clock)

    def all(self) -> list[Publication]:
        """Return all that was published, whole or cut short."""
        found = self._found()
        users = self._users(found.values())
        return [_publication(key, one, in_use=bool(users.keys() & one.image_ids)) for key, one in found.items()]

    def leftovers(self, cluster: str) -> list[Leftover]:
        """Return what no machine of any other cluster was made from."""
        found = self._found()
        users = self._users(found.values())
        return [
            Leftover(id=key, kind=IMAGE, name=_name(one))
            for key, one in found.items()
            if not any(users.get(id_, set()) - {cluster} for id_ in one.image_ids)
        ]

    def unpublish(self, keys: Iterable[str]) -> list[Outcome]:
        """Delete what was published under keys, and return an outcome for each in order."""
        return [self._unpublished(key) for key in keys]

    def _unpublished(self, key: str) -> Outcome:
        try:
            self._remove(key)
        except ProviderError as exc:
            return Outcome(error=exc)
        return Outcome()

    def _remove(self, key: str) -> None:
        """Delete what was published under a key. Gone already is fine. ProviderError while any machine boots from it.

        The AMI goes first: from then on no machine is made from it, and its snapshot can go.
        """
        found = self._found([key]).get(key)
        if found is None:
            return
        if users := self._users([found]):
            clusters = sorted({cluster or "no cluster" for used_by in users.values() for cluster in used_by})
            raise ProviderError(f"aws: image {_name(found)} is used by machines of {', '.join(clusters)}")
        for ami in found.amis:
            self._amis.deregister(ami["ImageId"])
        own = {id_ for ami in found.amis for id_ in marks.snapshots_in(ami)}
        ours = {one["SnapshotId"] for one in found.snapshots}
        for snapshot_id in sorted(own | ours):
            if not self._snapshots.delete(snapshot_id):
                raise ProviderError(f"aws: the snapshot {snapshot_id} of image {_name(found)} is used by another AMI")

    def _found(self, keys: Sequence[str] | None = None) -> Mapping[str, _Found]:
        """Return what is there by key. Snapshots come first: an AMI that is made meanwhile is seen with its own."""
        found: defaultdict[str, _Found] = defaultdict(_Found)
        for one in self._snapshots.all():
            found[tags_of(one)[marks.KEY]].snapshots.append(one)
        for one in self._amis.all():
            found[tags_of(one)[marks.KEY]].amis.append(one)
        return {key: one for key, one in found.items() if keys is None or key in keys}

    def _users(self, found: Iterable[_Found]) -> Mapping[str, set[str]]:
        """Return the AMIs that machines were made from which are not gone, and whose they are (empty: nobody's)."""
        ids = sorted({id_ for one in found for id_ in one.image_ids})
        users: defaultdict[str, set[str]] = defaultdict(set)
        for raw in self._machines(ids) if ids else ():
            if raw.get("ImageId") in ids and raw["State"]["Name"] in THERE:
                users[raw["ImageId"]].add(tags_of(raw).get(tags.CLUSTER, ""))
        return users

    def _machines(self, image_ids: Sequence[str]) -> Iterator[Raw]:
        """Yield the machines of AMIs, and those that are so new that listings may miss them."""
        for begin in range(0, len(image_ids), _VALUES_A_FILTER):
            filters = [
                {"Name": "image-id", "Values": list(image_ids[begin : begin + _VALUES_A_FILTER])},
                {"Name": "instance-state-name", "Values": list(THERE)},
            ]
            doing = "see who uses published images"
            for page in self._caller.pages("ec2", "describe_instances", doing, Filters=filters):
                yield from (raw for one in page["Reservations"] for raw in one["Instances"])
        if new := list(self._new()):
            yield from owned.found(self._caller, new).values()


def _publication(key: str, found: _Found, *, in_use: bool) -> Publication:
    there = [*found.amis, *found.snapshots]
    sizes = [_size(one) for one in found.snapshots]
    return Publication(
        id=key,
        identity=next((held for one in there if (held := tags_of(one).get(tags.IMAGE))), key.partition("-")[0]),
        name=_name(found),
        size=sum(sizes),
        created_at=max(map(_created_at, there)),
        in_use=in_use,
        complete=bootable(found.amis) is not None,
    )


def _name(found: _Found) -> str:
    first: Raw = [*found.amis, *found.snapshots][0]
    return tags_of(first).get("Name") or str(first.get("ImageId") or first.get("SnapshotId"))


def _size(snapshot: Raw) -> int:
    return int(snapshot.get("FullSnapshotSizeInBytes") or int(snapshot.get("VolumeSize", 0)) * marks.GIB)


def _created_at(thing: Raw) -> float:
    written: Any = thing.get("StartTime") or thing.get("CreationDate")
    if isinstance(written, str):
        written = datetime.fromisoformat(written)
    return float(written.timestamp()) if written is not None else 0.0
