"""What is there, as a snapshot: listings, creations under way, health, published images.

An observation has no side effects outside the store, and takes nothing for gone that it was not told is gone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from random import Random
from typing import Final, TypeAlias

from infrakit_py.clock import Clock
from infrakit_py.engine.cluster import Group
from infrakit_py.engine.health import HealthMonitor, Watched
from infrakit_py.engine.listings import Listings, TellChanges, timed
from infrakit_py.engine.meter import Call, Meter, NoMeter
from infrakit_py.engine.retry import retrying
from infrakit_py.errors import InfrakitError, ProviderError
from infrakit_py.model import tags
from infrakit_py.model.instance import (
    InFlight,
    Instance,
    InstanceState,
    Member,
    Snapshot,
)
from infrakit_py.model.spec import Image
from infrakit_py.spi.flavor import Flavor
from infrakit_py.spi.provider import Provider
from infrakit_py.spi.store import Intent, Store

_Way: TypeAlias = tuple[str, str, str, int]
"""Where, which image, as what disk, how large: what a provider may have of one way and not of another."""
_BELIEVED: Final = 60.0
_BELIEVED_AT_REST: Final = 3600.0
"""What vanished meanwhile is published again when it is needed, since then it is asked for again."""
LAG_MARGIN_SECONDS: Final = 2.0
"""Clocks of a provider and of this machine differ a little."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A group's snapshot, and what went wrong that did not hinder it (a drain that failed, say).

    `all_well`: every machine that runs is healthy, and its last answer said so.
    """

    snapshot: Snapshot
    complaints: tuple[str, ...] = ()
    all_well: bool = False


@dataclass(frozen=True, slots=True)
class _Accounted:
    """What was made of a group's intents when all of them were listed or gone. It is so until the group acts."""

    after_turn: int
    listed: tuple[tuple[Instance, ...], ...]
    members: tuple[Member, ...]
    incarnations: Mapping[str, int]


