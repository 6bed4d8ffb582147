"""`infra sources`."""

import json

import click

from infrakit_py.cli import options, serving


@click.command()
@serving.server
@options.as_json
@options.debug
def sources(server: serving.Server | None, as_json: bool) -> None:
    """Show what a controller follows: what is in force, in progress, and refused, with every mistake."""
    from infrakit_py.cli import served
    from infrakit_py.clock import SystemClock
    from infrakit_py.render.server_status import sources_text

    client = serving.needed(server).client()
    if as_json:
        found = {"sources": served.listed(client, "sources", key="sources")}
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        click.echo(sources_text(served.sources(client), SystemClock().now()))
