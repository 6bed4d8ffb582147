"""Instances by id, and whose they are: looked at just before anything is done to them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from infrakit_providers.gcp import labels
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.faults import NotThere
from infrakit_providers.gcp.names import Address, address_of
from infrakit_providers.gcp.wire import FIELDS, Sighting, sighting
from infrakit_py.errors import IncompleteView, NotOurs, ProviderError
from infrakit_py.model import tags

_FEW: Final = 8
"""So many instances of a zone are asked for one by one; for more, the zone's are listed."""
Coming = Callable[[Iterable[str]], frozenset[str]]
"""Returns which of some instances that are not there were asked for, and may yet be made."""
LISTED: Final = f"items({FIELDS}),nextPageToken,warning"
_MORE_FIELDS: Final = "items(name,zone,metadata),nextPageToken,warning"


def nobody(instance_ids: Iterable[str]) -> frozenset[str]:
    """Expect none."""
    del instance_ids
    return frozenset()


def found(caller: Caller, instance_ids: Iterable[str], coming: Coming = nobody) -> dict[str, Sighting]:
    """Return the instances of these ids that there are.

    What a zone's listing leaves out may only be too new for it, and is asked for by itself; but not those that
    `coming` returns, which nobody expects to be there.
    """
    wanted: defaultdict[str, list[Address]] = defaultdict(list)
    for address in dict.fromkeys(map(address_of, instance_ids)):
        if address is not None:
            wanted[address.zone].append(address)
    single = [one for addresses in wanted.values() if len(addresses) <= _FEW for one in addresses]
    zones = [zone for zone, addresses in wanted.items() if len(addresses) > _FEW]
    known: dict[str, Sighting] = {}
    for listed in caller.each(partial(_ours_in, caller), zones):
        if isinstance(listed, ProviderError):
            raise listed
        known.update((one.id, one) for one in listed)
    left_out = [address for zone in zones for address in wanted[zone] if address.id not in known]
    if left_out:
        expected = coming(address.id for address in left_out)
        single += [address for address in left_out if address.id not in expected]
    for one in caller.each(partial(_looked_up, caller), single):
        if isinstance(one, ProviderError):
            raise one
        if one is not None:
            known[one.id] = one
    asked = {address.id for addresses in wanted.values() for address in addresses}
    return {id_: one for id_, one in known.items() if id_ in asked}


def with_more(caller: Caller, seen: Sequence[Sighting], filter_: str) -> list[Sighting]:
    """Return instances with those of their tags that did not fit into labels: one listing more, if any has such."""
    if not any(labels.has_more(one.labels) and one.more is None for one in seen):
        return list(seen)
    more: dict[str, Mapping[str, Mapping[str, str]]] = {}
    where = f"({filter_}) (labels.{labels.MORE}:*)"
    fields = "items/*/instances(name,zone,metadata),items/*/warning,nextPageToken,unreachables,warning"
    doing = "list what did not fit into labels"
    for page in caller.pages("instances", "aggregated_list", doing, fields=fields, filter=where):
        for scoped in page.items.values():
            for raw in scoped.instances:
                one = sighting(raw)
                more[one.id] = one.more or {}
    if lost := [one.id for one in seen if one.more is None and labels.has_more(one.labels) and one.id not in more]:
        raise IncompleteView(f"gcp: cannot {doing}: no answer for {', '.join(sorted(lost)[:3])}")
    return [_told(one, more[one.id]) if one.id in more else one for one in seen]


def require_ours(seen: Sighting, cluster: str, group: str | None) -> None:
    """Raise NotOurs unless an instance carries the tags of its owner."""
    held, wanted = seen.tags, {tags.CLUSTER: cluster, **({tags.GROUP: group} if group is not None else {})}
    if lacking := [f"{key}={value}" for key, value in wanted.items() if held.get(key) != value]:
        raise NotOurs(f"gcp: instance {seen.id} does not carry {', '.join(lacking)}")


def _looked_up(caller: Caller, address: Address) -> Sighting | None:
    try:
        raw = caller.ask("instances", "get", f"look at {address.id}", zone=address.zone, instance=address.name)
    except NotThere:
        return None
    return sighting(raw, labels.NOTHING if labels.ITEM not in {one.key for one in raw.metadata.items} else None)


def _ours_in(caller: Caller, zone: str) -> list[Sighting]:
    """List a zone's instances of any cluster."""
    where = f"labels.{labels.key_of(tags.CLUSTER)}:*"
    doing = f"list the instances in {zone}"
    seen = [
        sighting(raw)
        for page in caller.pages("instances", "list", doing, zone=zone, filter=where, fields=LISTED)
        for raw in page.items
    ]
    if not any(labels.has_more(one.labels) for one in seen):
        return seen
    where = f"labels.{labels.MORE}:*"
    more = {
        one.id: one.more or labels.NOTHING
        for page in caller.pages("instances", "list", doing, zone=zone, filter=where, fields=_MORE_FIELDS)
        for one in map(sighting, page.items)
    }
    known = [one for one in seen if one.id in more or not labels.has_more(one.labels)]  # others are asked for alone
    return [_told(one, more[one.id]) if one.id in more else one for one in known]


def _told(seen: Sighting, more: Mapping[str, Mapping[str, str]]) -> Sighting:
    return replace(seen, more=more)
