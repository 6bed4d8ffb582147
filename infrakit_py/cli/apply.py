"""`infra apply`."""

import json
from pathlib import Path

import click

from infrakit_py.cli import options


@click.command()
@options.files
@options.groups
@options.as_json
@click.option("--allow-mass-destroy", is_flag=True, help="Go on where a group would lose more than half.")
@options.changing
@options.debug
def apply(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    as_json: bool,
    allow_mass_destroy: bool,
    auto_approve: bool,
    timeout: float,
    parallelism: int,
) -> int:
    """Bring clusters to what their files declare.

    Shows the plan, asks, and then boots and replaces machines until all are as declared. It may be stopped
    and repeated at any time: what was done stays done, and nothing is done twice.
    """
    from infrakit_py.app import App
    from infrakit_py.cli.changing import approve, carry_out, progress, report
    from infrakit_py.render.plan import has_changes, plan_json, plan_text

    app = App()
    worst = 0
    specs = app.load(options.chosen(positional, named))
    with app.store() as store:
        for spec in specs:
            with (
                store.exclusive(spec.name),
                app.workbench(
                    spec, store, only=only, parallelism=parallelism, allow_mass_destroy=allow_mass_destroy
                ) as bench,
            ):
                forecasts = bench.plan()
                if as_json:
                    click.echo(json.dumps(plan_json(spec, forecasts), ensure_ascii=False))
                else:
                    click.echo(plan_text(spec, forecasts))
                if has_changes(forecasts) and not approve("Do this?", auto_approve=auto_approve):
                    raise click.Abort
                with progress(as_json=as_json) as shown:
                    settlement = carry_out(bench, shown, timeout_seconds=timeout)
            code = report(spec.name, settlement, as_json=as_json)
            if code > 1:
                return code
            worst = max(worst, code)
    return worst
