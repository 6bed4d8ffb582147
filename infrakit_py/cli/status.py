"""`infra status`."""

import json
from pathlib import Path

import click

from infrakit_py.cli import options, serving


@click.command()
@options.files
@options.groups
@serving.cluster
@serving.server
@options.as_json
@click.option("--watch", is_flag=True, help="With --server: show it again and again, until Ctrl-C.")
@options.debug
def status(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    cluster: str | None,
    server: serving.Server | None,
    as_json: bool,
    watch: bool,
) -> None:
    """Show the machines that exist, how they are, and what is still to be done.

    With --server: as the controller there saw them last, what it follows, and which controllers live.
    """
    if server is not None:
        from infrakit_py.cli.server_looking import show_status

        serving.refuse_files()
        if watch and as_json:
            raise click.UsageError(
                "--watch is for people, --json for programs: infra events --follow --json tells them"
            )
        return show_status(server, cluster, only, as_json=as_json, watch=watch)
    serving.refuse("cluster", "watch", why="is for --server only")
    from infrakit_py.app import App
    from infrakit_py.app.looking import image_names, present_costs, standings
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
    return None
