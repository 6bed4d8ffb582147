"""What the kept things of named members have in common: whose they are, and who holds or is promised them.

It knows neither disks nor addresses apart.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from infrakit_providers.gcp import labels as written
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.faults import NotThere
from infrakit_providers.gcp.machine import Machine
from infrakit_providers.gcp.names import Address, address_of, name_of
from infrakit_providers.gcp.notes import gathered, noted, spread
from infrakit_providers.gcp.operations import last
from infrakit_py.errors import IncompleteView, ProviderError
from infrakit_py.model import tags
from infrakit_py.spi.provider import ProvisionRequest

EXTERNAL: Final = "external_ip"
INTERNAL: Final = "internal_ip"
"""In notes, beside the names of disks: those have no underscores."""
_NOTE: Final = "keeps"
_EMPTY: Final = "NO_RESULTS_ON_PAGE"
_MACHINES: Final = "items/*/instances(name,labels),items/*/warning/code,unreachables,nextPageToken"


class Member(NamedTuple):
    """Whose a kept thing is."""

    cluster: str
    group: str
    key: str

    @property
    def name(self) -> str:
        return f"{self.cluster}/{self.key}"


def member_of(request: ProvisionRequest) -> Member:
    """Return the member that a request is for. ProviderError for an interchangeable machine."""
    if request.data_key is None:
        raise ProviderError(
            f"{request.name}: only a named machine keeps disks and addresses", hint="use logical_ids, not size"
        )
    return Member(request.tags[tags.CLUSTER], request.tags[tags.GROUP], request.data_key)


def labels_of(member: Member, user: Mapping[str, str], key: str, what: str) -> dict[str, str]:
    """Return the labels of a kept thing: ours, with the tag that says what it is, win over the user's."""
    owner = {tags.CLUSTER: member.cluster, tags.GROUP: member.group, tags.LOGICAL_ID: member.key}
    return {**user, **written.written({**owner, key: what}).labels}


def owner_in(labels: Mapping[str, str]) -> Member | None:
    """Return the member that labels name."""
    own = written.read(labels)
    found = [own.get(key, "") for key in (tags.CLUSTER, tags.GROUP, tags.LOGICAL_ID)]
    return Member(*found) if all(found) else None


def notes(machine: Machine) -> dict[str, str]:
    """Return the labels that say which of its member's things a machine is to have."""
    words = [disk.name for disk in machine.data_disks]
    words += [EXTERNAL] if machine.external_ip == "static" else []
    words += [INTERNAL] if machine.internal_ip == "static" else []
    return spread(_NOTE, words)


def kept_by(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a machine's notes promise it: names of disks, EXTERNAL, INTERNAL."""
    return gathered(_NOTE, labels)


def others(request: ProvisionRequest, users: Sequence[str]) -> list[str]:
    """Return those machines among the users of a thing that are not the request's own."""
    own = name_of(request.tags)
    return [last(user) for user in users if last(user) != own]


Promises = Mapping[tuple[str, str, str], str]
"""Which machine shall have something that it may not hold yet: by group, key, and the word of its notes, the
machine's id. What is promised is in use.
"""


def promises(caller: Caller, cluster: str, new: Collection[str] = ()) -> Promises:
    """Return what the notes of a cluster's machines promise them, until they are gone.

    `new` are machines so new that listings may miss them. IncompleteView for one that even by its id is not known.
    """
    found = dict(_promised(caller, cluster))
    for instance_id in new:
        if instance_id not in found and (address := address_of(instance_id)) is not None:
            found[instance_id] = _labels(caller, cluster, address)
    promised: dict[tuple[str, str, str], str] = {}
    for instance_id, labels in found.items():
        owner = owner_in(labels)
        if owner is not None and owner.cluster == cluster:
            promised |= {(owner.group, owner.key, word): instance_id for word in kept_by(labels)}
    return promised


def scoped(page: Any, member: str) -> Iterator[tuple[str, Any]]:
    """Yield the things on a page of an aggregated listing, with the zone or region that each is in.

    IncompleteView where a zone or region did not answer.
    """
    lost = {scope for scope, listed in page.items.items() if listed.warning.code not in ("", _EMPTY)}
    if lost := {last(scope) for scope in lost.union(page.unreachables)}:
        raise IncompleteView(f"gcp: cannot tell what there is in {', '.join(sorted(lost))}: it does not answer")
    for scope, listed in page.items.items():
        for one in getattr(listed, member):
            yield last(scope), one


def _promised(caller: Caller, cluster: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    doing = f"list the machines of {cluster}"
    ours = f"({written.filter_of(cluster)}) ({noted(_NOTE)})"
    for page in caller.pages("instances", "aggregated_list", doing, fields=_MACHINES, filter=ours):
        for zone, one in scoped(page, "instances"):
            yield Address(zone, one.name).id, dict(one.labels)


def _labels(caller: Caller, cluster: str, address: Address) -> Mapping[str, str]:
    try:
        raw = caller.ask("instances", "get", f"look at {address.id}", zone=address.zone, instance=address.name)
    except NotThere as exc:
        what = f"gcp: cannot tell yet what {address.id} is to get of what {cluster} keeps"
        raise IncompleteView(what) from exc
    return dict(raw.labels)
