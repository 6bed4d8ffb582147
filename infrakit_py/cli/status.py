"""`infra status`."""

import json
from pathlib import Path

import click

from infrakit_py.cli import options


@click.command()
@options.files
@options.groups
@options.as_json
@options.debug
def status(positional: tuple[Path, ...], named: tuple[Path, ...], only: tuple[str, ...], as_json: bool) -> None:
    """Show the machines that exist, how they are, and what is still to be done."""
    from infrakit_py.app import App
    from infrakit_py.cli.looking import image_names, present_costs, standings
    from infrakit_py.render.status import status_json, status_text

    app = App()
    documents = []
    for number, spec in enumerate(app.load(options.chosen(positional, named), unsigned=True)):
        with app.workbench(spec, only=only) as bench:
            plans = bench.look()
            found = tuple(standings(bench, plans).values())
            names, spent = image_names(bench), present_costs(bench, plans)
        if as_json:
            documents.append(status_json(spec, found, names, spent))
        else:
            click.echo(("\n" if number else "") + status_text(spec, found, names, app.clock.now(), spent))
    if as_json:
        click.echo(json.dumps({"clusters": documents}, indent=2, ensure_ascii=False))
