"""`infra plugins`."""

import json
from dataclasses import asdict

import click

from infrakit_py.cli import options


@click.command()
@options.as_json
@options.debug
def plugins(as_json: bool) -> None:
    """List the installed providers, flavors and policies, and why one cannot be used."""
    from infrakit_py.plugins import InstalledPlugins
    from infrakit_py.render.tables import table

    found = InstalledPlugins().listing()
    if as_json:
        click.echo(json.dumps([asdict(plugin) for plugin in found], indent=2))
        return
    rows = [
        (p.kind, p.name, f"{p.distribution} {p.version}", f"cannot be used: {p.error}" if p.error else p.summary)
        for p in found
    ]
    click.echo(table(("KIND", "NAME", "PACKAGE", "SUMMARY"), rows))
