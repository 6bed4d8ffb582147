"""The names of a bulk insert's instances: given one by one, or by a pattern that counts on."""

import re
from collections.abc import Mapping
from typing import Any, Final

from tests.fakes.gce.document import pattern, schema
from tests.fakes.gce.errors import GceError, invalid, required
from tests.fakes.gce.world import World

MOST: Final = 5000


def read_names(world: World, zone: str, body: Mapping[str, Any]) -> tuple[list[str], int]:
    """Return the names of the instances that are asked for, and how many there must be at least."""
    for name in ("sourceInstanceTemplate", "locationPolicy", "instanceFlexibilityPolicy"):
        if name in body:
            raise GceError(400, "unsupportedOperation", f"The fake does not honour {name}")
    if "instanceProperties" not in body:
        raise required("resource.instanceProperties")
    named, by_pattern = body.get("perInstanceProperties"), body.get("namePattern")
    if bool(named) == bool(by_pattern):
        raise invalid("resource", "", "Exactly one of perInstanceProperties and namePattern must be specified.")
    if "count" not in body and by_pattern:
        raise required("resource.count")
    count = int(body["count"]) if "count" in body else len(named or ())
    if not 1 <= count <= MOST:
        raise invalid("resource.count", count, f"Must be from 1 to {MOST}.")
    least = int(body["minCount"]) if "minCount" in body else count
    if not 1 <= least <= count:
        raise invalid("resource.minCount", least, "Must be from 1 to count.")
    if by_pattern:
        return _counted(world, zone, by_pattern, count), least
    names = _given(named or {})
    if count != len(names):
        raise invalid("resource.count", count, f"There are {len(names)} perInstanceProperties.")
    return names, least


def _given(named: Mapping[str, Mapping[str, Any]]) -> list[str]:
    regex = pattern(schema("Instance")["properties"]["name"]["pattern"])
    for name, own in named.items():
        if not regex.fullmatch(name):
            raise invalid("resource.perInstanceProperties", name, f"Must be a match of regex '{regex.pattern}'")
        if own.get("name", name) != name:
            raise invalid(f"resource.perInstanceProperties[{name}].name", own["name"], "Must be the key.")
    return list(named)


def _counted(world: World, zone: str, by_pattern: str, count: int) -> list[str]:
    found = re.fullmatch(r"([^#]*)(#{1,18})([^#]*)", by_pattern)
    if not found:
        raise invalid("resource.namePattern", by_pattern, "Must have one sequence of up to 18 #.")
    before, after, digits = found[1], found[3], len(found[2])
    regex = re.compile(rf"{re.escape(before)}(\d{{{digits}}}){re.escape(after)}")
    numbers = [int(hit[1]) for place, name in world.named if place == zone and (hit := regex.fullmatch(name))]
    first = max(numbers, default=0) + 1
    if len(str(first + count - 1)) > digits:
        raise invalid("resource.namePattern", by_pattern, f"It has no room for {count} more names.")
    names = [f"{before}{number:0{digits}}{after}" for number in range(first, first + count)]
    return _given({name: {} for name in names})
