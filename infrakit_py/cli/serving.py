"""Options by which a command asks a controller far away, in place of files and machines here."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from infrakit_py.remote.client import Client

F = TypeVar("F", bound=Callable[..., Any])

SERVER: Final = "INFRAKIT_SERVER"
TOKEN: Final = "INFRAKIT_TOKEN"
_COMPLETION_SECONDS: Final = 2.0


class Revision(click.ParamType[tuple[str, int]]):
    """`CLUSTER=N`."""

    name = "cluster=n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        cluster, _, number = str(value).partition("=")
        if not cluster or not (number.isascii() and number.isdecimal()):
            self.fail(f"{value!r} is not CLUSTER=N, such as shop=7", param, ctx)
        return cluster, int(number)


@dataclass(frozen=True, slots=True)
class Server:
    """A controller as a user names it. Nothing is sent to it, and no file is read, before `client` is called."""

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None

    def client(self, timeout_seconds: float = 30.0) -> "Client":
        """Return who asks it. UsageError where that cannot be: no such address, no token in the file."""
        from infrakit_py.remote.address import address, read_token
        from infrakit_py.remote.client import Client

        token = read_token(self.token_file) if self.token_file is not None else os.environ.get(TOKEN, "").strip()
        return Client(address(self.url, token=token, ca_file=self.ca_file), timeout_seconds)


def server(command: F) -> F:
    """Take --server, --token-file and --ca; the command is given a `Server`, or None where no server is named."""

    @wraps(command)
    def called(*args: Any, server: str | None, token_file: Path | None, ca: Path | None, **more: Any) -> Any:
        return command(*args, server=Server(server, token_file, ca) if server else None, **more)

    path = click.Path(path_type=Path, dir_okay=False)
    for option in (
        click.option(
            "--ca", metavar="FILE", type=path, envvar="INFRAKIT_CA", help="Who signed its certificate (PEM)."
        ),
        click.option(
            "--token-file",
            metavar="FILE",
            type=path,
            help=f"Holds the token to show it; default: what {TOKEN} holds.",
        ),
        click.option("--server", metavar="URL", envvar=SERVER, help="Ask the controller there, by its API."),
    ):
        called = option(called)
    return called  # type: ignore[return-value]  # it is called as the command is, by click alone


def needed(server: Server | None) -> Server:
    """Return the server. UsageError where none is named."""
    if server is None:
        from infrakit_py.errors import UsageError

        raise UsageError("this asks a controller, and none is named", hint=f"use --server URL, or set {SERVER}")
    return server


def refuse(*names: str, why: str) -> None:
    """Raise UsageError where one of these parameters of the command was given on the command line."""
    from infrakit_py.errors import UsageError

    ctx = click.get_current_context()
    given = [p for p in ctx.command.params if p.name in names and _is_given(ctx, p)]
    for parameter in given:
        shown = max(parameter.opts, key=len) if isinstance(parameter, click.Option) else parameter.make_metavar(ctx)
        raise UsageError(f"{shown} {why}")


def refuse_files() -> None:
    """Raise UsageError where files were named: a controller knows by itself what is declared."""
    why = f"and --server (or {SERVER}) exclude each other: a server has clusters of its own; --server '' for none"
    refuse("positional", "named", why=why)


def _is_given(ctx: click.Context, parameter: click.Parameter) -> bool:
    name = parameter.name or ""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE and ctx.params.get(name) not in ((), None)


def known_clusters(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete a cluster's name by those of the server that the command line names so far."""
    del param
    return [name for name in _told(ctx, "/v1/clusters", "clusters", "cluster") if name.startswith(incomplete)]


def group_names(ctx: click.Context) -> list[str] | None:
    """Return the groups of the server that the command line names so far; None where it names none."""
    if not ctx.params.get("server"):
        return None
    wanted = ctx.params.get("cluster")
    clusters = [wanted] if wanted else _told(ctx, "/v1/clusters", "clusters", "cluster")
    found = (name for cluster in clusters for name in _told(ctx, f"/v1/clusters/{cluster}", "groups", "group"))
    return list(dict.fromkeys(found))


def _told(ctx: click.Context, path: str, part: str, key: str) -> list[str]:
    """Return names that a server tells; none where it cannot be asked: completion never fails."""
    from infrakit_py.errors import InfrakitError

    url = ctx.params.get("server")
    if not url:
        return []
    try:
        client = Server(url, ctx.params.get("token_file"), ctx.params.get("ca")).client(_COMPLETION_SECONDS)
        told = client.get(path).get(part)
    except InfrakitError:
        return []
    entries = told if isinstance(told, list) else []
    return [str(entry[key]) for entry in entries if isinstance(entry, dict) and key in entry]


cluster = click.option(
    "--cluster", metavar="NAME", help="Only this cluster of the server's.", shell_complete=known_clusters
)
