"""`infra controller`."""

import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event as Flag
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Final

import click

from infrakit_py.cli import options
from infrakit_py.cli.failure import show
from infrakit_py.cli.stopping import asked_to_reload, stopped_by_signals
from infrakit_py.cli.supervising import READY, STOPPING, TURNS, tell_supervisor
from infrakit_py.errors import InfrakitError, SpecError, UsageError
from infrakit_py.model.controller import ApiAddress, ControllerSettings, GitSource, LogFormat

if TYPE_CHECKING:
    from infrakit_py.app import App
    from infrakit_py.app.background_builds import Declaration
    from infrakit_py.images.builds import Progress as BuildProgress
    from infrakit_py.model.declared import Occurrence
    from infrakit_py.render.progress import Progress

_ENVIRONMENT: Final = "INFRAKIT_CONTROLLER"
"""With an option's name it is an environment variable for that option: INFRAKIT_CONTROLLER_CONFIG."""


@click.command(context_settings={"auto_envvar_prefix": _ENVIRONMENT})
@options.files
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Set up all of it by this file; SIGHUP reads it again.",
    show_envvar=True,
)
@click.option("--git", "url", metavar="URL", help="Follow a branch of this repository; FILEs lie in it.")
@click.option("--branch", default="main", show_default=True, help="With --git: which branch.")
@click.option(
    "--poll",
    type=options.Duration(),
    default="30s",
    show_default=True,
    help="With --git: how often the repository is asked.",
)
@click.option(
    "--allowed-signers",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --git: who must have signed its newest commit (by ssh keys; see ssh-keygen(1), ALLOWED SIGNERS).",
)
@click.option("--prune", is_flag=True, help="Destroy the machines of clusters that leave the files.")
@click.option(
    "--listen", metavar="HOST:PORT", help="Open the HTTP API there. Others than this machine need --config: TLS."
)
@click.option(
    "--tokens",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --listen: lines of NAME, read or write, and a token.",
)
@click.option("--check", is_flag=True, help="Only say whether the configuration is valid; touch nothing.")
@options.as_json
@options.allow_mass_destroy
@click.option(
    "--parallelism",
    type=click.IntRange(1, 256),
    default=10,
    show_default=True,
    help="Calls to providers at once, for each cluster; where one of them hangs, others still get a few.",
)
@options.debug
@click.pass_context
def controller(
    context: click.Context,
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    config: Path | None,
    url: str | None,
    branch: str,
    poll: float,
    allowed_signers: Path | None,
    prune: bool,
    listen: str | None,
    tokens: Path | None,
    check: bool,
    as_json: bool,
    allow_mass_destroy: bool,
    parallelism: int,
) -> int:
    """Keep clusters as their files declare, until told to stop by SIGTERM or SIGINT.

    Asks nothing: what the files declare is done, what is lost is replaced, and a file that changes is taken up
    within seconds. A file with mistakes is reported, and the last good one kept. A stop lets calls that have
    begun end; a second signal ends at once. SIGHUP reads everything anew.
    """
    from infrakit_py.app import App
    from infrakit_py.app.running import running
    from infrakit_py.cli.changing import progress

    app = App()
    if config is not None:
        _nothing_beside_config(context)
        read = partial(_configured, config, app.environment)
    else:
        if url is None and allowed_signers is not None:
            raise click.UsageError("--allowed-signers is about the commits of --git")
        paths = (*positional, *named) if url is not None else options.chosen(positional, named)
        if Path("-") in paths:
            raise UsageError(
                "a controller reads its files again and again, standard input but once", hint="use files"
            )
        given = ControllerSettings(
            name=_default_name(),
            files=() if url is not None else tuple(paths),
            git=GitSource(url, branch, tuple(paths), poll, allowed_signers) if url is not None else None,
            prune=prune,
            api=_api(listen, tokens),
            parallelism=parallelism,
            allow_mass_destroy=allow_mass_destroy,
        )
        read = partial(_given, given)
    settings = read()
    if check:
        return _checked(config, as_json=as_json)
    if config is not None and "--debug" not in sys.argv:
        level = logging.getLevelNamesMapping()[settings.log_level.upper()]
        options.configure_logging(level, as_json=settings.log_format is LogFormat.JSON)
    stop = Flag()
    with progress(as_json=as_json) as shown:
        voice = _Voice(shown, as_json=as_json)
        build = partial(_built, app, stop)
        with ExitStack() as stack:
            stack.enter_context(stopped_by_signals(stop, shown))
            asked = stack.enter_context(asked_to_reload(stop))
            at_work = stack.enter_context(running(app, settings, voice, build))
            shown.follow(at_work.host.fleet.statuses)
            tell_supervisor(READY)
            at_work.run(stop, partial(_each_turn, asked, partial(_reload, at_work.reload, read, voice)))
            tell_supervisor(STOPPING)
            at_work.announcer.say("-", "stopping", "at the next safe point; a second signal stops at once")
        voice.say("-", "stopped", "run the controller again to go on from here", app.clock.now())
    return 0


