"""Status and rollouts of a controller far away, shown as those from here are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import click

from infrakit_py.cli.served import LIMIT, chosen_groups, cluster, cluster_names, controllers, listed, read, sources
from infrakit_py.cli.serving import Server
from infrakit_py.clock import Clock, SystemClock
from infrakit_py.model.revision import HistoryEntry
from infrakit_py.model.spec import Json
from infrakit_py.remote.client import Client
from infrakit_py.remote.faults import ServerError
from infrakit_py.render.history import history_json, history_text
from infrakit_py.render.server_documents import ClusterDocument, HistoryDocument, history_entry
from infrakit_py.render.server_status import cluster_text, controllers_text, rollouts_text, sources_text
from infrakit_py.render.standing import standing_json

_REFRESH_SECONDS: Final = 2.0


def show_status(server: Server, name: str | None, only: Sequence[str], *, as_json: bool, watch: bool) -> None:
    """Show clusters, sources and controllers; with `watch` again and again, until the command is interrupted."""
    client, clock = server.client(), SystemClock()
    if not watch:
        click.echo(_status_json(client, name, only) if as_json else _status_text(client, name, only, clock))
        return
    shown = _status_text(client, name, only, clock)
    while True:
        click.clear()
        click.echo(shown)
        clock.sleep(_REFRESH_SECONDS)
        try:
            shown = _status_text(client, name, only, clock)
        except ServerError as exc:
            shown = f"{click.style('error', fg='red')}: {exc}; trying again"


def show_rollouts(server: Server, name: str | None, only: Sequence[str], *, as_json: bool) -> None:
    """Show where the rollouts of groups stand."""
    client, clock = server.client(), SystemClock()
    found = [one for _, one in _clusters(client, name, only)]
    if as_json:
        documents = [
            {"cluster": one.cluster, "revision": one.revision, "groups": [standing_json(g) for g in one.groups]}
            for one in found
        ]
        click.echo(json.dumps({"clusters": documents}, indent=2, ensure_ascii=False))
    else:
        click.echo("\n\n".join(rollouts_text(one, clock.now()) for one in found) or _nothing(client))


def show_history(server: Server, name: str | None, only: Sequence[str], most: int | None, *, as_json: bool) -> None:
    """List what became of the versions of groups, the latest last."""
    client = server.client()
    documents = []
    for cluster_name in cluster_names(client, name):
        entries = _history(client, cluster_name, only, most)
        if as_json:
            documents.append({"cluster": cluster_name, "entries": [history_json(entry) for entry in entries]})
        else:
            click.echo(click.style(f"Cluster {cluster_name}", bold=True))
            click.echo(history_text(entries))
    if as_json:
        click.echo(json.dumps({"clusters": documents}, indent=2, ensure_ascii=False))


def _status_text(client: Client, name: str | None, only: Sequence[str], clock: Clock) -> str:
    now = clock.now()
    parts = [cluster_text(found, now) for _, found in _clusters(client, name, only)] or [_nothing(client)]
    return "\n\n".join([*parts, sources_text(sources(client), now), controllers_text(controllers(client))])


def _status_json(client: Client, name: str | None, only: Sequence[str]) -> str:
    clusters = [
        {**told, "groups": [group for group in _listed(told, "groups") if not only or _name(group) in only]}
        for told, _ in _clusters(client, name, only)
    ]
    document = {
        "clusters": clusters,
        "sources": listed(client, "sources", key="sources"),
        "controllers": listed(client, "controllers", key="controllers"),
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _clusters(
    client: Client, name: str | None, only: Sequence[str]
) -> list[tuple[Mapping[str, Json], ClusterDocument]]:
    """Return the clusters that are asked for, as they were sent and as values, with the groups that are asked for."""
    found = []
    for one in cluster_names(client, name):
        told, read_cluster = cluster(client, one)
        found.append((told, replace(read_cluster, groups=chosen_groups(read_cluster, only, client))))
    return found


def _history(client: Client, cluster_name: str, only: Sequence[str], most: int | None) -> list[HistoryEntry]:
    query = {"group": only[0] if len(only) == 1 else None, "limit": LIMIT}
    told = listed(client, "clusters", cluster_name, "history", key="entries", query=query)
    entries = [history_entry(read(HistoryDocument, one, client)) for one in told]
    entries = [entry for entry in entries if not only or entry.group in only]
    return entries[-most:] if most else entries


def _nothing(client: Client) -> str:
    return f"server {client.url} has no clusters"


def _listed(told: Mapping[str, Json], key: str) -> Sequence[Json]:
    found = told.get(key)
    return found if isinstance(found, list) else ()


def _name(group: Json) -> Json:
    return group.get("group") if isinstance(group, Mapping) else None
