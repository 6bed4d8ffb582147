"""What a controller far away tells, asked for and read: as it was sent, for programs, and as values, for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from infrakit_py.errors import UsageError
from infrakit_py.model.spec import Json
from infrakit_py.remote.client import Client, below
from infrakit_py.remote.faults import ServerError
from infrakit_py.render.documents import GroupDocument
from infrakit_py.render.server_documents import ClusterDocument, ControllerDocument, HappeningDocument, SourceDocument
from infrakit_py.stores.codec import Unreadable, decoded

T = TypeVar("T")

LIMIT: Final = 10_000
"""Events that a server tells at once, at most."""


def read(kind: type[T], told: Json, client: Client) -> T:
    """Return a document as a value. ServerError where it is none."""
    try:
        return cast(T, decoded(kind, told))
    except Unreadable as exc:
        raise ServerError(
            f"server {client.url} tells what this release cannot read ({kind.__name__}: {exc})",
            hint="use the release that runs there",
        ) from exc


def listed(
    client: Client, *steps: str, key: str, query: Mapping[str, str | int | bool | None] | None = None
) -> Sequence[Json]:
    """Return the list that a server's answer holds."""
    return listed_in(client.get(below(*steps), query), key, client)


def listed_in(told: Mapping[str, Json], key: str, client: Client) -> Sequence[Json]:
    """Return the list that a document holds. ServerError where there is none."""
    found = told.get(key)
    if not isinstance(found, list):
        raise ServerError(f"server {client.url} tells no {key}", hint="is this the address of a controller's API?")
    return found


def cluster_names(client: Client, wanted: str | None) -> list[str]:
    """Return the clusters that a command is about: the one that is named, or all. UsageError if it is not there."""
    names = [summary.cluster for summary in summaries(client)]
    if wanted is None:
        return names
    if wanted not in names:
        raise UsageError(f"server {client.url} has no cluster {wanted!r} (there are {', '.join(names) or 'none'})")
    return [wanted]


def one_cluster(client: Client, wanted: str | None) -> str:
    """Return the cluster that a change is about: the one that is named, or the only one there is."""
    names = cluster_names(client, wanted)
    if len(names) != 1:
        there = ", ".join(names) or "none"
        raise UsageError(f"server {client.url} has several clusters, or none: {there}", hint="name one by --cluster")
    return names[0]


def summaries(client: Client) -> list[ClusterDocument]:
    """Return all clusters, without their groups."""
    return [read(ClusterDocument, told, client) for told in listed(client, "clusters", key="clusters")]


def cluster(client: Client, name: str) -> tuple[Mapping[str, Json], ClusterDocument]:
    """Return one cluster with its groups, as it was sent and as a value."""
    told = client.get(below("clusters", name))
    return told, read(ClusterDocument, told, client)


def chosen_groups(found: ClusterDocument, only: Sequence[str], client: Client) -> tuple[GroupDocument, ...]:
    """Return the groups that are named, or all. UsageError for one that is not there."""
    there = [group.group for group in found.groups]
    for name in only:
        if name not in there:
            known = ", ".join(there) or "none"
            raise UsageError(f"no group {name!r} in cluster {found.cluster} of {client.url} (there are {known})")
    return tuple(group for group in found.groups if not only or group.group in only)


@dataclass(frozen=True, slots=True)
class _Done:
    cluster: str
    group: str
    text: str


def told_word(
    client: Client, word: str, wanted: str | None, only: Sequence[str], reason: str
) -> list[tuple[str, str, str]]:
    """Give a person's word (`pause`, `resume`, `undo`) on rollouts; return what was done to which group."""
    body: dict[str, Json] = {"groups": list(only)} if only else {}
    body |= {"reason": reason} if reason else {}
    told = client.post(below("clusters", one_cluster(client, wanted), "rollout", word), body)
    done = [read(_Done, one, client) for one in listed_in(told, "done", client)]
    return [(one.cluster, one.group, one.text) for one in done]


def sources(client: Client) -> list[SourceDocument]:
    return [read(SourceDocument, told, client) for told in listed(client, "sources", key="sources")]


def controllers(client: Client) -> list[ControllerDocument]:
    return [read(ControllerDocument, told, client) for told in listed(client, "controllers", key="controllers")]


def latest_event(client: Client) -> int:
    """Return the number of what happened last; 0 where nothing has."""
    found = happenings(client, after=None, cluster=None, limit=1)
    return found[-1].id if found else 0


def happenings(
    client: Client, *, after: int | None, cluster: str | None, limit: int = LIMIT
) -> list[HappeningDocument]:
    """Return what happened after an event, the oldest first; the latest where `after` is None."""
    query = {"after": after, "cluster": cluster, "limit": limit}
    return [read(HappeningDocument, told, client) for told in listed(client, "events", key="events", query=query)]
