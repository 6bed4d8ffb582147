"""`infra plan`."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from infrakit_py.cli import options
from infrakit_py.errors import InfrakitError, SpecError

if TYPE_CHECKING:
    from infrakit_py.app import App
    from infrakit_py.cli.declared_in_git import Declared
    from infrakit_py.model.spec import ClusterSpec, Json
    from infrakit_py.render.plan_markdown import Planned

CHANGES: Final = 2
TEXT, JSON, MARKDOWN = "text", "json", "markdown"


@click.command()
@options.files
@options.groups
@click.option(
    "--from-git",
    "commits",
    metavar="BASE..HEAD",
    help="Plan the clusters that HEAD's files declare otherwise than where it left BASE, as for a pull request.",
)
@options.as_json
@click.option("--format", "form", type=click.Choice([TEXT, JSON, MARKDOWN]), help="How to write it; --json is one.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 where something would change.")
@click.option("--no-build", is_flag=True, help="Build no image; what one will be is then known after its build.")
@click.option("--explain", "--full", "explain", is_flag=True, help="Show every action of every wave.")
@options.allow_mass_destroy
@options.debug
def plan(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    commits: str | None,
    as_json: bool,
    form: str | None,
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
    from infrakit_py.cli.stopping import interrupted_by_signals
    from infrakit_py.render.plan import has_changes, needs_a_person

    if as_json and form not in (None, JSON):
        raise click.UsageError(f"--json and --format {form} are two ways to write it")
    form = JSON if as_json else form or TEXT
    app = App()
    with ExitStack() as stack:
        stack.enter_context(interrupted_by_signals())
        stack.enter_context(_failures_shown(form))
        declared = _declared(app, stack, (*positional, *named), commits)
        specs = declared.changed if no_build else with_images(app, declared.changed)
        show = _SHOWN[form]
        plans, documents = [], []
        for spec in specs:
            planned, document = _planned(app, spec, only, explain=explain, allow_mass_destroy=allow_mass_destroy)
            plans.append(planned)
            documents.append(document)
            if form == TEXT:
                click.echo(planned.text)
    changes = any(has_changes(planned.forecasts) for planned in plans)
    show(declared, plans, documents, changes)
    if any(needs_a_person(planned.forecasts) for planned in plans):
        return 1
    return CHANGES if changes and detailed_exitcode else 0


@contextmanager
def _failures_shown(form: str) -> Iterator[None]:
    """Write what went wrong as Markdown, too, where that was asked for: a pull request shall say it."""
    try:
        yield
    except InfrakitError as exc:
        if form == MARKDOWN:
            from infrakit_py.render.plan_markdown import failure_markdown, mistakes_markdown

            text = mistakes_markdown(exc.problems) if isinstance(exc, SpecError) else failure_markdown(exc)
            click.echo(text, nl=False)
        raise


def _declared(app: "App", stack: ExitStack, paths: tuple[Path, ...], commits: str | None) -> "Declared":
    """Return what is to be planned: what files declare, or what a range of commits changes of it."""
    from infrakit_py.cli.declared_in_git import Declared, declared_in

    if commits is None:
        return Declared(app.load(options.chosen(paths, ())))
    return stack.enter_context(declared_in(app, commits, paths))


def _planned(
    app: "App", spec: "ClusterSpec", only: Sequence[str], *, explain: bool, allow_mass_destroy: bool
) -> "tuple[Planned, Json]":
    """Plan one cluster. Return the plan as text, and as JSON."""
    from infrakit_py.app.looking import image_names, planned_costs
    from infrakit_py.cli.images_seen import image_changes, remarks
    from infrakit_py.render.plan import plan_json, plan_text
    from infrakit_py.render.plan_markdown import Planned

    with app.workbench(spec, only=only, allow_mass_destroy=allow_mass_destroy) as bench:
        forecasts = bench.plan()
        names, spent = image_names(bench), planned_costs(bench, forecasts)
        images, said = image_changes(app, bench, forecasts), remarks(app, bench.spec)
    text = plan_text(bench.spec, forecasts, names=names, costs=spent, images=images, remarks=said, explain=explain)
    document = plan_json(bench.spec, forecasts, names=names, costs=spent, images=images, remarks=said)
    return Planned(bench.spec, forecasts, text), document


def _as_text(declared: "Declared", plans: "Sequence[Planned]", documents: "Sequence[Json]", changes: bool) -> None:
    """Add to the plans, which are written already, what is not planned and why."""
    del documents, changes
    if declared.unchanged:
        click.echo(f"declared as before: {', '.join(declared.unchanged)}")
    if declared.left:
        click.echo(f"not declared any more, so their machines stay as they are: {', '.join(declared.left)}")
    if not plans and not declared.unchanged:
        click.echo("no cluster is declared")


def _as_json(declared: "Declared", plans: "Sequence[Planned]", documents: "Sequence[Json]", changes: bool) -> None:
    del plans
    about = {"unchanged": list(declared.unchanged), "left": list(declared.left)}
    document = {"clusters": documents, "changes": changes, **about}
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _as_markdown(
    declared: "Declared", plans: "Sequence[Planned]", documents: "Sequence[Json]", changes: bool
) -> None:
    from infrakit_py.render.plan_markdown import plans_markdown

    del documents, changes
    click.echo(plans_markdown(plans, declared.unchanged, declared.left), nl=False)


_Show = Callable[["Declared", "Sequence[Planned]", "Sequence[Json]", bool], None]
_SHOWN: Final[dict[str, _Show]] = {TEXT: _as_text, JSON: _as_json, MARKDOWN: _as_markdown}
