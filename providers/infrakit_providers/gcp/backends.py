"""Where load balancers find machines: instance groups of zones, and target pools of regions.

It makes the calls, and knows neither which machine is to be where nor what it means that one is not.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.faults import AlreadyThere, NotThere
from infrakit_providers.gcp.names import Address
from infrakit_providers.gcp.operations import Operation, last
from infrakit_py.errors import ProviderError, Transient
from infrakit_py.model.instance import InstanceId

CHUNK: Final = 100
"""Machines a call. Compute Engine publishes no limit; this keeps a refused call cheap to take apart."""
HEALTHY: Final = "HEALTHY"
_JOIN_SECONDS: Final = 10.0
_LEAVE_SECONDS: Final = 3.0
"""Only so that a refusal is heard: a removal may go on for as long as connections drain."""
POOLS: Final = "pools"
_GROUP: Final = re.compile(r"/zones/([^/]+)/instanceGroups/([^/]+)$")
_INSTANCE: Final = re.compile(r"zones/([^/]+)/instances/([^/]+)$")
_NOT_ALLOWED: Final = 403
_log: Final = structlog.get_logger("infrakit.gcp")


@dataclass(frozen=True, slots=True)
class Place:
    """What machines can be in: a target pool of a region, or with a `url` an instance group of a zone."""

    where: str
    name: str
    url: str = ""

    @property
    def title(self) -> str:
        return f"{'instance group' if self.url else 'target pool'} {self.name} in {self.where}"


@dataclass(frozen=True, slots=True)
class Balancer:
    """A backend service, or a target pool of a region. `word` is what the user wrote, or `pools/NAME`.

    A machine has its place in one of those of its zone, the first by preference: those for failover come last.
    """

    word: str
    places: tuple[Place, ...]
    draining_seconds: float = 0.0

    @property
    def title(self) -> str:
        return title_of(self.word)

    def places_in(self, zone: str) -> tuple[Place, ...]:
        """Return those for machines of a zone."""
        return tuple(one for one in self.places if one.where == zone or not one.url)


class Backends:
    """Safe for threads."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def balancer(self, word: str, region: str) -> Balancer | None:
        """Return a load balancer by its word; None where there is none. Target pools are those of `region`."""
        if word.startswith(f"{POOLS}/"):
            place = Place(region, last(word))
            return Balancer(word, (place,))
        service, where = _service(word)
        try:
            raw = self._caller.ask(service, "get", f"look at {title_of(word)}", **where)
        except NotThere:
            return None
        backends = sorted(raw.backends, key=lambda one: one.failover)
        found = [(match, one.group) for one in backends if (match := _GROUP.search(one.group))]
        places = tuple(Place(match[1], match[2], url) for match, url in found)
        return Balancer(word, places, float(raw.connection_draining.draining_timeout_sec))

    def members(self, place: Place) -> frozenset[InstanceId] | None:
        """Return who is in a place; None where there is no such place."""
        try:
            if not place.url:
                return frozenset(map(_id, self._pool(place).instances))
            doing = f"list {place.title}"
            pages = self._caller.pages(
                "instance_groups", "list_instances", doing, zone=place.where, instance_group=place.name,
                instance_groups_list_instances_request_resource={"instance_state": "ALL"},
            )  # fmt: skip
            return frozenset(_id(one.instance) for page in pages for one in page.items)
        except NotThere:
            return None

    def health(
        self, balancer: Balancer, place: Place, instance_id: InstanceId | None = None
    ) -> Mapping[InstanceId, Sequence[str]]:
        """Return what a load balancer says of machines in a place: each has a state for every rule that serves.

        Target pools are asked for one machine. Who has not been looked at is not there.
        """
        if instance_id is not None:
            return {instance_id: self._health_in_pool(place, instance_id)}
        service, where = _service(balancer.word)
        doing = f"look at the health of {balancer.title}"
        raw = self._caller.ask(
            service, "get_health", doing, **where, resource_group_reference_resource={"group": place.url}
        )
        states: defaultdict[InstanceId, list[str]] = defaultdict(list)
        for one in raw.health_status:
            states[_id(one.instance)].append(one.health_state)
        return states

    def join(self, place: Place, ids: Sequence[InstanceId]) -> Mapping[InstanceId, ProviderError]:
        """Put machines into a place, and return why not for those that are not. Who is there already is fine."""
        return self._changed("add", place, ids)

    def leave(self, place: Place, ids: Sequence[InstanceId]) -> Mapping[InstanceId, ProviderError]:
        """Take machines out of a place, and return why not for those that were not. Who is not there is fine."""
        return self._changed("remove", place, ids)

    def _pool(self, place: Place) -> Any:
        doing = f"look at {place.title}"
        return self._caller.ask("target_pools", "get", doing, region=place.where, target_pool=place.name)

    def _health_in_pool(self, place: Place, instance_id: InstanceId) -> Sequence[str]:
        doing = f"look at the health of {instance_id} in {place.title}"
        raw = self._caller.ask(
            "target_pools", "get_health", doing, region=place.where, target_pool=place.name,
            instance_reference_resource={"instance": self._url(instance_id)},
        )  # fmt: skip
        states = [one.health_state for one in raw.health_status]
        return states or ([] if self._pool(place).health_checks else [HEALTHY])  # who checks nothing finds all well

    def _changed(self, verb: str, place: Place, ids: Sequence[InstanceId]) -> dict[InstanceId, ProviderError]:
        errors: dict[InstanceId, ProviderError] = {}
        for begin in range(0, len(ids), CHUNK):
            errors |= self._change(verb, place, ids[begin : begin + CHUNK])
        return errors

    def _change(
        self, verb: str, place: Place, ids: Sequence[InstanceId], *, again: bool = False
    ) -> dict[InstanceId, ProviderError]:
        """Add or remove machines. A call that some of them spoil is made again without those."""
        doing = f"{verb} {len(ids)} machines {'to' if verb == 'add' else 'from'} {place.title}"
        try:
            self._wait(verb, self._begin(verb, place, ids, doing), doing)
        except ProviderError as exc:
            if (exc.retryable and not isinstance(exc, AlreadyThere)) or _is_forbidden(exc):
                return dict.fromkeys(ids, exc)
            there = self.members(place)
            if there is None:
                return dict.fromkeys(ids, exc) if verb == "add" else {}
            if verb == "add" and not again and self._is_managed(place):
                return dict.fromkeys(ids, _managed(place, exc))
            left = [id_ for id_ in ids if (id_ in there) != (verb == "add")]
            return self._without_the_bad(verb, place, ids, left, exc)
        _log.info("load balancing changed", change=verb, place=place.title, machines=len(ids))
        return {}

    def _without_the_bad(
        self, verb: str, place: Place, ids: Sequence[InstanceId], left: Sequence[InstanceId], error: ProviderError
    ) -> dict[InstanceId, ProviderError]:
        """Make a call again for those that are left: in two parts, unless it was spoilt by those that are not."""
        if not left:
            return {}
        if len(left) < len(ids):
            return self._change(verb, place, left, again=True)
        if len(left) == 1:
            return {left[0]: error}
        named = [id_ for id_ in left if f"{self._url(id_)}'" in f"{error}'"]
        middle = len(left) // 2
        first = named if 0 < len(named) < len(left) else left[:middle]
        second = [id_ for id_ in left if id_ not in first]
        return self._change(verb, place, first, again=True) | self._change(verb, place, second, again=True)

    def _is_managed(self, place: Place) -> bool:
        """Tell whether an instance group has a manager. It is only asked to explain another error."""
        doing = f"look at the manager of {place.title}"
        try:
            if place.url:
                self._caller.ask(
                    "instance_group_managers", "get", doing, zone=place.where, instance_group_manager=place.name
                )
        except ProviderError:
            return False
        return bool(place.url)

    def _begin(self, verb: str, place: Place, ids: Sequence[InstanceId], doing: str) -> Operation:
        kind = "instance_groups" if place.url else "target_pools"
        method = f"{verb}_instances" if place.url else f"{verb}_instance"
        where = {"zone": place.where} if place.url else {"region": place.where}
        request: dict[str, Any] = {
            **where,
            kind.removesuffix("s"): place.name,
            f"{kind}_{method}_request_resource": {"instances": [{"instance": self._url(id_)} for id_ in ids]},
        }
        return self._caller.act(kind, method, doing, **request)

    def _wait(self, verb: str, operation: Operation, doing: str) -> None:
        """Wait until machines are in a place; for those that leave one, only a moment."""
        if verb == "add":
            self._caller.finish(operation, doing, within_seconds=_JOIN_SECONDS)
            return
        try:
            self._caller.finish(operation, doing, within_seconds=_LEAVE_SECONDS)
        except Transient:
            if self._caller.look(operation).ended_badly:
                raise

    def _url(self, instance_id: InstanceId) -> str:
        zone, _, name = instance_id.partition("/")
        return f"projects/{self._caller.project}/zones/{zone}/instances/{name}"


def title_of(word: str) -> str:
    """Return what a load balancer is called in messages."""
    return f"target pool {last(word)}" if word.startswith(f"{POOLS}/") else f"backend service {word}"


def _service(word: str) -> tuple[str, Mapping[str, str]]:
    """Return the SDK's service and the parameters of a backend service."""
    if "/" in word:
        _, region, name = word.split("/")
        return "region_backend_services", {"region": region, "backend_service": name}
    return "backend_services", {"backend_service": word}


def _id(url: str) -> InstanceId:
    match = _INSTANCE.search(url)
    return Address(match[1], match[2]).id if match else InstanceId(url)


def _managed(place: Place, error: ProviderError) -> ProviderError:
    """Return the refusal of a group that is not for us, with what to do about it."""
    told = ProviderError(
        f"gcp: {place.title} is managed, and only its manager fills it", hint=group_wanted(place.where)
    )
    told.__cause__ = error
    return told


def group_wanted(zone: str) -> str:
    """Return what to do where a backend service has no group in a zone that is for us."""
    return f"make an unmanaged instance group in {zone}, and add it to the backend service"


def _is_forbidden(error: ProviderError) -> bool:
    return getattr(error.__cause__, "code", None) == _NOT_ALLOWED