def _built(app: "App", stop: Flag, declared: "Declaration", progress: "BuildProgress") -> "Declaration":
    """Build what is not built, until the stop: that ends the command as Ctrl-C does."""
    from infrakit_py.cli.building import warn_unpinned

    try:
        done = app.build(declared, progress, stop=stop)
    except InfrakitError as exc:
        if stop.is_set() and current_thread() is main_thread():
            raise KeyboardInterrupt from exc
        raise
    warn_unpinned(done)
    return done


def _nothing_beside_config(context: click.Context) -> None:
    """Refuse what the file says as well: nobody shall have to guess which of them counts."""
    beside = {"as_json", "check", "config"}
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name not in beside and source not in (None, click.core.ParameterSource.DEFAULT):
            said = "FILE" if name == "positional" else max(parameter.opts, key=len)
            raise click.UsageError(f"{said} and --config exclude each other: the file says all of it")


def _configured(config: Path, environment: Mapping[str, str]) -> ControllerSettings:
    from infrakit_py.loading.controller_file import load_controller

    return load_controller(config, environment, _default_name())


def _checked(config: Path | None, *, as_json: bool) -> int:
    what = str(config) if config is not None else "the command line"
    click.echo(json.dumps({"config": what, "valid": True}) if as_json else f"{what} is valid")
    return 0


def _given(settings: ControllerSettings) -> ControllerSettings:
    return settings


def _default_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


def _api(listen: str | None, tokens: Path | None) -> ApiAddress | None:
    from infrakit_py.loading.controller_file import checked_api, split_listen

    if listen is None:
        if tokens is not None:
            raise click.UsageError("--tokens is about the API of --listen")
        return None
    try:
        host, port = split_listen(listen)
    except ValueError as exc:
        raise click.UsageError(f"--listen {exc}") from exc
    api = ApiAddress(host, port, tokens=tokens)
    if why := checked_api(api):
        raise UsageError(f"--listen {listen}: {why}", hint="use --config, where TLS can be set up")
    return api


def _each_turn(asked: Flag, reload: Callable[[], None]) -> None:
    tell_supervisor(TURNS)
    if asked.is_set():
        asked.clear()
        reload()
        tell_supervisor(READY)


def _reload(
    take_up: Callable[[ControllerSettings], None], read: Callable[[], ControllerSettings], voice: "_Voice"
) -> None:
    """Read the configuration again. One with mistakes is reported, and that before stays."""
    try:
        take_up(read())
    except InfrakitError as exc:
        voice.complain(exc)


class _Voice:
    """Says what happens, each line with its cluster. Where nobody reads it the work goes on."""

    def __init__(self, shown: "Progress", *, as_json: bool) -> None:
        self._shown = shown
        self._as_json = as_json

    def hear(self, occurrence: "Occurrence") -> None:
        from infrakit_py.engine.events import Event, EventKind

        if occurrence.group == "-" and (occurrence.cluster == "-" or occurrence.kind not in set(EventKind)):
            self.say(occurrence.cluster, occurrence.kind, occurrence.text, occurrence.at)
            return
        if occurrence.kind not in set(EventKind):
            self.say(f"{occurrence.cluster}/{occurrence.group}", occurrence.kind, occurrence.text, occurrence.at)
            return
        event = Event(occurrence.at, EventKind(occurrence.kind), occurrence.group, occurrence.text, occurrence.fields)
        if self._as_json:
            event = replace(event, fields={"cluster": occurrence.cluster, **event.fields})
        else:
            event = replace(event, group=f"{occurrence.cluster}/{event.group}")
        self._shown.tell(event)

    def say(self, cluster: str, event: str, text: str, at: float) -> None:
        """Say what happens to a whole cluster, or to the controller."""
        now = datetime.fromtimestamp(at, UTC)
        if self._as_json:
            when = now.isoformat(timespec="milliseconds")
            line = json.dumps({"at": when, "event": event, "cluster": cluster, "text": text}, ensure_ascii=False)
        else:
            line = f"{now.astimezone().strftime('%H:%M:%S')}  {cluster:<12} {event:<10} {text}"
        with suppress(OSError):
            click.echo(line, file=sys.stdout)  # as it is now: a live table puts itself in its place

    def complain(self, error: InfrakitError) -> None:
        """Say what is wrong with the files, or with the images that they declare."""
        mistakes = error.problems if isinstance(error, SpecError) else [error]
        with suppress(OSError):
            if self._as_json:
                show(error, as_json=True)
            for mistake in () if self._as_json else mistakes:
                click.echo(str(mistake), file=sys.stderr)
