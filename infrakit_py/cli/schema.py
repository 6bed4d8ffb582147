"""`infra schema`."""

import json

import click

from infrakit_py.cli import options


@click.command()
@click.option("--controller", "of_controller", is_flag=True, help="Of a controller's configuration instead.")
@options.debug
def schema(of_controller: bool) -> None:
    """Print the JSON Schema of cluster files, with all installed plugins.

    \b
    infra schema > cluster.schema.json
    and as the first line of cluster.yml:
    # yaml-language-server: $schema=cluster.schema.json
    """
    from infrakit_py.loading.schema import controller_schema
    from infrakit_py.loading.schema import schema as schema_of
    from infrakit_py.plugins import InstalledPlugins

    found = controller_schema() if of_controller else schema_of(InstalledPlugins())
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
