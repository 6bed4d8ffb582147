"""Tags: how they may look, and what they may be on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from infrakit_providers.simulated.cloud import Change
from infrakit_py.model.instance import InstanceState
from tests.fakes.ec2.errors import AwsError, bad_value
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.tables import Tags
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply

MOST_TAGS: Final = 50
LONGEST_KEY: Final = 128
LONGEST_VALUE: Final = 256


def read_tags(written: Sequence[Mapping[str, str]]) -> Tags:
    """Return tags as they are asked for, after checking them."""
    tags: Tags = {}
    for one in written:
        key, value = one.get("Key", ""), one.get("Value", "")
        if not 1 <= len(key) <= LONGEST_KEY:
            raise bad_value(key, "Tag key: it must be between 1 and 128 characters long")
        if len(value) > LONGEST_VALUE:
            raise bad_value(value, "Tag value: it must be at most 256 characters long")
        if key.lower().startswith("aws:"):
            raise AwsError("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
        if key in tags:
            raise AwsError("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        tags[key] = value
    return _few(tags)


def tags_for(asked: Asked, *kinds: str) -> dict[str, Tags]:
    """Return the tags of a TagSpecifications by what they are for, of those that the call makes."""
    found: dict[str, Tags] = {kind: {} for kind in kinds}
    for one in asked.get("TagSpecifications", ()):
        kind = one.get("ResourceType", "")
        if kind not in found:
            raise AwsError(
                "InvalidParameterValue", f"'{kind}' is not a valid taggable resource type for this operation."
            )
        if found[kind]:
            raise AwsError("InvalidParameterValue", f"Duplicate resource type '{kind}' in TagSpecifications.")
        found[kind] = read_tags(one.get("Tags", ()))
    return found


def written(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def create_tags(world: World, asked: Asked) -> Reply:
    wanted = read_tags(asked["Tags"])
    places = [_Place.of(world, one) for one in asked["Resources"]]
    for place in places:
        _few({**place.tags, **wanted})
    _change(world, places, lambda tags: tags | wanted, wanted, ())
    return {}


def delete_tags(world: World, asked: Asked) -> Reply:
    """Delete tags by key, or by key and value where a value is given."""
    places = [_Place.of(world, one) for one in asked["Resources"]]
    named: Any = asked.get("Tags")

    def goes(key: str, value: str) -> bool:
        if named is None:
            return not key.startswith("aws:")
        return any(one.get("Key") == key and one.get("Value", value) == value for one in named)

    for place in places:
        doomed = tuple(key for key, value in place.tags.items() if goes(key, value))
        kept = {key: value for key, value in place.tags.items() if key not in doomed}
        _change(world, [place], lambda _, kept=kept: kept, {}, doomed)  # type: ignore[misc]
    return {}


class _Place:
    """Something that has tags."""

    def __init__(self, id_: str, tags: Mapping[str, str], table: Any) -> None:
        self.id = id_
        self.tags = tags
        self.holder = table

    @classmethod
    def of(cls, world: World, id_: str) -> "_Place":
        kind = id_.rpartition("-")[0]
        if kind == "i":
            machine = world.machine(id_)
            if machine is None or (machine.state is InstanceState.GONE and id_ not in world.instances):
                raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{id_}' does not exist")
            return cls(id_, machine.tags, None)
        tables: dict[str, tuple[Mapping[str, Any], str]] = {
            "vol": (world.volumes, "InvalidVolume.NotFound"),
            "eni": (world.interfaces, "InvalidNetworkInterfaceID.NotFound"),
            "eipalloc": (world.addresses, "InvalidAllocationID.NotFound"),
            "snap": (world.snapshots, "InvalidSnapshot.NotFound"),
            "ami": (world.images, "InvalidAMIID.NotFound"),
            "subnet": (world.subnets, "InvalidSubnetID.NotFound"),
            "sg": (world.groups, "InvalidGroup.NotFound"),
            "lt": (world.templates, "InvalidLaunchTemplateId.NotFound"),
            "sir": (world.spot_requests, "InvalidSpotInstanceRequestID.NotFound"),
        }
        if kind not in tables:
            raise AwsError("InvalidID", f"The ID '{id_}' is not valid")
        table, code = tables[kind]
        if id_ not in table:
            raise AwsError(code, f"The ID '{id_}' does not exist")
        return cls(id_, table[id_].tags, table[id_])


def _change(
    world: World, places: Iterable[_Place], new: Callable[[Tags], Tags], wanted: Tags, doomed: tuple[str, ...]
) -> None:
    changes = []
    for place in places:
        if place.holder is None:
            changes.append(Change(place.id, wanted, doomed))
        else:
            place.holder.tags = new(dict(place.tags))
    if not changes:
        return
    now_gone = [one for one in changes if world.state(one.id) is InstanceState.GONE]
    alive = [one for one in changes if one not in now_gone]
    for answer in world.cloud.tag(alive) if alive else ():
        if isinstance(answer, Exception):
            raise answer


def _few(tags: Tags) -> Tags:
    if sum(not key.startswith("aws:") for key in tags) > MOST_TAGS:
        raise AwsError("TagLimitExceeded", "The maximum number of tags for this resource has been reached: 50")
    return tags
