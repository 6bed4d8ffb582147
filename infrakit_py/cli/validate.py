"""`infra validate`."""

import json
from pathlib import Path

import click

from infrakit_py.cli import options


@click.command()
@options.files
@options.as_json
@options.debug
def validate(positional: tuple[Path, ...], named: tuple[Path, ...], as_json: bool) -> None:
    """Check cluster files and report every mistake with file, line and column. No provider is asked."""
    from infrakit_py.app import App

    specs = App().load(options.chosen(positional, named))
    if as_json:
        found = [{"cluster": s.name, "file": s.source, "groups": list(s.groups), "valid": True} for s in specs]
        click.echo(json.dumps(found, indent=2))
        return
    for spec in specs:
        machines = sum(group.count for group in spec.groups.values())
        groups = f"{len(spec.groups)} group{'s' * (len(spec.groups) != 1)}"
        click.echo(
            f"{spec.source}: cluster {spec.name} is valid: {groups}, {machines} machine{'s' * (machines != 1)}"
        )
