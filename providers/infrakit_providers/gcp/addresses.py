"""The static addresses of named members: reserved before their first machine, given to one machine after another.

Compute Engine takes no labels for an address that is made (API reference, Address.labels), but a description, which
nobody can change: that says whose it is, and labels follow for people.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.faults import AlreadyThere, NotThere
from infrakit_providers.gcp.fields import project_of
from infrakit_providers.gcp.instance_body import subnetwork_path
from infrakit_providers.gcp.kept import EXTERNAL, INTERNAL, Member, Promises, labels_of, others
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.names import address_of, kept_name
from infrakit_providers.gcp.operations import Operation, last
from infrakit_py.errors import NotOurs, ProviderError, Transient
from infrakit_py.spi.provider import Leftover, ProvisionRequest

ADDRESS: Final = "address"
_TAG: Final = "infrakit.address"
_KINDS: Final = {EXTERNAL: "external", INTERNAL: "internal"}
_FINISH_SECONDS: Final = 10.0
_RESERVING: Final = "RESERVING"
_DESCRIPTION: Final = re.compile(r"kept by infrakit for ([^/]+)/([^/]+)/([^/]+): (external|internal)")
_log: Final = structlog.get_logger("infrakit.gcp")


@dataclass(frozen=True, slots=True)
class _Address:
    """An address as Compute Engine shows it. `owner` and `kind` are what its description says."""

    region: str
    name: str
    ip: str
    users: tuple[str, ...]
    status: str
    subnetwork: str
    tier: str
    labels: Mapping[str, str]
    fingerprint: str
    owner: Member | None
    kind: str

    @property
    def id(self) -> str:
        return f"{self.region}/{self.name}"


class Addresses:
    """Safe for threads."""

    def __init__(self, caller: Caller, region: Callable[[], str]) -> None:
        self._caller = caller
        self._region = region

    def reserved(self, request: ProvisionRequest, member: Member, machine: Machine, kind: str) -> str:
        """Return a member's address (EXTERNAL or INTERNAL), after reserving it where there is none. Idempotent.

        Transient while it is being reserved, or a predecessor has it. ProviderError where it does not suit the
        machine.
        """
        name = _name(member, kind)
        seen = self._look(self._region(), name)
        if seen is None:
            self._reserve(request, member, machine, kind)
            seen = self._look(self._region(), name)
        what = f"{request.name}: its {_KINDS[kind]} address"
        if seen is None:
            raise Transient(f"{what} ({name}) is not there yet")
        what = f"{what} {seen.ip} ({seen.id})"
        if seen.owner != member:
            raise ProviderError(
                f"{what} is somebody else's", hint="give the member another name, or delete the address"
            )
        if seen.status == _RESERVING or not seen.ip:
            raise Transient(f"{what} is being reserved")
        self._check(what, machine, kind, seen)
        if holders := others(request, seen.users):
            raise Transient(f"{what} is still that of {holders[0]}")
        self._label(seen, labels_of(member, machine.labels, _TAG, _KINDS[kind]))
        return seen.ip

    def leftovers(self, cluster: str) -> list[Leftover]:
        """Return all addresses of a cluster in the region."""
        left = [
            Leftover(one.id, ADDRESS, f"{one.owner.key}: {one.ip}", one.owner.group)
            for one in self._listed(cluster)
            if one.owner is not None and one.owner.cluster == cluster
        ]
        return sorted(left, key=lambda one: (one.group, one.name, one.id))

    def remove(self, cluster: str, address_id: str, promised: Promises) -> Operation | None:
        """Begin to release a cluster's address that nobody has or will get. None: it is gone already."""
        path = address_of(address_id)
        seen = self._look(path.zone, path.name) if path is not None else None
        if seen is None:
            return None
        if seen.owner is None or seen.owner.cluster != cluster:
            raise NotOurs(f"gcp: address {address_id} is nothing that cluster {cluster} keeps")
        user = last(seen.users[0]) if seen.users else promised.get((seen.owner.group, seen.owner.key, seen.kind))
        if user is not None:
            raise ProviderError(f"gcp: address {seen.ip} ({address_id}) is in use by {user}")
        doing = f"release address {seen.ip} ({address_id})"
        try:
            operation = self._caller.act("addresses", "delete", doing, region=seen.region, address=seen.name)
        except NotThere:
            return None
        _log.info("address released", address=seen.ip)
        return operation

    def _look(self, region: str, name: str) -> _Address | None:
        doing = f"look at address {region}/{name}"
        try:
            return _address(self._caller.ask("addresses", "get", doing, region=region, address=name))
        except NotThere:
            return None

    def _listed(self, cluster: str) -> Iterator[_Address]:
        doing, ours = f"list the addresses of {cluster}", f'description eq "kept by infrakit for {cluster}/.*"'
        for page in self._caller.pages("addresses", "list", doing, region=self._region(), filter=ours):
            yield from map(_address, page.items)

    def _reserve(self, request: ProvisionRequest, member: Member, machine: Machine, kind: str) -> None:
        body = self._body(member, machine, kind)
        doing = f"reserve the {_KINDS[kind]} address of {request.name}"
        try:
            operation = self._caller.act("addresses", "insert", doing, region=self._region(), address_resource=body)
        except AlreadyThere:
            return  # somebody else was quicker
        self._caller.finish(operation, doing, within_seconds=_FINISH_SECONDS)
        _log.info("address reserved", member=member.name, name=body["name"])

    def _body(self, member: Member, machine: Machine, kind: str) -> dict[str, Any]:
        said = f"kept by infrakit for {member.cluster}/{member.group}/{member.key}: {_KINDS[kind]}"
        body: dict[str, Any] = {"name": _name(member, kind), "description": said}
        if kind == INTERNAL:
            subnetwork = _subnetwork(machine, self._region())
            return {**body, "address_type": "INTERNAL", "purpose": "GCE_ENDPOINT", "subnetwork": subnetwork}
        if machine.network_tier is not None:
            body["network_tier"] = machine.network_tier.upper()
        return {**body, "address_type": "EXTERNAL"}

    def _check(self, what: str, machine: Machine, kind: str, seen: _Address) -> None:
        """Raise ProviderError for an address that a machine cannot have: it was reserved for a machine unlike it."""
        wanted = last(_subnetwork(machine, self._region()))
        if kind == INTERNAL and seen.subnetwork != wanted:
            what = f"{what} is in subnetwork {seen.subnetwork}, and the machine in {wanted}"
        elif kind == EXTERNAL and machine.network_tier not in (None, seen.tier.lower()):
            what = f"{what} is of tier {seen.tier}, and the machine's is {str(machine.network_tier).upper()}"
        else:
            return
        raise ProviderError(what, hint="delete the address if it may change, and the next machine gets another")

    def _label(self, seen: _Address, labels: Mapping[str, str]) -> None:
        if labels.items() <= seen.labels.items():
            return
        body = {"labels": {**seen.labels, **labels}, "label_fingerprint": seen.fingerprint}
        doing = f"label address {seen.id}"
        self._caller.act(
            "addresses", "set_labels", doing, region=seen.region, resource=seen.name,
            region_set_labels_request_resource=body,
        )  # fmt: skip


def _name(member: Member, kind: str) -> str:
    return kept_name(member.cluster, member.group, member.key, f"{_KINDS[kind]}-ip")


def _subnetwork(machine: Machine, region: str) -> str:
    """Return the path of a machine's subnetwork. A network that makes its own gives them its name."""
    if machine.subnetwork is not None:
        return subnetwork_path(machine.subnetwork, region)
    network = machine.network or "default"
    path = subnetwork_path(last(network), region)
    project = project_of(network) if "/" in network else None
    return f"projects/{project}/{path}" if project else path


def _address(raw: Any) -> _Address:
    said = _DESCRIPTION.fullmatch(raw.description)
    return _Address(
        region=last(raw.region),
        name=raw.name,
        ip=raw.address,
        users=tuple(raw.users),
        status=raw.status,
        subnetwork=last(raw.subnetwork),
        tier=raw.network_tier,
        labels=dict(raw.labels),
        fingerprint=raw.label_fingerprint,
        owner=Member(said[1], said[2], said[3]) if said else None,
        kind=next((kind for kind, word in _KINDS.items() if said and word == said[4]), ""),
    )
