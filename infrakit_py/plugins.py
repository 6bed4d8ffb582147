"""Finds plugins by their entry points, and imports one when it is asked for.

It knows none of them by name: ours are found as a third party's would be.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Final, cast

from infrakit_py.errors import PluginError
from infrakit_py.spi.flavor import FlavorPlugin
from infrakit_py.spi.policy import Policy
from infrakit_py.spi.provider import ProviderPlugin


class PluginKind(StrEnum):
    """What a plugin is for. The value is how people call it."""

    PROVIDER = "provider"
    FLAVOR = "flavor"
    POLICY = "policy"


_GROUPS: Final = {
    PluginKind.PROVIDER: "infrakit.providers",
    PluginKind.FLAVOR: "infrakit.flavors",
    PluginKind.POLICY: "infrakit.policies",
}
_CONTRACT: Final = {
    PluginKind.PROVIDER: ("summary", "settings", "machine", "review", "open"),
    PluginKind.FLAVOR: ("summary", "options", "open"),
    PluginKind.POLICY: ("decide",),
}


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """One entry point, for people. `error` says why it cannot be used; empty if it can."""

    name: str
    kind: PluginKind
    distribution: str
    version: str
    summary: str = ""
    error: str = ""


class InstalledPlugins:
    """The plugins of this Python environment. A plugin is imported once, at the first call that names it.

    Every lookup raises PluginError for a name that is not installed, that two packages claim, or whose
    plugin cannot be imported or lacks a part of its contract.
    """

    def __init__(self) -> None:
        self._imported: dict[tuple[PluginKind, str], object] = {}

    def provider(self, name: str) -> ProviderPlugin:
        return cast(ProviderPlugin, self._plugin(PluginKind.PROVIDER, name))

    def flavor(self, kind: str) -> FlavorPlugin:
        return cast(FlavorPlugin, self._plugin(PluginKind.FLAVOR, kind))

    def policy(self, name: str) -> Policy:
        return cast(Policy, self._plugin(PluginKind.POLICY, name))

    def provider_names(self) -> tuple[str, ...]:
        return tuple(self._found[PluginKind.PROVIDER])

    def flavor_names(self) -> tuple[str, ...]:
        return tuple(self._found[PluginKind.FLAVOR])

    def listing(self) -> tuple[InstalledPlugin, ...]:
        """Import every plugin and describe it; one that cannot be used is listed with the reason."""
        return tuple(
            self._described(kind, name, entry)
            for kind, named in self._found.items()
            for name, entries in named.items()
            for entry in entries
        )

    @cached_property
    def _found(self) -> Mapping[PluginKind, Mapping[str, Sequence[EntryPoint]]]:
        return {kind: _by_name(group) for kind, group in _GROUPS.items()}

    def _plugin(self, kind: PluginKind, name: str) -> object:
        if (kind, name) not in self._imported:
            self._imported[kind, name] = _imported(kind, self._entry(kind, name))
        return self._imported[kind, name]

    def _entry(self, kind: PluginKind, name: str) -> EntryPoint:
        entries = self._found[kind].get(name, ())
        if not entries:
            raise PluginError(f"no {kind} plugin {name!r} is installed{_suggestion(name, tuple(self._found[kind]))}")
        if len(entries) > 1:
            packages = " and ".join(sorted(_distribution(entry)[0] for entry in entries))
            raise PluginError(
                f"{kind} plugin {name!r} is claimed by {packages}", hint="uninstall all but one of them"
            )
        return entries[0]

    def _described(self, kind: PluginKind, name: str, entry: EntryPoint) -> InstalledPlugin:
        distribution, version = _distribution(entry)
        try:
            plugin = self._plugin(kind, name)
        except PluginError as exc:
            return InstalledPlugin(name, kind, distribution, version, error=str(exc))
        summary = getattr(plugin, "summary", "") or (type(plugin).__doc__ or "").strip().partition("\n")[0]
        return InstalledPlugin(name, kind, distribution, version, summary=summary)


def _by_name(group: str) -> dict[str, list[EntryPoint]]:
    named: dict[str, list[EntryPoint]] = {}
    for entry in sorted(set(entry_points(group=group)), key=lambda entry: (entry.name, _distribution(entry))):
        named.setdefault(entry.name, []).append(entry)
    return named


def _imported(kind: PluginKind, entry: EntryPoint) -> object:
    package, version = _distribution(entry)
    called = f"{kind} plugin {entry.name!r} ({package} {version})".replace(" )", ")")
    try:
        plugin: object = entry.load()
    except ModuleNotFoundError as exc:
        raise PluginError(
            f"{called} cannot be loaded: {exc}",
            hint=f"pip install '{package}[{entry.name}]' may bring what is missing",
        ) from exc
    except Exception as exc:  # a plugin is somebody else's code: whatever its import raises is reported as its fault
        raise PluginError(f"{called} cannot be loaded: {type(exc).__name__}: {exc}") from exc
    lacking = [part for part in _CONTRACT[kind] if not hasattr(plugin, part)]
    if lacking:
        raise PluginError(f"{called} breaks its contract: it has no {', '.join(lacking)}")
    return plugin


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("an unknown package", "")


def _suggestion(name: str, names: Sequence[str]) -> str:
    if not names:
        return "; none is"
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; installed are: {', '.join(names)}"
