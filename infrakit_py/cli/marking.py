"""`infra protect`, `infra unprotect`, `infra replace`: a person's word on machines, written on them as a tag."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from infrakit_py.cli import options
from infrakit_py.model import tags

if TYPE_CHECKING:
    from infrakit_py.model.instance import Member

F = TypeVar("F", bound=Callable[..., Any])

THEN = "the next apply, or the controller that runs, replaces what is marked, within its group's budget"


def _machines(command: F) -> F:
    """Take `[FILE] MACHINE...` and -f."""
    path = click.Path(path_type=Path, allow_dash=True)
    command = click.option("-f", "--file", "named", type=path, multiple=True, help="Cluster file or directory.")(
        command
    )
    return click.argument("words", metavar="[FILE] MACHINE...", nargs=-1, required=True)(command)


@click.command()
@_machines
@options.groups
@options.debug
def protect(words: tuple[str, ...], named: tuple[Path, ...], only: tuple[str, ...]) -> int:
    """Keep machines as they are, until they are unprotected.

    They are never destroyed by this program: not by a rollout, nor when they fail, nor when their group shrinks.
    A machine is named as `infra status` shows it (web-0), or by its id.
    """
    return _mark(words, named, only, {tags.PROTECTED: "true"}, (), said="is protected")


@click.command()
@_machines
@options.groups
@options.debug
def unprotect(words: tuple[str, ...], named: tuple[Path, ...], only: tuple[str, ...]) -> int:
    """Lift the protection of machines."""
    return _mark(words, named, only, {}, (tags.PROTECTED,), said="is not protected any more")


@click.command()
@_machines
@options.groups
@click.option("--cancel", is_flag=True, help="Take the mark away from machines that are not replaced yet.")
@click.option("--auto-approve", is_flag=True, help="Do not ask. Without a terminal, this is required.")
@options.debug
def replace(
    words: tuple[str, ...], named: tuple[Path, ...], only: tuple[str, ...], cancel: bool, auto_approve: bool
) -> int:
    """Mark machines for replacement by new ones of the same version, as a rollout replaces outdated ones."""
    from infrakit_py.cli.changing import approve

    if cancel:
        return _mark(words, named, only, {}, (tags.REPLACE,), said="stays")

    def agreed(chosen: "Sequence[Member]") -> bool:
        for member in chosen:
            kept = "  it is protected, and stays until infra unprotect" if member.protected else ""
            click.echo(click.style(f"- replace  {member.name}", fg="yellow") + f"  {member.id}{kept}")
        return approve("Mark this for replacement?", auto_approve=auto_approve)

    code = _mark(words, named, only, {tags.REPLACE: "true"}, (), said="is marked for replacement", agreed=agreed)
    click.echo(THEN)
    return code


def _mark(
    words: tuple[str, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    set_tags: Mapping[str, str],
    remove_tags: tuple[str, ...],
    *,
    said: str,
    agreed: "Callable[[Sequence[Member]], bool]" = lambda _: True,
) -> int:
    from infrakit_py.app import App
    from infrakit_py.cli.machines import mark, members
    from infrakit_py.cli.machines import named as found_by_name
    from infrakit_py.errors import UsageError

    paths, machines = _sorted_out(words, named)
    app = App()
    specs = app.load(options.chosen(paths, named), unsigned=True)
    if len(specs) != 1:
        raise UsageError(f"{len(specs)} clusters are declared there: machines are named in one at a time")
    with app.workbench(specs[0], only=only) as bench:
        chosen = found_by_name(bench.spec.name, members(bench), machines)
        if not agreed(chosen):
            raise click.Abort
        errors = mark(bench, chosen, set_tags, remove_tags)
    for member, error in zip(chosen, errors, strict=True):
        if error is None:
            click.echo(f"{bench.spec.name}: {member.name} ({member.id}) {said}")
        else:
            click.echo(f"{bench.spec.name}: {member.name} ({member.id}): {error}", err=True)
    return 1 if any(errors) else 0


def _sorted_out(words: tuple[str, ...], named: tuple[Path, ...]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Tell the file, if the first word is one, from the machines."""
    first = words[0]
    is_file = not named and (first == "-" or first.endswith((".yml", ".yaml")) or Path(first).exists())
    paths, machines = ((Path(first),), words[1:]) if is_file else ((), words)
    if not machines:
        raise click.UsageError("no machine named")
    return paths, machines