class Observer:
    """Looks at one cluster. Listings are shared by all groups that may still trust them."""

    def __init__(
        self,
        cluster: str,
        providers: Mapping[str, Provider],
        store: Store,
        monitor: HealthMonitor,
        clock: Clock,
        chance: Random | None = None,
        meter: Meter | None = None,
    ) -> None:
        """`chance` spreads what is tried again."""
        self._cluster = cluster
        self._providers = providers
        self._store = store
        self._monitor = monitor
        self._clock = clock
        self._began = clock.now()
        self._chance = chance if chance is not None else Random()
        self._meter = meter if meter is not None else NoMeter()
        self._listings = Listings(cluster, providers, clock, self._chance, self._meter)
        self._accounted: dict[str, _Accounted] = {}
        self._published_at: dict[_Way, float] = {}

    def turn(self) -> int:
        """Return a number that only listings begun from now on exceed."""
        return self._listings.turn()

    def attend(self, told: TellChanges) -> None:
        """Expect that all groups are looked at for ever: `told` hears when a listing for one shows news of others."""
        self._listings.tell_changes(told)
        self._monitor.looks_at_all()

    def groups_seen(self, *, all_of_them: bool) -> frozenset[str]:
        """Return the names of the groups that own an instance, or, where `all_of_them` are wanted, may own one soon.

        A provider that cannot be asked is passed over, or, where `all_of_them` are wanted, its ProviderError
        raised.
        """
        seen: set[str] = set()
        if all_of_them:
            seen |= {intent.group for intent in self._store.intents(self._cluster) if not intent.gone}
        for name in self._providers:
            try:
                seen |= self._listings.get(name, self.turn(), max_age_seconds=0.0).by_group.keys()
            except ProviderError:
                if all_of_them:
                    raise
        return frozenset(seen)

    def observe(self, group: Group, *, after_turn: int, max_age_seconds: float, at_rest: bool = False) -> Observation:
        """Look at a group by listings begun after `after_turn` and at most so old. `at_rest`: nothing is expected.

        A group's own provider is asked (all of them, for a group that has none), and any other one that was last
        seen to hold members of it. ProviderError where one of these does not answer: what cannot be seen must
        not be taken for gone.
        """
        names = [
            name
            for name in self._providers
            if group.desired.provider in (name, "") or self._last_seen(name, group.name)
        ]
        listed = {name: self._listed(name, group.name, after_turn, max_age_seconds) for name in names}
        members, in_flight, incarnations = self._accounted_for(group, listed, after_turn)
        members, all_well = self._with_health(group, members)
        members, complaints = self._with_draining(group, members)
        published = self._published(group, _BELIEVED_AT_REST if at_rest else _BELIEVED)
        zones = self._zones(group)
        snapshot = Snapshot(members, in_flight, incarnations, published, zones)
        return Observation(snapshot, complaints, all_well=all_well)

    def about_to_act(self, group: str) -> None:
        """Read anew what is remembered of a group's creations: more are about to be asked for."""
        self._accounted.pop(group, None)

    def doubt_published(self) -> None:
        """Ask again which images are there: a provider missed one."""
        self._published_at.clear()

    def _listed(
        self, provider_name: str, group: str, after_turn: int, max_age_seconds: float
    ) -> tuple[Instance, ...]:
        try:
            return self._listings.get(provider_name, after_turn, max_age_seconds, group).of(group)
        except ProviderError:
            self._monitor.could_not_look()
            raise

    def _last_seen(self, provider_name: str, group_name: str) -> bool:
        """Tell, without asking anybody, whether a provider held members of a group when it was last asked."""
        known = self._listings.latest(provider_name)
        return known is not None and bool(known.of(group_name))

    def _accounted_for(
        self, group: Group, listed: Mapping[str, tuple[Instance, ...]], after_turn: int
    ) -> tuple[tuple[Member, ...], tuple[InFlight, ...], Mapping[str, int]]:
        """Return the members, what is in flight, and the incarnations: as before, where nothing can have changed."""
        known = self._accounted.get(group.name)
        seen = tuple(listed.values())
        if known is not None and known.after_turn == after_turn and _same(known.listed, seen):
            return known.members, (), known.incarnations
        found = [Member(instance, name) for name, instances in listed.items() for instance in instances]
        members, in_flight, incarnations = self._reconcile_intents(group, found)
        if not in_flight and len(members) == len(found):
            self._accounted[group.name] = _Accounted(after_turn, seen, members, incarnations)
        else:
            self._accounted.pop(group.name, None)
        return members, in_flight, incarnations

    def _reconcile_intents(
        self, group: Group, listed: list[Member]
    ) -> tuple[tuple[Member, ...], tuple[InFlight, ...], dict[str, int]]:
        """Match remembered creations with what is listed; look the missing ones up by id."""
        incarnations: dict[str, int] = {}

        def note(slot: str, next_incarnation: int) -> None:
            incarnations[slot] = max(incarnations.get(slot, 0), next_incarnation)

        for member in listed:
            note(member.slot, member.incarnation + 1)
        seen = {(m.provider, m.slot, m.incarnation): m for m in listed}
        unseen: list[Intent] = []
        for intent in self._store.intents(self._cluster, group.name):
            if intent.provider not in self._providers:
                continue
            if intent.gone:
                note(intent.slot, intent.incarnation + 1)
            elif (intent.provider, intent.slot, intent.incarnation) not in seen:
                unseen.append(intent)
        found, in_flight = self._look_up(unseen, note_gone=lambda i: note(i.slot, i.incarnation + 1))
        known = {(m.provider, m.id) for m in listed}
        found = [m for m in found if (m.provider, m.id) not in known]
        return (*listed, *found), tuple(in_flight), incarnations

    def _look_up(
        self, unseen: Sequence[Intent], note_gone: Callable[[Intent], None]
    ) -> tuple[list[Member], list[InFlight]]:
        now = self._clock.now()
        found: list[Member] = []
        in_flight: list[InFlight] = []
        for provider_name in {intent.provider for intent in unseen}:
            provider = self._providers[provider_name]
            intents = [intent for intent in unseen if intent.provider == provider_name]
            ids = [intent.instance_id for intent in intents if intent.instance_id is not None]
            lookup = partial(
                timed,
                self._meter,
                self._clock,
                self._cluster,
                provider_name,
                Call.LOOKUP,
                partial(provider.lookup, ids),
            )
            answers = retrying(self._clock, self._chance, lookup) if ids else {}
            never_happened: list[Intent] = []
            gone: list[Intent] = []
            for intent in intents:
                if intent.instance_id is None:
                    # An earlier process may have asked for it until it died, which was before this one began.
                    asked_until = max(intent.since, self._began)
                    if now - asked_until > provider.listing_lag_seconds + LAG_MARGIN_SECONDS:
                        never_happened.append(intent)
                    else:
                        in_flight.append(_in_flight(intent))
                elif intent.instance_id not in answers:
                    in_flight.append(_in_flight(intent))
                elif (instance := answers[intent.instance_id]) is None or not _is_still(instance, intent):
                    gone.append(intent)
                    note_gone(intent)
                else:
                    found.append(Member(instance, provider_name))
            self._store.forget(never_happened)
            self._store.record([replace(intent, gone=True) for intent in gone])
        return found, in_flight

    def _with_health(self, group: Group, members: Sequence[Member]) -> tuple[tuple[Member, ...], bool]:
        """Return the members with their health, and whether all that run are well beyond doubt."""
        if group.spec is None:
            return tuple(members), True
        watched = [Watched(m.provider, self._providers[m.provider], m.instance) for m in members]
        lane = f"{group.desired.provider}/{group.name}"
        health = self._monitor.check(watched, group.spec.health, group.flavor, lane)
        running = [(m.provider, m.id) for m in members if m.instance.state is InstanceState.RUNNING]
        checked = tuple(
            Member(m.instance, m.provider, known, m.drained)
            if (known := health.get((m.provider, m.id))) is not None
            else m
            for m in members
        )
        return checked, self._monitor.all_well(running)

    def _with_draining(self, group: Group, members: Sequence[Member]) -> tuple[tuple[Member, ...], tuple[str, ...]]:
        if not group.desired.drains:
            return tuple(members), ()
        complaints: list[str] = []
        result: list[Member] = []
        for member in members:
            drained = False
            if member.draining_since is not None and member.instance.state is InstanceState.RUNNING:
                try:
                    drained = _lets_go(group.flavor, member.instance)
                except InfrakitError as exc:
                    complaints.append(f"{member.name}: draining: {exc}")
            result.append(Member(member.instance, member.provider, member.health, drained))
        return tuple(result), tuple(complaints)

    def _published(self, group: Group, believed_seconds: float) -> frozenset[str]:
        """Return which of a group's images are there. One that was is believed to be so for a while."""
        previous = group.desired.previous
        images = [image for image in (group.desired.image, previous.image if previous else None) if image is not None]
        if not images or group.desired.provider not in self._providers:
            return frozenset()
        name, now = group.desired.provider, self._clock.now()
        unsure = [i for i in images if not 0 <= now - self._published_at.get(_way(name, i), -inf) < believed_seconds]
        if unsure:
            found = retrying(self._clock, self._chance, lambda: self._providers[name].published(unsure))
            for image in unsure:
                if image.identity in found:
                    self._published_at[_way(name, image)] = now
                else:
                    self._published_at.pop(_way(name, image), None)
        return frozenset(i.identity for i in images if _way(name, i) in self._published_at)

    def _zones(self, group: Group) -> tuple[str, ...]:
        if not group.desired.rebalance or group.spec is None:
            return ()
        return self._providers[group.desired.provider].zones(group.spec.machine)


def _same(one: tuple[tuple[Instance, ...], ...], other: tuple[tuple[Instance, ...], ...]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _way(provider: str, image: Image) -> _Way:
    """Return what tells two ways of publishing one image apart: a kernel, and the disks that are made of it."""
    return provider, image.identity, image.as_disk, image.disk_size


def _is_still(instance: Instance, intent: Intent) -> bool:
    """Tell whether an instance is what was created: somebody may have given it to another group, or to nobody."""
    owner = (instance.tags.get(tags.GROUP), instance.tags.get(tags.SLOT))
    ours = tags.owned_by(instance.tags, intent.cluster) and owner == (intent.group, intent.slot)
    return ours and instance.state is not InstanceState.GONE


def _lets_go(flavor: Flavor | None, instance: Instance) -> bool:
    """Tell whether nothing needs a draining machine any more: neither what runs on it nor who sends it work."""
    by_flavor = flavor is None or not flavor.drains or flavor.drain(instance)
    return by_flavor and not instance.awaits


def _in_flight(intent: Intent) -> InFlight:
    return InFlight(
        intent.slot,
        intent.incarnation,
        intent.fingerprint,
        intent.logical_id,
        intent.since,
        accepted=intent.instance_id is not None,
    )
