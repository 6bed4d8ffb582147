"""`infra schema`."""

import json

import click

from infrakit_py.cli import options


@click.command()
@options.debug
def schema() -> None:
    """Print the JSON Schema of cluster files, with all installed plugins.

    \b
    infra schema > cluster.schema.json
    and as the first line of cluster.yml:
    # yaml-language-server: $schema=cluster.schema.json
    """
    from infrakit_py.loading import schema as schema_of
    from infrakit_py.plugins import InstalledPlugins

    click.echo(json.dumps(schema_of(InstalledPlugins()), indent=2, ensure_ascii=False))
