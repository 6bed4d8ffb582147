"""What providers list, asked for once and shared by all groups that may still trust it.

A turn orders listings against what groups do: whoever has acted wants one that began later.
It knows no health and no store.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from threading import Lock
from typing import TypeAlias, TypeVar

from infrakit_py.clock import Clock
from infrakit_py.engine.meter import Call, Meter
from infrakit_py.engine.retry import retrying
from infrakit_py.errors import InfrakitError
from infrakit_py.model import tags
from infrakit_py.model.instance import Instance
from infrakit_py.spi.provider import Provider

T = TypeVar("T")
TellChanges: TypeAlias = Callable[[Collection[str], int], None]
"""Hears which groups a listing shows otherwise than the one before did, and that listing's turn."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One provider's answer. What it shows of a group is the same object as before where it says the same."""

    turn: int
    at: float
    by_group: Mapping[str, tuple[Instance, ...]]

    def of(self, group: str) -> tuple[Instance, ...]:
        return self.by_group.get(group, ())


class Listings:
    """The latest listing of each of one cluster's providers. Safe for threads: the second waits for the first."""

    def __init__(
        self, cluster: str, providers: Mapping[str, Provider], clock: Clock, chance: Random, meter: Meter
    ) -> None:
        self._cluster = cluster
        self._providers = providers
        self._clock = clock
        self._chance = chance
        self._meter = meter
        self._told: list[TellChanges] = []
        self._lock = Lock()
        self._turn = 0
        self._latest: dict[str, Listing] = {}
        self._asking = {name: Lock() for name in providers}

    def turn(self) -> int:
        """Return a number that only listings begun from now on exceed."""
        with self._lock:
            return self._turn

    def tell_changes(self, told: TellChanges) -> None:
        """Call `told` whenever a listing that was made for one group shows something new of others."""
        self._told.append(told)

    def latest(self, provider: str) -> Listing | None:
        """Return the last answer of a provider, without asking it."""
        return self._latest.get(provider)

    def get(self, provider: str, after_turn: int, max_age_seconds: float, asker: str = "") -> Listing:
        """Return a listing begun after `after_turn` and at most so old: the latest, or a new one. ProviderError.

        `asker`: the group that it is for, and that need not be told what it shows.
        """
        with self._asking[provider]:
            known = self._latest.get(provider)
            now = self._clock.now()
            if known is not None and known.turn > after_turn and 0 <= now - known.at <= max_age_seconds:
                return known
            listing = self._latest[provider] = self._ask(provider, known, now)
        if known is not None:
            changed = _differing(known.by_group, listing.by_group) - {asker}
            for told in self._told if changed else ():
                told(changed, listing.turn)
        return listing

    def _ask(self, provider: str, known: Listing | None, now: float) -> Listing:
        with self._lock:
            self._turn += 1
            turn = self._turn
        describe = partial(self._providers[provider].describe, self._cluster)
        timed_describe = partial(timed, self._meter, self._clock, self._cluster, provider, Call.DESCRIBE, describe)
        found: dict[str, list[Instance]] = {}
        for instance in retrying(self._clock, self._chance, timed_describe):
            if tags.owned_by(instance.tags, self._cluster):
                found.setdefault(instance.tags[tags.GROUP], []).append(instance)
        by_group = {name: tuple(instances) for name, instances in found.items()}
        for name, before in known.by_group.items() if known is not None else ():
            if by_group.get(name) == before:
                by_group[name] = before
        return Listing(turn, now, by_group)


def timed(meter: Meter, clock: Clock, cluster: str, provider: str, kind: Call, call: Callable[[], T]) -> T:
    """Make a call, and tell the meter how long it took, and whether it failed."""
    began, error = clock.now(), ""
    try:
        return call()
    except InfrakitError as exc:
        error = type(exc).__name__
        raise
    finally:
        meter.called(cluster, provider, kind, clock.now() - began, error)


def _differing(
    before: Mapping[str, tuple[Instance, ...]], after: Mapping[str, tuple[Instance, ...]]
) -> frozenset[str]:
    """Return the groups of which the later listing shows something else."""
    return frozenset(name for name in before.keys() | after.keys() if before.get(name) is not after.get(name))
