"""The eye from outside: look at the project past every lag."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.fakes.gce.front import Front
from tests.fakes.gce.settings import GROUP, ZONES, zone_name
from tests.fakes.gce.shown import status_of
from tests.fakes.gce.storage import BUCKET, Stored
from tests.fakes.gce.tables import Address, Disk, Image, Instance, Operation
from tests.fakes.gce.world import World


class Eye:
    """What tests see of a fake. All may be asked from any thread.

    Instances go by their names, which may be `zone/name` where a name is in several zones.
    """

    def __init__(self, front: Front) -> None:
        self.front = front
        self.world: World = front.world
        self.cloud = front.world.cloud
        self.settings = front.world.settings

    def instances(self, *states: str, labels: Mapping[str, str] | None = None) -> list[Instance]:
        """Return instances in some states (all where none is named), with these labels."""
        with self.world.lock:
            self.world.settle()
            return [
                one
                for one in self.world.instances.values()
                if (not states or self._state(one) in states)
                and all(one.labels.get(key) == value for key, value in (labels or {}).items())
            ]

    def names(self, *states: str, labels: Mapping[str, str] | None = None) -> list[str]:
        return [one.name for one in self.instances(*states, labels=labels)]

    def ids(self, *states: str, labels: Mapping[str, str] | None = None) -> list[str]:
        return [one.id for one in self.instances(*states, labels=labels)]

    def state_of(self, name: str) -> str:
        """Return the status of an instance; empty for one that there is not."""
        with self.world.lock:
            self.world.settle()
            try:
                return self._state(self.find(name))
            except KeyError:
                return ""

    def find(self, name: str) -> Instance:
        """Return an instance by name, zone and name, or id. KeyError where there is none."""
        with self.world.lock:
            self.world.settle()
            zone, _, short = name.rpartition("/")
            for place in (zone,) if zone else ZONES:
                if (place, short) in self.world.named:
                    return self.world.named[place, short]
            for one in self.world.instances.values():
                if one.id == name:
                    return one
        raise KeyError(f"no instance {name}")

    def labels_of(self, name: str) -> dict[str, str]:
        return dict(self.find(name).labels)

    def metadata_of(self, name: str) -> dict[str, str]:
        return {one["key"]: one["value"] for one in self.find(name).metadata}

    def operations(self, kind: str = "") -> list[Operation]:
        """Return all operations, or those of a type."""
        with self.world.lock:
            self.world.settle()
            found = [one for some in self.world.operations.values() for one in some.values()]
            return [one for one in found if kind in ("", one.type)]

    def disks(self) -> list[Disk]:
        with self.world.lock:
            self.world.settle()
            return list(self.world.disks.values())

    def addresses(self) -> list[Address]:
        with self.world.lock:
            self.world.settle()
            return list(self.world.addresses.values())

    def group_members(self, zone: str = "b", group: str = GROUP) -> list[str]:
        """Return the names of a group's instances."""
        with self.world.lock:
            self.world.settle()
            members = self.world.groups[zone_name(zone), group].members
            return [self.world.instances[one].name for one in members]

    def published(self) -> list[Image]:
        """Return the images that were made of an archive."""
        with self.world.lock:
            self.world.settle()
            return [one for one in self.world.images.values() if one.archive]

    def stored(self, bucket: str = BUCKET) -> list[Stored]:
        """Return the objects in a bucket."""
        with self.world.lock:
            return list(self.world.storage.objects[bucket].values())

    def picture(self) -> dict[str, Any]:
        """Return what there is, in numbers."""
        with self.world.lock:
            now, states = self.world.now(), Counter(self._state(one) for one in self.instances())
            return {
                "instances": dict(states),
                "disks": dict(Counter("in-use" if one.user else "free" for one in self.disks())),
                "addresses": dict(Counter("in-use" if one.user else "reserved" for one in self.addresses())),
                "operations": dict(Counter(one.status(now) for one in self.operations())),
                "groups": {f"{zone}/{name}": self.group_members(zone, name) for zone, name in self.world.groups},
                "calls": dict(self.front.calls),
                "mistakes": self.front.mistakes,
            }

    def _state(self, one: Instance) -> str:
        return status_of(self.world, one, self.world.machine(one))
