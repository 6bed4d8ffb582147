"""`infra withdraw`."""

import json

import click

from infrakit_py.cli import options, serving


@click.command()
@click.argument("cluster", metavar="CLUSTER", shell_complete=serving.known_clusters)
@serving.server
@click.option("--prune", is_flag=True, help="Destroy its machines, too.")
@click.option("--auto-approve", is_flag=True, help="Do not ask. Without a terminal, this is required.")
@options.as_json
@options.debug
def withdraw(cluster: str, server: serving.Server | None, prune: bool, auto_approve: bool, as_json: bool) -> None:
    """Let a controller keep a cluster no more.

    Its machines stay as they are, and nobody heals or replaces them, until somebody declares the cluster again. With
    --prune the controller destroys them.
    """
    from infrakit_py.cli.changing import approve
    from infrakit_py.cli.served import cluster as look_at
    from infrakit_py.remote.client import below

    client = serving.needed(server).client()
    _, found = look_at(client, cluster)
    machines = sum(len(group.machines) for group in found.groups)
    fate = f"all of its machines ({machines} now) are destroyed" if prune else f"its machines stay ({machines} now)"
    click.echo(f"{cluster} of {client.url}: {fate}, and nobody keeps it any more", err=as_json)
    if not approve("Do this?", auto_approve=auto_approve):
        raise click.Abort
    told = client.delete(below("clusters", cluster), {"prune": prune})
    if as_json:
        click.echo(json.dumps({**told}, ensure_ascii=False))
    else:
        click.echo(f"{cluster}: withdrawn" + ("; the controller destroys its machines" if prune else ""))
