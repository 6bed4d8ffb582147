"""`infra scale`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from infrakit_py.cli import options, serving

if TYPE_CHECKING:
    from infrakit_py.remote.client import Client


class _Sizes(click.ParamType[tuple[str, int]]):
    """`GROUP=N`."""

    name = "group=n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        group, _, number = str(value).partition("=")
        if not group or not (number.isascii() and number.isdecimal()):
            self.fail(f"{value!r} is not GROUP=N, such as web=5", param, ctx)
        return group, int(number)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        del param
        names = serving.group_names(ctx) or []
        return [CompletionItem(f"{name}=") for name in names if name.startswith(incomplete)]


@dataclass(frozen=True, slots=True)
class _Scaled:
    """What became of a group's size. `before` is None where nobody has looked at the group yet."""

    cluster: str
    group: str
    size: int
    revision: int
    changed: bool
    before: int | None = None


@click.command()
@click.argument("sizes", metavar="GROUP=N...", type=_Sizes(), nargs=-1, required=True)
@serving.cluster
@serving.server
@click.option("--expected", type=click.IntRange(1), metavar="REVISION", help="Only if this revision is in force.")
@click.option("--auto-approve", is_flag=True, help="Do not ask where a group would lose more than half.")
@options.as_json
@options.debug
def scale(
    sizes: tuple[tuple[str, int], ...],
    cluster: str | None,
    server: serving.Server | None,
    expected: int | None,
    auto_approve: bool,
    as_json: bool,
) -> None:
    """Change how many machines groups of a controller's cluster have.

    Each change is a revision, in force until the cluster's source declares something new. Nothing is changed if
    another revision got in force since this command looked.
    """
    from infrakit_py.cli.changing import approve
    from infrakit_py.cli.served import chosen_groups, one_cluster
    from infrakit_py.cli.served import cluster as look_at

    client = serving.needed(server).client()
    name = one_cluster(client, cluster)
    _, found = look_at(client, name)
    before = {group.group: group.wanted for group in chosen_groups(found, (), client)}
    losing = _losing(before, sizes)
    for text in losing:
        click.echo(f"{name}/{text}", err=True)
    if losing and not approve("Lose more than half?", auto_approve=auto_approve):
        raise click.Abort
    revision = expected if expected is not None else found.revision
    for group, size in sizes:
        scaled = _scale(client, name, group, size, revision, before.get(group))
        revision = scaled.revision
        click.echo(_json(scaled) if as_json else _text(scaled))


def _losing(before: Mapping[str, int], sizes: Sequence[tuple[str, int]]) -> list[str]:
    """Say which groups would lose more than half of their machines."""
    return [f"{group}: {before[group]} → {size}" for group, size in sizes if 2 * size < before.get(group, 0)]


def _scale(client: "Client", cluster: str, group: str, size: int, expected: int, before: int | None) -> _Scaled:
    from dataclasses import replace

    from infrakit_py.cli.served import read
    from infrakit_py.remote.client import below

    told = client.post(below("clusters", cluster, "groups", group, "scale"), {"size": size, "expected": expected})
    return replace(read(_Scaled, {**told}, client), before=before)


def _text(scaled: _Scaled) -> str:
    whose = f"{scaled.cluster}/{scaled.group}"
    if not scaled.changed:
        return f"{whose}: {scaled.size} already, revision {scaled.revision}"
    before = "?" if scaled.before is None else scaled.before
    return f"{whose}: {before} → {scaled.size}, revision {scaled.revision}"


def _json(scaled: _Scaled) -> str:
    from infrakit_py.stores.codec import encoded

    return json.dumps(encoded(scaled), ensure_ascii=False)
