"""`infra store`: what is remembered, taken out of one store and into another."""

import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from infrakit_py.cli import options

if TYPE_CHECKING:
    from infrakit_py.app import App
    from infrakit_py.stores.transfer import Exported, Transfer

_STANDARD: Final = Path("-")
_WARNING: Final = "what is remembered holds secrets (user data, options of flavors): keep this output to yourself"

_config = click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The store of the controller with this configuration, instead of this user's.",
)


@click.group()
def store() -> None:
    """Take what is remembered to another store, or keep a copy of it."""


@store.command("export")
@click.option("--cluster", "only", multiple=True, metavar="NAME", help="Only this cluster; may be repeated.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True, dir_okay=False),
    default=_STANDARD,
    metavar="FILE",
    help="Write to this file, for its owner alone, instead of standard output.",
)
@click.option("--events", is_flag=True, help="With what happened, as far as that is remembered.")
@_config
@options.as_json
@options.debug
def export(only: tuple[str, ...], output: Path, events: bool, config: Path | None, as_json: bool) -> None:
    """Write all that is remembered of clusters as one JSON document, secrets among it. Changes nothing."""
    from infrakit_py.app import App
    from infrakit_py.stores.document import happened, of_clusters, written
    from infrakit_py.stores.files import write_private

    if as_json and output == _STANDARD:
        raise click.UsageError("--json sums up what -o FILE holds: name a file")
    with opened_store(App(), config, writing=False) as opened:
        chosen = _chosen(opened.clusters(), only)
        summary: list[dict[str, Any]] = []
        sources = opened.sources() if not only else of_clusters(opened.sources(), chosen)
        parts = written(_dumped(opened, chosen, summary), sources, happened(opened, only or None) if events else None)
        if output == _STANDARD:
            click.echo(_WARNING, err=True)
            sys.stdout.writelines(parts)
        else:
            write_private(output, parts)
    _warn_of_left_out(summary)
    if as_json:
        click.echo(json.dumps({"file": str(output), "clusters": summary, "sources": sorted(sources)}, indent=2))
    elif output != _STANDARD:
        for line in summary:
            click.echo(f"exported {_sentence(line)}")
        click.echo(f"{output} holds secrets, and only you can read it")


@store.command("import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False), metavar="FILE")
@click.option("--replace", "replacing", is_flag=True, help="In place of what is remembered of these clusters.")
@_config
@options.as_json
@options.debug
def import_(file: Path, replacing: bool, config: Path | None, as_json: bool) -> None:
    """Remember what `infra store export` wrote to FILE. All of it is checked before anything is written.

    Clusters of which something is remembered already are refused without --replace.
    """
    from infrakit_py.app import App
    from infrakit_py.stores.document import read
    from infrakit_py.stores.moving import take_in

    document = read(_text(file), str(file))
    summary = {cluster: _summed(cluster, exported) for cluster, exported in document.clusters.items()}

    def said(cluster: str) -> None:
        if not as_json:
            click.echo(f"imported {_sentence(summary[cluster])}")

    with opened_store(App(), config, writing=True) as opened:
        take_in(opened, document, said, replacing=replacing)
    if as_json:
        done = {
            "clusters": list(summary.values()),
            "sources": sorted(document.sources),
            "events": len(document.events),
        }
        click.echo(json.dumps(done, indent=2))
    elif not summary:
        click.echo(f"{file} holds no cluster; nothing to import")


@contextmanager
def opened_store(app: "App", config: Path | None, *, writing: bool) -> Iterator["Transfer"]:
    """Open the store that a controller's configuration names, or this user's.

    In a shared one, who is `writing` is a member for that time, as a controller would be: nobody else can own what is
    written to.
    """
    from infrakit_py.app.lease import Lease
    from infrakit_py.loading.controller_file import load_controller
    from infrakit_py.spi.claims import ONLOOKER

    name = f"store-{socket.gethostname()}-{os.getpid()}"
    address = load_controller(config, app.environment, name).etcd if config is not None else None
    if address is None:
        with app.store() as own:
            yield own
        return
    with app.shared_store(address, name) as (shared, claims):
        lease = Lease(claims, lambda: None) if writing else None
        if lease is not None:
            lease.start()
            claims.announce(ONLOOKER)
        try:
            yield shared
        finally:
            if lease is not None:
                lease.stop()


def _chosen(there: Sequence[str], only: Sequence[str]) -> Sequence[str]:
    from infrakit_py.errors import UsageError

    for name in only:
        if name not in there:
            raise UsageError(f"nothing is remembered of a cluster {name!r} (there are {', '.join(there) or 'none'})")
    return [name for name in there if not only or name in only]


def _dumped(
    opened: "Transfer", clusters: Sequence[str], summary: list[dict[str, Any]]
) -> Iterator[tuple[str, "Exported"]]:
    """Yield the clusters one at a time, and sum up each that went by."""
    for cluster in clusters:
        exported = opened.dump(cluster)
        summary.append({**_summed(cluster, exported), "left_out": exported.left_out})
        yield cluster, exported


def _summed(cluster: str, exported: "Exported") -> dict[str, Any]:
    return {
        "cluster": cluster,
        "in_force": exported.in_force.revision if exported.in_force is not None else None,
        "revisions": len(exported.revisions),
        "versions": len(exported.versions),
        "intents": len(exported.intents),
        "history": len(exported.history),
    }


def _sentence(line: Mapping[str, Any]) -> str:
    what = f"revision {line['in_force']} in force" if line["in_force"] else "nothing declared"
    counts = ", ".join(_counted(line[part], part) for part in ("revisions", "versions", "intents"))
    return f"{line['cluster']}: {what}, {counts}"


def _counted(count: int, things: str) -> str:
    return f"{count} {things[:-1] if count == 1 else things}"


def _warn_of_left_out(summary: Sequence[Mapping[str, Any]]) -> None:
    for line in summary:
        if line["left_out"]:
            message = f"{line['cluster']}: left out {line['left_out']} that this release cannot read"
            click.echo(f"{click.style('warning', fg='yellow')}: {message}", err=True)


def _text(file: Path) -> str:
    """Return what a file holds. SpecError where it is no text."""
    from infrakit_py.errors import Problem, SpecError, UsageError

    try:
        return sys.stdin.buffer.read().decode() if file == _STANDARD else file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise SpecError([Problem(str(file), 0, 0, f"no UTF-8 at byte {exc.start}")]) from None
    except OSError as exc:
        raise UsageError(f"cannot read {file}: {exc.strerror}") from exc
