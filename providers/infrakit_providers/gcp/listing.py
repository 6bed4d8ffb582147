"""Listing a cluster: one aggregated list of the project, whole or an error, and what else there is to know."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from infrakit_providers.cloud.standing import FINE
from infrakit_providers.gcp import labels, wire
from infrakit_providers.gcp.balancers import Balancers
from infrakit_providers.gcp.belongings import Belongings
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.operations import last
from infrakit_providers.gcp.owned import with_more
from infrakit_providers.gcp.wire import News, Sighting
from infrakit_py.errors import IncompleteView
from infrakit_py.model import tags
from infrakit_py.model.instance import Instance, InstanceId

_FIELDS: Final = f"items/*/instances({wire.FIELDS}),items/*/warning,nextPageToken,unreachables,warning"
_EMPTY: Final = "NO_RESULTS_ON_PAGE"
_TAKEN_AWAY: Final = frozenset({"STOPPING", "TERMINATED"})
_PREEMPTED: Final = 'operationType="compute.instances.preempted"'


class Lister:
    """Lists instances."""

    def __init__(self, caller: Caller, belongings: Belongings, balancers: Balancers) -> None:
        self._caller = caller
        self._belongings = belongings
        self._balancers = balancers

    def instances(self, cluster: str) -> list[Instance]:
        """Return a cluster's instances. IncompleteView where a part of the project could not be asked."""
        where = labels.filter_of(cluster)
        doing = f"list the instances of {cluster}"
        seen: list[Sighting] = []
        for page in self._caller.pages("instances", "aggregated_list", doing, fields=_FIELDS, filter=where):
            require_whole(page, doing)
            for scoped in type(page).pb(page).items.values():
                seen += map(wire.sighting, scoped.instances)
        ours = [
            (one, held) for one in with_more(self._caller, seen, where) if tags.owned_by(held := one.tags, cluster)
        ]
        return self._told(ours)

    def of_any_cluster(self, seen: Iterable[Sighting]) -> Mapping[InstanceId, Instance]:
        """Return instances that were looked up by id."""
        return {one.id: one for one in self._told([(one, one.tags) for one in seen])}

    def _told(self, seen: Sequence[tuple[Sighting, Mapping[str, str]]]) -> list[Instance]:
        """Add what other calls say of machines."""
        running = {one.id: (one, held) for one, held in seen if one.status == "RUNNING"}
        behind = {id_: groups for id_, (one, _) in running.items() if (groups := self._balancers.behind(one.labels))}
        draining = {id_: _since(running[id_][1]) for id_ in behind if tags.DRAINING in running[id_][1]}
        standings = self._balancers.standings(behind, draining) if behind else {}
        lacks = self._belongings.lacks(one for one, _ in running.values())
        preempted = self._preempted([one for one, _ in seen if one.spot and one.status in _TAKEN_AWAY])
        return [
            wire.instance(
                one,
                held,
                News(lacks.get(one.id, ""), standings.get(one.id, FINE), preempted=one.id in preempted),
            )
            for one, held in seen
        ]

    def _preempted(self, seen: Sequence[Sighting]) -> frozenset[str]:
        """Return which of these Compute Engine took away: only its operations tell."""
        by_zone: defaultdict[str, set[str]] = defaultdict(set)
        for one in seen:
            by_zone[one.zone].add(one.name)
        found: set[str] = set()
        for zone, names in by_zone.items():
            pages = self._caller.pages(
                "zone_operations", "list", f"list preemptions in {zone}", zone=zone, filter=_PREEMPTED
            )
            targets = {last(raw.target_link) for page in pages for raw in page.items}
            found |= {f"{zone}/{name}" for name in names & targets}
        return frozenset(found)


def require_whole(page: Any, doing: str) -> None:
    """Raise IncompleteView where a page leaves something out: what it leaves out is unknown, not gone."""
    warnings = [(place, scoped.warning.code) for place, scoped in page.items.items() if scoped.warning.code]
    missing = [place for place, code in warnings if code != _EMPTY] + list(page.unreachables)
    if page.warning.code and page.warning.code != _EMPTY:
        missing.append(page.warning.code)
    if missing:
        raise IncompleteView(f"gcp: cannot {doing}: no answer from {', '.join(sorted(missing))}")


def _since(held: Mapping[str, str]) -> float:
    try:
        return float(held[tags.DRAINING])
    except ValueError:
        return 0.0
