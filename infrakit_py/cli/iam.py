"""`infra iam`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click

from infrakit_py.cli import options
from infrakit_py.errors import PluginError, UsageError

if TYPE_CHECKING:
    from infrakit_py.model.spec import ClusterSpec, ProviderSpec
    from infrakit_py.plugins import InstalledPlugins
    from infrakit_py.spi.provider import Permitting

    Entry: TypeAlias = tuple[ClusterSpec, ProviderSpec]


def _known_plugins(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from infrakit_py.cli.completing import provider_plugins

    del ctx, param
    return [name for name in provider_plugins() if name.startswith(incomplete)]


@click.command()
@click.argument("plugin", metavar="PLUGIN", shell_complete=_known_plugins)
@options.files
@click.option("--cluster", metavar="NAME", help="Of several clusters, this one.")
@click.option("--provider", metavar="NAME", help="Of several providers of the plugin, the one of this name.")
@options.debug
def iam(
    plugin: str, positional: tuple[Path, ...], named: tuple[Path, ...], cluster: str | None, provider: str | None
) -> None:
    """Print the least permissions that a cluster needs at a provider, in the form in which the vendor takes them.

    PLUGIN is the provider's plugin, as in the file. Nothing is opened, and nobody is asked.
    """
    from infrakit_py.app import App
    from infrakit_py.cli.examining import wanted_of

    app = App()
    knows = _permitting(app.plugins, plugin)
    specs = app.load(options.chosen(positional, named))
    entries = [(spec, entry) for spec in specs for entry in spec.providers.values() if entry.plugin == plugin]
    if not entries:
        files = ", ".join(dict.fromkeys(spec.source for spec in specs))
        raise UsageError(f"{files}: no provider has the plugin {plugin!r}")
    spec, entry = _one(entries, cluster, provider)
    click.echo(knows.permissions(spec.name, entry.settings, wanted_of(spec, entry.name)).rstrip("\n"))


def _permitting(plugins: "InstalledPlugins", name: str) -> "Permitting":
    """Return the plugin. UsageError where there is none, or it has nothing to say."""
    from infrakit_py.spi.provider import Permitting

    try:
        plugin = plugins.provider(name)
    except PluginError as exc:
        if name in plugins.provider_names():
            raise
        raise UsageError(str(exc), hint="infra plugins lists them") from exc
    if not isinstance(plugin, Permitting):
        raise UsageError(f"provider plugin {name!r} does not say which permissions it needs")
    return plugin


def _one(entries: "Sequence[Entry]", cluster: str | None, provider: str | None) -> "Entry":
    """Choose one: permissions of two clusters, or at two accounts, make no document together."""
    chosen = [(s, p) for s, p in entries if cluster in (None, s.name) and provider in (None, p.name)]
    if len(chosen) == 1:
        return chosen[0]
    ways = "choose " + " or ".join(
        f"--cluster {spec.name} --provider {entry.name}" for spec, entry in chosen or entries
    )
    if not chosen:
        raise UsageError("no provider of the plugin is called so", hint=ways)
    raise UsageError(f"{len(chosen)} providers have the plugin, and each needs permissions of its own", hint=ways)
