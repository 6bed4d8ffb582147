"""Who is there, and who will be: what a provider remembers of its machines between a listing and the next.

It is told everything and asks nobody. What was arranged and is not listed yet counts as present, so that choices made
at once see one another.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

_EXPECTED_SECONDS: Final = 300.0
"""For so long what was arranged counts although no listing shows it."""
_ACCEPTED_SECONDS: Final = 600.0
"""As long as listings may lag at most."""


@dataclass(frozen=True, slots=True)
class Inhabitant:
    """A machine, listed or expected. `id` is empty while nobody knows it. `stays`: it is not on its way out."""

    token: str
    cluster: str
    group: str
    zone: str
    spot: bool
    version: str = ""
    id: str = ""
    stays: bool = True
    runs: bool = False


@dataclass(slots=True)
class Spread:
    """A group's machines that stay, counted by zone, and by version and zone and version and market (spot or not)."""

    zones: Counter[str] = field(default_factory=Counter)
    versions: Counter[tuple[str, str]] = field(default_factory=Counter)
    markets: Counter[tuple[str, bool]] = field(default_factory=Counter)


class Census:
    """Safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._listed: dict[str, dict[str, Inhabitant]] = {}
        self._expected: dict[str, tuple[float, Inhabitant]] = {}
        self._accepted: dict[str, tuple[float, Any]] = {}

    def see(self, cluster: str, inhabitants: Iterable[Inhabitant], now: float) -> None:
        """Take note of a complete listing of a cluster."""
        listed = {one.token: one for one in inhabitants if one.token}
        with self._lock:
            self._listed[cluster] = listed
            self._expected = {
                token: (at, one)
                for token, (at, one) in self._expected.items()
                if token not in listed and now - at < _EXPECTED_SECONDS
            }
            self._accepted = {id_: one for id_, one in self._accepted.items() if now - one[0] < _ACCEPTED_SECONDS}

    def meet(self, inhabitants: Iterable[Inhabitant]) -> None:
        """Take note of machines that were asked for by id, and may not be listed yet."""
        with self._lock:
            for one in inhabitants:
                if one.token:
                    self._listed.setdefault(one.cluster, {})[one.token] = one

    def expect(self, inhabitants: Iterable[Inhabitant], now: float) -> None:
        """Take note of machines that are about to be made."""
        with self._lock:
            self._expected.update((one.token, (now, one)) for one in inhabitants)

    def refused(self, tokens: Iterable[str]) -> None:
        """Take note that machines were not made after all."""
        with self._lock:
            for token in tokens:
                self._expected.pop(token, None)

    def gone(self, ids: Iterable[str]) -> None:
        """Take note that machines which were accepted do not come."""
        with self._lock:
            for id_ in ids:
                self._accepted.pop(id_, None)

    def accepted(self, raws: Mapping[str, Any], now: float) -> None:
        """Take note of instances, by id, as the vendor gave them when it launched them."""
        with self._lock:
            self._accepted.update((id_, (now, raw)) for id_, raw in raws.items())

    def accepted_since(self, instance_id: str, when: float) -> Any:
        """Return an instance as it was launched, if this process did that after `when`; else None."""
        at, raw = self._accepted.get(instance_id, (when, None))
        return raw if at > when else None

    def accepted_after(self, when: float) -> list[str]:
        """Return the ids of instances that this process launched after `when`."""
        with self._lock:
            return [id_ for id_, (at, _) in self._accepted.items() if at > when]

    def leaves(self, cluster: str, ids: Iterable[str]) -> None:
        """Take note of machines that are on their way out."""
        leaving = frozenset(ids)
        with self._lock:
            known = self._listed.get(cluster, {})
            for token in [token for token, one in known.items() if one.id in leaving]:
                del known[token]

    def present(self, cluster: str, token: str) -> Inhabitant | None:
        """Return the machine of a token, if it was listed and stays."""
        with self._lock:
            one = self._listed.get(cluster, {}).get(token)
        return one if one is not None and one.stays else None

    def spread(self, cluster: str, group: str) -> Spread:
        """Count a group's machines."""
        with self._lock:
            everyone = [*self._listed.get(cluster, {}).values(), *(one for _, one in self._expected.values())]
        spread = Spread()
        for one in everyone:
            if one.stays and (one.cluster, one.group) == (cluster, group):
                spread.zones[one.zone] += 1
                spread.versions[one.version, one.zone] += 1
                spread.markets[one.version, one.spot] += 1
        return spread
