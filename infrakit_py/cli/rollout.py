"""`infra rollout`: where rollouts stand, and a person's word on them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from infrakit_py.cli import options, serving

if TYPE_CHECKING:
    from infrakit_py.app import Rollouts

THEN = "the next apply, or the controller that runs, acts on it"
THERE = "the controller acts on it when it looks at the group next"


@click.group()
def rollout() -> None:
    """Show how rollouts stand; pause them, go on, or go back."""


@rollout.command()
@options.files
@options.groups
@serving.cluster
@serving.server
@options.as_json
@options.debug
def status(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    cluster: str | None,
    server: serving.Server | None,
    as_json: bool,
) -> None:
    """Show where each group's rollout stands, and what it waits for. Touches nothing."""
    if _is_elsewhere(server):
        from infrakit_py.cli.server_looking import show_rollouts

        return show_rollouts(serving.needed(server), cluster, only, as_json=as_json)
    from infrakit_py.app import App
    from infrakit_py.app.looking import image_names, standings
    from infrakit_py.render.standing import rollout_document, standing_json, standing_text

    app = App()
    documents = []
    for number, spec in enumerate(app.load(options.chosen(positional, named))):
        with app.workbench(spec, only=only) as bench:
            found = standings(bench, bench.look())
            names = image_names(bench)
        if as_json:
            groups = [standing_json(rollout_document(standing, names)) for standing in found.values()]
            documents.append({"cluster": spec.name, "file": spec.source, "groups": groups})
            continue
        click.echo(("\n" if number else "") + click.style(f"Cluster {spec.name}", bold=True) + f" ({spec.source})")
        for standing in found.values():
            click.echo("\n" + standing_text(rollout_document(standing, names), app.clock.now()))
    if as_json:
        click.echo(json.dumps({"clusters": documents}, indent=2, ensure_ascii=False))
    return None


@rollout.command()
@options.files
@options.groups
@serving.cluster
@serving.server
@options.as_json
@click.option("--reason", default="", metavar="TEXT", help="Why, for whoever finds it paused.")
@options.debug
def pause(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    cluster: str | None,
    server: serving.Server | None,
    as_json: bool,
    reason: str,
) -> None:
    """Hold rollouts where they are. Failed machines are replaced all the same."""
    if _is_elsewhere(server):
        return _say_there(serving.needed(server), "pause", cluster, only, reason, as_json=as_json)
    from infrakit_py.app.deciding import pause_group

    with _opened(positional, named, only) as opened:
        _say(
            [(r.cluster, g.name, pause_group(r, g, reason)) for r in opened for g in r.groups.values()],
            as_json=as_json,
        )
    return None


@rollout.command()
@options.files
@options.groups
@serving.cluster
@serving.server
@options.as_json
@options.debug
def resume(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    cluster: str | None,
    server: serving.Server | None,
    as_json: bool,
) -> None:
    """Let paused rollouts go on, and try versions again that failed or were undone.

    Machines that failed before now no longer count against them.
    """
    if _is_elsewhere(server):
        return _say_there(serving.needed(server), "resume", cluster, only, "", as_json=as_json)
    from infrakit_py.app.deciding import resume_group

    with _opened(positional, named, only) as opened:
        _say([(r.cluster, g.name, resume_group(r, g)) for r in opened for g in r.groups.values()], as_json=as_json)
    return None


@rollout.command()
@options.files
@options.groups
@serving.cluster
@serving.server
@options.as_json
@click.option("--reason", default="", metavar="TEXT", help="Why, for the history.")
@options.debug
def undo(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    cluster: str | None,
    server: serving.Server | None,
    as_json: bool,
    reason: str,
) -> None:
    """Go back to the last good version, until the file declares another one or the rollout is resumed.

    Without --group: the groups whose declared version is not good yet.
    """
    if _is_elsewhere(server):
        return _say_there(serving.needed(server), "undo", cluster, only, reason, as_json=as_json)
    from infrakit_py.app.deciding import to_undo, undo_group
    from infrakit_py.errors import UsageError

    with _opened(positional, named, only) as opened:
        # All of them first: half of an undo helps nobody.
        found = [(rollouts, *chosen) for rollouts in opened for chosen in to_undo(rollouts, named=bool(only))]
        if not found:
            raise UsageError(
                "every group is at what its file declares: there is nothing to undo",
                hint="name a group with --group to go back all the same",
            )
        _say([(r.cluster, g.name, undo_group(r, g, record, reason)) for r, g, record in found], as_json=as_json)
    return None


@rollout.command()
@options.files
@options.groups
@serving.cluster
@serving.server
@options.as_json
@click.option("-n", "--number", "most", type=click.IntRange(1), metavar="N", help="Only the latest N entries.")
@options.debug
def history(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    only: tuple[str, ...],
    cluster: str | None,
    server: serving.Server | None,
    as_json: bool,
    most: int | None,
) -> None:
    """List what became of the versions of groups, the latest last."""
    if _is_elsewhere(server):
        from infrakit_py.cli.server_looking import show_history

        return show_history(serving.needed(server), cluster, only, most, as_json=as_json)
    from infrakit_py.app import App
    from infrakit_py.render.history import history_json, history_text

    app = App()
    documents = []
    for spec in app.load(options.chosen(positional, named)):
        entries = [entry for entry in app.history(spec.name) if not only or entry.group in only]
        entries = entries[-most:] if most else entries
        if as_json:
            documents.append({"cluster": spec.name, "entries": [history_json(entry) for entry in entries]})
        else:
            click.echo(click.style(f"Cluster {spec.name}", bold=True) + f" ({spec.source})")
            click.echo(history_text(entries))
    if as_json:
        click.echo(json.dumps({"clusters": documents}, indent=2, ensure_ascii=False))
    return None


def _is_elsewhere(server: serving.Server | None) -> bool:
    """Tell whether a server is asked. UsageError for what is given and means nothing then."""
    if server is not None:
        serving.refuse_files()
        return True
    serving.refuse("cluster", why="is for --server only")
    return False


def _say_there(
    server: serving.Server, word: str, cluster: str | None, only: Sequence[str], reason: str, *, as_json: bool
) -> None:
    """Give a person's word to a controller far away: about one cluster, named or the only one that it has."""
    from infrakit_py.cli.served import told_word

    _say(told_word(server.client(), word, cluster, only, reason), as_json=as_json, then=THERE)


def _say(done: Sequence[tuple[str, str, str]], *, as_json: bool, then: str = THEN) -> None:
    """Tell what was done to which group of which cluster, and that it is not all."""
    if as_json:
        said = [{"cluster": cluster, "group": group, "text": text} for cluster, group, text in done]
        click.echo(json.dumps({"done": said, "then": then}, indent=2, ensure_ascii=False))
        return
    for cluster, _, text in done:
        click.echo(f"{cluster}: {text}")
    click.echo(then)


@contextmanager
def _opened(
    positional: tuple[Path, ...], named: tuple[Path, ...], only: tuple[str, ...]
) -> "Iterator[Sequence[Rollouts]]":
    """Open what is remembered of each cluster. Its lock is not taken: whoever holds it reads what is written here."""
    from infrakit_py.app import App

    app = App()
    specs = app.load(options.chosen(positional, named))
    with app.store() as store:
        yield [app.rollouts(spec, store, only=only) for spec in specs]
