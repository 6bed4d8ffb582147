"""`infra apply`."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click

from infrakit_py.cli import options, serving

_LOCAL: Final = ("only", "allow_mass_destroy", "parallelism")
_REMOTE: Final = ("check", "dry_run", "expected", "wait")


@click.command()
@options.files
@options.groups
@serving.server
@click.option("--wait", is_flag=True, help="With --server: until it is done there, with its events.")
@click.option("--dry-run", is_flag=True, help="With --server: only let it be validated there.")
@click.option(
    "--no-check", "check", is_flag=True, flag_value=False, default=True, help="With --server: validate there only."
)
@click.option(
    "--expected",
    type=serving.Revision(),
    multiple=True,
    help="With --server: only if this revision is in force (0: none is); may be repeated.",
)
@options.as_json
@options.allow_mass_destroy
@options.changing
@options.debug
def apply(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    server: serving.Server | None,
    wait: bool,
    dry_run: bool,
    check: bool,
    expected: tuple[tuple[str, int], ...],
    as_json: bool,
    allow_mass_destroy: bool,
    auto_approve: bool,
    timeout: float,
    parallelism: int,
) -> int:
    """Bring clusters to what their files declare.

    Builds images that are not built yet, shows the plan, asks, and then boots and replaces machines until all are as
    declared. It may be stopped and repeated at any time: what was done stays done, and nothing is done twice.

    With --server: sends the files and what they refer to to a controller, which keeps the clusters so from then on.
    Environment variables in the files, and files named by absolute paths, are the controller's.
    """
    if server is not None:
        from infrakit_py.cli.server_apply import declare

        serving.refuse(*_LOCAL, why="is for changes made from here; with --server the controller decides that")
        return declare(
            server,
            options.chosen(positional, named),
            check=check,
            dry_run=dry_run,
            expected=dict(expected),
            wait=wait,
            timeout_seconds=timeout,
            as_json=as_json,
        )
    serving.refuse(*_REMOTE, why="is for --server only")
    from infrakit_py.app import App
    from infrakit_py.app.looking import image_names, planned_costs
    from infrakit_py.cli.building import with_images
    from infrakit_py.cli.changing import approve, carry_out, is_settled, joined, planned, progress, report, workable
    from infrakit_py.cli.images_seen import image_changes, remarks
    from infrakit_py.render.plan import has_changes, plan_json, plan_text

    app = App()
    worst = 0
    specs = with_images(app, app.load(options.chosen(positional, named)), as_events=as_json)
    with ExitStack() as stack:
        store = stack.enter_context(app.store())
        benches = []
        for spec in specs:  # all of them first: what cannot be done shows before anything is touched
            stack.enter_context(store.exclusive(spec.name))
            opened = app.workbench(
                spec, store, only=only, parallelism=parallelism, allow_mass_destroy=allow_mass_destroy
            )
            benches.append(stack.enter_context(opened))
        for bench in benches:
            forecasts = bench.plan()
            names, spent = image_names(bench), planned_costs(bench, forecasts)
            images, said = image_changes(app, bench, forecasts), remarks(app, bench.spec)
            if as_json:
                shown_plan = plan_json(bench.spec, forecasts, names=names, costs=spent, images=images, remarks=said)
                click.echo(json.dumps(shown_plan, ensure_ascii=False))
            else:
                shown_text = plan_text(bench.spec, forecasts, names=names, costs=spent, images=images, remarks=said)
                click.echo(shown_text)
            bench.remember_good(forecasts)
            settlement = planned(forecasts)
            if auto_approve or not all(is_settled(forecast) for forecast in forecasts):
                question = "Do this?" if has_changes(forecasts) else "Wait for it, and act where needed?"
                if not approve(question, auto_approve=auto_approve):
                    raise click.Abort
                with progress(as_json=as_json) as shown:
                    groups = workable(bench.cluster, forecasts)
                    done = carry_out(bench, shown, groups, timeout_seconds=timeout, names=names)
                settlement = joined(settlement, done)
            code = report(bench.spec.name, settlement, as_json=as_json, names=names)
            if code > 1:
                return code
            worst = max(worst, code)
    return worst
