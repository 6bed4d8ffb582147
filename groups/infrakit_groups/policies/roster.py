"""A group's members, counted and in order, kept up to date change by change: what a plan costs is what it does.

It looks at every member once. Afterwards only those are looked at again that were changed, or whose condition time
itself may have changed: a grace that ended, a bake that is over.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from operator import itemgetter
from typing import Final, TypeAlias

from infrakit_groups.policies.classify import RUNS, assess, is_of_kind
from infrakit_groups.policies.order import Age, newest_first, oldest_first
from infrakit_py.model.instance import InFlight, InstanceId, InstanceState, Member, Snapshot, Verdict
from infrakit_py.model.plan import Assessed, Condition, Desired, Tally, Version
from infrakit_py.model.spec import VictimOrder
from infrakit_py.model.tags import (
    CONFIG_HASH,
    DRAINING,
    LOGICAL_ID,
    PROTECTED,
    REPLACE,
    SLOT,
    USER_TAGS,
    user_tag_changes,
)

Key: TypeAlias = tuple[str, InstanceId]
Class: TypeAlias = tuple[Version, Condition, bool]
"""Version, condition, and whether it is protected."""
Entry: TypeAlias = tuple[Age, Key]

CURRENT: Final = (Version.CURRENT,)
STALE: Final = (Version.OUTDATED, Version.EXPIRED)
EVERY: Final = tuple(Version)
OPEN: Final = (False,)
EITHER: Final = (False, True)
_RUNNING: Final = frozenset(RUNS)
_TRIED_SECONDS: Final = 3600.0
_UNEVEN: Final = 2
_ALL: Final = tuple(Condition)
_FAILED: Final = frozenset({Condition.UNHEALTHY, Condition.DEAD})


class Roster:
    """See `infrakit_py.spi.policy.Course`, whose `plan` a policy adds."""

    def __init__(self, desired: Desired, snapshot: Snapshot, now: float) -> None:
        self.desired = desired
        self.incarnations: dict[str, int] = dict(snapshot.incarnations)
        self.published = snapshot.published
        self.in_flight: tuple[InFlight, ...] = snapshot.in_flight
        self.zones: Counter[str] = Counter()
        """Members that run, by zone."""
        self._known_zones = snapshot.zones
        self._members: dict[Key, Assessed] = {}
        self._classes: dict[Class, dict[Key, Assessed]] = {}
        self._present: list[tuple[Class, dict[Key, Assessed]]] = []
        self._queues: dict[tuple[VictimOrder, Class], dict[str, list[Entry]]] = {}
        self._due: list[tuple[float, int, Key]] = []
        self._serial = count()
        self._slots: Counter[str] = Counter()
        self._lowest_slot = 0
        self._strangers: dict[Key, Assessed] = {}
        self._retags: dict[Key, None] = {}
        self._baked = 0
        self._crowded: Key | None = None
        self._now = now
        for member in self._without_plain(snapshot.members):
            self._add(assess(desired, member, now))
        if desired.rebalance:
            self._balance()

    def _without_plain(self, members: Iterable[Member]) -> Iterator[Member]:
        """Add those that are as nearly all are (current, healthy, nothing special) and yield the others.

        It says the same as `assess` does, for the few instructions that a hundred thousand machines allow.
        """
        desired, rollout = self.desired, self.desired.rollout
        if (
            rollout.min_ready_seconds
            or rollout.bake_seconds
            or desired.max_age_seconds is not None
            or desired.user_tags
            or desired.undeclared
        ):
            yield from members
            return
        fingerprint, provider, named = desired.fingerprint, desired.provider, desired.logical_ids is not None
        ready = self._classes.setdefault((Version.CURRENT, Condition.READY, False), {})
        healthy, running, current, well = Verdict.HEALTHY, InstanceState.RUNNING, Version.CURRENT, Condition.READY
        slots: list[str] = []
        zones: list[str] = []
        for member in members:
            instance = member.instance
            held = instance.tags
            if (
                member.health.verdict is healthy
                and instance.state is running
                and held.get(CONFIG_HASH) == fingerprint
                and member.provider == provider
                and (LOGICAL_ID in held) is named
                and not (DRAINING in held or PROTECTED in held or REPLACE in held or USER_TAGS in held)
                and not (instance.lacks or instance.awaits or instance.doomed)
            ):
                ready[provider, instance.id] = Assessed(member, current, well, "", True)
                slots.append(held.get(SLOT, ""))
                zones.append(instance.zone)
            else:
                yield member
        self._members.update(ready)
        self._slots.update(slots)
        self.zones.update(zones)
        self._baked += len(slots)

    def member(self, provider: str, instance_id: InstanceId) -> Member | None:
        known = self._members.get((provider, instance_id))
        return known.member if known is not None else None

    def put(self, member: Member) -> None:
        key = (member.provider, member.id)
        if key in self._members:
            self._remove(key)
        if member.slot:
            following = member.incarnation + 1
            self.incarnations[member.slot] = max(self.incarnations.get(member.slot, 0), following)
        self._add(assess(self.desired, member, self._now, crowded=key == self._crowded))

    def drop(self, provider: str, instance_id: InstanceId) -> None:
        key = (provider, instance_id)
        if key in self._members:
            slot = self._members[key].member.slot
            self._remove(key)
            if slot.isdecimal():
                self._lowest_slot = min(self._lowest_slot, int(slot))

    def expect(self, in_flight: tuple[InFlight, ...]) -> None:
        self.in_flight = in_flight

    def publish(self, identity: str) -> None:
        self.published |= {identity}

    def advance(self, now: float) -> None:
        """Look again at those whose condition time may have changed."""
        self._now = max(self._now, now)
        while self._due and self._due[0][0] <= self._now:
            _, _, key = heappop(self._due)
            known = self._members.get(key)
            if known is not None and known.until <= self._now:
                self._remove(key)
                self._add(assess(self.desired, known.member, self._now, crowded=key == self._crowded))
        if self.desired.rebalance:
            self._balance()

    @property
    def members(self) -> tuple[Assessed, ...]:
        return tuple(self._members.values())

    @property
    def strangers(self) -> Collection[Assessed]:
        """Members that are named where no names are wanted, or the other way round, and are not leaving."""
        return self._strangers.values()

    @property
    def baked(self) -> int:
        """How many members of the wanted version have been ready for long enough."""
        return self._baked

    def count(
        self, versions: Collection[Version], conditions: Collection[Condition], protected: Collection[bool] = EITHER
    ) -> int:
        total = 0
        for (version, condition, held), members in self._present or self._sort():
            if version in versions and condition in conditions and held in protected:
                total += len(members)
        return total

    def of(
        self, versions: Collection[Version], conditions: Collection[Condition], protected: Collection[bool] = EITHER
    ) -> Iterator[Assessed]:
        """Yield members in no promised but always the same order."""
        for (version, condition, held), members in self._present or self._sort():
            if version in versions and condition in conditions and held in protected:
                yield from members.values()

    def victims(
        self, version: Version, conditions: Iterable[Condition], order: VictimOrder, limit: int
    ) -> list[Assessed]:
        """Return the first of those that nobody protects, in the order in which they shall go.

        By condition as listed, then from the fullest zone, then by age. Taking any number from the front leaves the
        zones as even as conditions allow.
        """
        if limit <= 0:
            return []
        taken: list[Assessed] = []
        zones = Counter(self.zones)
        for condition in conditions:
            class_ = (version, condition, False)
            queues = {zone: queue for zone, queue in self._queue(order, class_).items() if queue}
            popped: list[tuple[list[Entry], Entry]] = []
            seen: set[Key] = set()
            while len(taken) < limit and queues:
                zone = min(queues, key=lambda zone: (-zones[zone], queues[zone][0]))
                entry = heappop(queues[zone])
                if entry[1] not in seen:  # one that was put twice is queued twice
                    seen.add(entry[1])
                    popped.append((queues[zone], entry))
                    taken.append(self._members[entry[1]])
                    zones[zone] -= 1
                self._skip_gone(queues[zone], order, class_, zone)
                if not queues[zone]:
                    del queues[zone]
            for queue, entry in popped:
                heappush(queue, entry)
        return taken

    def retags(self) -> list[Assessed]:
        """Return members whose user tags are not as wanted, whatever their condition."""
        return [self._members[key] for key in self._retags]

    def free_slots(self) -> Iterator[int]:
        """Yield numbers, lowest first, that no present and no coming machine holds."""
        coming = {c.slot for c in self.in_flight}
        while self._slots.get(str(self._lowest_slot)):
            self._lowest_slot += 1
        number = self._lowest_slot
        while True:
            text = str(number)
            if not self._slots.get(text) and text not in coming:
                yield number
            number += 1

    def tally(self) -> Tally:
        return Tally(
            members=len(self._members),
            current=self.count(CURRENT, RUNS),
            current_ready=self.count(CURRENT, (Condition.READY,)),
            ready=self.count(EVERY, (Condition.READY,)),
            outdated=self.count(STALE, _ALL),
            failed=self.count(EVERY, _FAILED),
        )

    def _sort(self) -> list[tuple[Class, dict[Key, Assessed]]]:
        """Put the classes that have members in the one order in which all rosters have them."""
        self._present = sorted(((class_, held) for class_, held in self._classes.items() if held), key=itemgetter(0))
        return self._present

    def _add(self, assessed: Assessed) -> None:
        member = assessed.member
        if member.instance.state is InstanceState.GONE:
            return
        key = (member.provider, member.id)
        self._members[key] = assessed
        class_ = (assessed.version, assessed.condition, member.protected)
        members = self._classes.setdefault(class_, {})
        if not members:
            self._present = []
        members[key] = assessed
        self._slots[member.slot] += 1
        zone = member.instance.zone
        if assessed.condition in _RUNNING:
            self.zones[zone] += 1
        if assessed.version is not Version.OUTDATED and assessed.baked:
            self._baked += 1
        if not is_of_kind(self.desired, member) and assessed.condition is not Condition.LEAVING:
            self._strangers[key] = assessed
        if assessed.until < inf:
            heappush(self._due, (assessed.until, next(self._serial), key))
        for order, queued in self._queues:
            if queued == class_:
                heappush(self._queues[order, queued].setdefault(zone, []), (_age(order, assessed), key))
        user_tags = self.desired.user_tags
        if (user_tags or USER_TAGS in member.instance.tags) and any(
            user_tag_changes(member.instance.tags, user_tags)
        ):
            self._retags[key] = None

    def _remove(self, key: Key) -> None:
        assessed = self._members.pop(key)
        member = assessed.member
        members = self._classes[assessed.version, assessed.condition, member.protected]
        del members[key]
        if not members:
            self._present = []
        self._slots[member.slot] -= 1
        if assessed.condition in _RUNNING:
            self.zones[member.instance.zone] -= 1
        if assessed.version is not Version.OUTDATED and assessed.baked:
            self._baked -= 1
        self._strangers.pop(key, None)
        self._retags.pop(key, None)

    def _queue(self, order: VictimOrder, class_: Class) -> dict[str, list[Entry]]:
        """Return a class's members by zone, each zone a heap that is led by one that still is there."""
        queues = self._queues.get((order, class_))
        if queues is None:
            queues = self._queues[order, class_] = {}
            for key, assessed in self._classes.get(class_, {}).items():
                queues.setdefault(assessed.member.instance.zone, []).append((_age(order, assessed), key))
            for queue in queues.values():
                heapify(queue)
        for zone, queue in queues.items():
            self._skip_gone(queue, order, class_, zone)
        return queues

    def _skip_gone(self, queue: list[Entry], order: VictimOrder, class_: Class, zone: str) -> None:
        """Drop entries from the front that are out of date."""
        members = self._classes.get(class_, {})
        while queue:
            age, key = queue[0]
            assessed = members.get(key)
            if assessed is not None and assessed.member.instance.zone == zone and _age(order, assessed) == age:
                return
            heappop(queue)

    def _balance(self) -> None:
        """Mark one machine of the fullest zone as expired while another zone has at least two fewer."""
        crowded = self._crowded_member()
        if crowded == self._crowded:
            return
        for key in (self._crowded, crowded):
            if key is not None and (known := self._members.get(key)) is not None:
                self._remove(key)
                self._add(assess(self.desired, known.member, self._now, crowded=key == crowded))
        self._crowded = crowded

    def _crowded_member(self) -> Key | None:
        """Choose the oldest of the fullest zone, while the group is complete and at most its successor is on its way.

        A successor that came already is left out, so that the choice stays the same until the chosen one is gone. Not
        when the youngest machine was put into the fullest zone a short while ago: the provider has no room elsewhere.
        """
        broken = (Condition.UNHEALTHY, Condition.UNKNOWN, Condition.DEAD, Condition.DRAINING, Condition.LEAVING)
        if self.count((Version.OUTDATED,), _ALL) or self.count(EVERY, broken):
            return None
        same = (Version.CURRENT, Version.EXPIRED)
        newest = sorted(self.of(same, (Condition.READY,)), key=newest_first)
        extra = len(newest) - self.desired.count
        if extra < 0 or extra + self.count(same, (Condition.STARTING,)) + len(self.in_flight) > 1:
            return None
        settled = newest[extra:]
        spread = Counter(dict.fromkeys(self._known_zones, 0))
        spread.update(a.member.instance.zone for a in settled)
        if not spread:
            return None
        fullest, emptiest = (pick(spread, key=lambda z: (spread[z], z)) for pick in (max, min))
        youngest = settled[0].member.instance
        full = youngest.zone == fullest and youngest.launched_at > self._now - _TRIED_SECONDS
        if spread[fullest] - spread[emptiest] < _UNEVEN or full:
            return None
        for assessed in reversed(settled):
            if assessed.member.instance.zone == fullest and not assessed.member.protected:
                return assessed.member.provider, assessed.member.id
        return None


def _age(order: VictimOrder, assessed: Assessed) -> Age:
    return oldest_first(assessed) if order is VictimOrder.OLDEST else newest_first(assessed)
