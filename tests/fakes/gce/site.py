"""Where a launch is read: what that needs to know, and what is refused there whatever it is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.gce.asking import Asked
from tests.fakes.gce.errors import GceError, invalid, required
from tests.fakes.gce.settings import region_of
from tests.fakes.gce.world import World

Part = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Site:
    """A zone, and the call that wants something there. With `bulk` that is for many instances."""

    world: World
    asked: Asked
    zone: str
    bulk: bool = False

    @property
    def region(self) -> str:
        return region_of(self.zone)

    @property
    def where(self) -> str:
        """Where a request says of what kind instances are to be."""
        return "resource.instanceProperties" if self.bulk else "resource"


def unhonoured(where: str, given: Mapping[str, Any], honoured: frozenset[str]) -> None:
    """Refuse what Google would heed and the fake would overlook: a test must not pass because of that."""
    if found := [name for name in given if name not in honoured]:
        raise GceError(400, "unsupportedOperation", f"The fake does not honour {where}: {', '.join(found)}")


def check_metadata(metadata: Part, field_: str) -> list[dict[str, str]]:
    """Return the items of metadata. GceError where they are too large, or a key comes twice."""
    items: list[dict[str, str]] = [dict(one) for one in metadata.get("items", [])]
    seen: set[str] = set()
    for number, one in enumerate(items):
        key = one.get("key")
        if key is None:
            raise required(f"{field_}.items[{number}].key")
        if key in seen:
            raise invalid(f"{field_}.items[{number}].key", key, "Metadata has duplicate keys.")
        seen.add(key)
        one.setdefault("value", "")
        if len(one["value"].encode()) > 262_144:
            raise invalid(
                f"{field_}.items[{number}].value", f"{one['value'][:20]}...", "Value is too large: 262144 bytes."
            )
    if sum(len((one["key"] + one["value"]).encode()) for one in items) > 524_288:
        raise invalid(f"{field_}.items", "", "Metadata is too large in all: at most 524288 bytes.")
    return items
