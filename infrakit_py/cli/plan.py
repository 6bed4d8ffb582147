"""`infra plan`."""

import json
from pathlib import Path

import click

from infrakit_py.cli import options

CHANGES = 2


@click.command()
@options.files
@options.groups
@options.as_json
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 where something would change.")
@click.option("--no-build", is_flag=True, help="Build no image; what one will be is then known after its build.")
@click.option("--explain", "--full", "explain", is_flag=True, help="Show every action of every wave.")
@options.allow_mass_destroy
@options.debug
def plan(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    as_json: bool,
    detailed_exitcode: bool,
    no_build: bool,
    explain: bool,
    allow_mass_destroy: bool,
) -> int:
    """Show what apply would do, wave by wave, and touch nothing.

    Images that are built from LinuxKit YAML are built here if they were not before, because what they are decides
    which machines are replaced.
    """
    from infrakit_py.app import App
    from infrakit_py.cli.building import with_images
    from infrakit_py.cli.images_seen import image_changes, remarks
    from infrakit_py.cli.looking import image_names, planned_costs
    from infrakit_py.render.plan import has_changes, needs_a_person, plan_json, plan_text

    app = App()
    changes = held = False
    documents = []
    specs = app.load(options.chosen(positional, named))
    for spec in specs if no_build else with_images(app, specs):
        with app.workbench(spec, only=only, allow_mass_destroy=allow_mass_destroy) as bench:
            forecasts = bench.plan()
            names, spent = image_names(bench), planned_costs(bench, forecasts)
            images, said = image_changes(app, bench, forecasts), remarks(app, bench.spec)
        changes = changes or has_changes(forecasts)
        held = held or needs_a_person(forecasts)
        if as_json:
            document = plan_json(bench.spec, forecasts, names=names, costs=spent, images=images, remarks=said)
            documents.append(document)
        else:
            text = plan_text(
                bench.spec, forecasts, names=names, costs=spent, images=images, remarks=said, explain=explain
            )
            click.echo(text)
    if as_json:
        click.echo(json.dumps({"clusters": documents, "changes": changes}, indent=2, ensure_ascii=False))
    if held:
        return 1
    return CHANGES if changes and detailed_exitcode else 0
