"""Options that several commands share, and what they mean."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from infrakit_py.model.quantities import parse_duration

F = TypeVar("F", bound=Callable[..., Any])

_DEFAULT_FILE: Final = Path("cluster.yml")


class Duration(click.ParamType[float]):
    """An option's duration, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


def files(command: F) -> F:
    """Take spec files by position and by -f."""
    path = click.Path(path_type=Path, allow_dash=True)
    command = click.option("-f", "--file", "named", type=path, multiple=True, help="Cluster file or directory.")(
        command
    )
    return click.argument("positional", metavar="[FILE]...", type=path, nargs=-1)(command)


def chosen(positional: tuple[Path, ...], named: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return the files to read: those given, else ./cluster.yml."""
    if paths := (*positional, *named):
        return paths
    if _DEFAULT_FILE.exists():
        return (_DEFAULT_FILE,)
    raise click.UsageError("no cluster file given, and there is no ./cluster.yml")


def _known_groups(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete a group's name by the files that the command line names so far."""
    from infrakit_py.cli import serving
    from infrakit_py.cli.completing import group_names

    del param
    told = serving.group_names(ctx)
    return [
        name for name in (group_names(_files_so_far(ctx)) if told is None else told) if name.startswith(incomplete)
    ]


def _known_images(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete an image's name by the files that the command line names so far."""
    from infrakit_py.cli.completing import image_names

    del param
    return [name for name in image_names(_files_so_far(ctx)) if name.startswith(incomplete)]


def _files_so_far(ctx: click.Context) -> tuple[Path, ...]:
    named = (*(ctx.params.get("positional") or ()), *(ctx.params.get("named") or ()))
    # While the option that is typed has no value yet, click leaves words unread that have no option's name.
    words = tuple(Path(word) for word in (*(ctx.params.get("words") or ()), *ctx.args))
    return named or words or (_DEFAULT_FILE,)


groups = click.option(
    "--group",
    "-g",
    "only",
    multiple=True,
    metavar="NAME",
    help="Only this group; may be repeated.",
    shell_complete=_known_groups,
)
images = click.option(
    "--image",
    "-i",
    "only",
    multiple=True,
    metavar="NAME",
    help="Only this image; may be repeated.",
    shell_complete=_known_images,
)
one_image = click.argument("name", metavar="IMAGE", shell_complete=_known_images)
as_json = click.option("--json", "as_json", is_flag=True, help="Write JSON for programs.")


allow_mass_destroy = click.option(
    "--allow-mass-destroy",
    is_flag=True,
    help="Go on where a group would lose more than half, change its kind, or has left the file.",
)


def debug(command: F) -> F:
    """Take --debug: log why things are done or not, and show tracebacks."""

    def configure(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        del ctx, param
        configure_logging(logging.DEBUG if value else logging.CRITICAL)

    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=configure,
        help="Log to standard error, and show tracebacks.",
    )(command)


class _StandardError:
    """Where log lines go. That nobody reads them any more is no reason to stop the work."""

    def msg(self, line: str) -> None:
        try:
            click.echo(line, err=True)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())

    debug = info = warning = error = critical = exception = msg


def configure_logging(level: int, *, as_json: bool = False) -> None:
    """Send structlog's events of at least `level` to standard error, one line each."""
    import structlog

    keys = ["timestamp", "level", "event"]
    in_logfmt = structlog.processors.LogfmtRenderer(key_order=keys)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer() if as_json else in_logfmt,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_names: _StandardError(),
        cache_logger_on_first_use=True,
    )


def changing(command: F) -> F:
    """Take the options of commands that change the world."""
    for option in (
        click.option("--auto-approve", is_flag=True, help="Do not ask. Without a terminal, this is required."),
        click.option(
            "--timeout",
            type=Duration(),
            default="30m",
            show_default=True,
            help="Give up after this long; what was done stays done.",
        ),
        click.option(
            "--parallelism",
            type=click.IntRange(1, 256),
            default=10,
            show_default=True,
            help="Calls to providers at once.",
        ),
    ):
        command = option(command)
    return command
