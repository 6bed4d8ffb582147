"""`infra controller`."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING, Final, Protocol

import click

from infrakit_py.cli import options
from infrakit_py.cli.background_builds import Declaration
from infrakit_py.cli.failure import show
from infrakit_py.cli.following import DeclaredFiles
from infrakit_py.cli.following_git import DeclaredCommits
from infrakit_py.cli.stopping import stopped_by_signals
from infrakit_py.errors import InfrakitError, SpecError, UsageError
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.sources.mirror import Remote

if TYPE_CHECKING:
    from infrakit_py.app import App
    from infrakit_py.engine.controller import Keeper
    from infrakit_py.engine.engine import GroupStatus
    from infrakit_py.engine.events import Event, Listener
    from infrakit_py.render.progress import Progress
    from infrakit_py.spi.store import Store

_SLEEP_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 1.0


@click.command()
@options.files
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
@options.as_json
@options.allow_mass_destroy
@click.option(
    "--parallelism",
    type=click.IntRange(1, 256),
    default=10,
    show_default=True,
    help="Calls to providers at once, for each cluster.",
)
@options.debug
def controller(
    positional: tuple[Path, ...],
    named: tuple[Path, ...],
    url: str | None,
    branch: str,
    poll: float,
    allowed_signers: Path | None,
    as_json: bool,
    allow_mass_destroy: bool,
    parallelism: int,
) -> int:
    """Keep clusters as their files declare, until told to stop by SIGTERM or SIGINT.

    Asks nothing: what the files declare is done, what is lost is replaced, and a file that changes is taken up
    within seconds. A file with mistakes is reported, and the last good one kept. A stop lets calls that have
    begun end; a second signal ends at once.
    """
    from infrakit_py.app import App
    from infrakit_py.cli.building import with_images
    from infrakit_py.cli.changing import progress

    app = App()
    if url is None and allowed_signers is not None:
        raise click.UsageError("--allowed-signers is about the commits of --git")
    paths = (*positional, *named) if url is not None else options.chosen(positional, named)
    if Path("-") in paths:
        raise UsageError("a controller reads its files again and again, standard input but once", hint="use files")
    stop = Flag()
    with ExitStack() as stack:
        store = stack.enter_context(app.store())
        shown = stack.enter_context(progress(as_json=as_json))
        teller = _Teller(app, shown, as_json=as_json)
        build = partial(with_images, app, tell=teller.building)
        source: _Source
        if url is not None:
            mirror = app.mirror(Remote(url, branch, allowed_signers))
            source = commits = DeclaredCommits(mirror, paths, app, teller.building, teller.commit, poll)
            declaration = commits.first(build)
        else:
            declaration = build(app.load(paths))
            source = DeclaredFiles(paths, app, declaration, teller.building)
        stack.callback(source.close)

        def keeper(spec: ClusterSpec) -> "Keeper":
            listener = teller.listener(spec.name)
            return app.keeper(spec, store, listener, parallelism=parallelism, allow_mass_destroy=allow_mass_destroy)

        clusters = _Clusters(keeper, store, teller)
        shown.follow(clusters.statuses)
        stack.enter_context(stopped_by_signals(stop, shown))
        stack.callback(clusters.stop)
        clusters.begin(declaration)
        _follow(app, source, clusters, teller, stop)
        teller.say("-", "stopping", "at the next safe point; a second signal stops at once")
    teller.say("-", "stopped", "run the controller again to go on from here")
    return 0


class _Source(Protocol):
    """Where what is declared comes from."""

    def news(self) -> Declaration | InfrakitError | None: ...

    def close(self) -> None: ...


def _follow(app: "App", files: _Source, clusters: "_Clusters", teller: "_Teller", stop: Flag) -> None:
    """Take up what the files declare, until the stop."""
    look_at = app.clock.now() + _LOOK_SECONDS
    is_good = True
    while not stop.is_set():
        app.clock.sleep(_SLEEP_SECONDS)
        if stop.is_set() or app.clock.now() < look_at:
            continue
        match files.news():
            case None:
                clusters.retry()
            case InfrakitError() as error:
                teller.complain(error)
                is_good = False
            case declaration:
                if not is_good:
                    teller.say("-", "valid", "there is no mistake in the files any more")
                clusters.become(declaration)
                is_good = True
        look_at = app.clock.now() + _LOOK_SECONDS


@dataclass(frozen=True, slots=True)
class _Kept:
    """A cluster at work: who keeps it, the thread that this is done in, and the hold on the cluster's lock."""

    keeper: "Keeper"
    thread: Thread
    hold: ExitStack


class _Clusters:
    """The clusters that are kept, each by a thread of its own."""

    def __init__(self, make_keeper: "Callable[[ClusterSpec], Keeper]", store: "Store", teller: "_Teller") -> None:
        self._make_keeper = make_keeper
        self._store = store
        self._teller = teller
        self._declaration: Declaration = ()
        self._kept: dict[str, _Kept] = {}
        self._refused: dict[str, str] = {}

    def begin(self, declaration: Declaration) -> None:
        """Keep these. ClusterLocked, and none of them begun, where another process holds one."""
        self._declaration = declaration
        for spec in declaration:
            self._hold(spec)
        for spec in declaration:
            self._start(spec)

    def become(self, declaration: Declaration) -> None:
        """Keep these instead, from now on."""
        self._declaration = declaration
        names = {spec.name for spec in declaration}
        for name in [name for name in self._kept if name not in names]:
            self._teller.say(name, "left", "no file declares it any more: its machines stay as they are")
            self._end([name])
        for spec in declaration:
            kept = self._kept.get(spec.name)
            if kept is not None and kept.keeper.spec != spec:
                self._teller.say(spec.name, "changed", f"{spec.source} has changed")
                kept.keeper.change(spec)
        self.retry()

    def retry(self) -> None:
        """Begin with those that could not be held so far."""
        for spec in self._declaration:
            if spec.name in self._kept:
                continue
            try:
                self._hold(spec)
            except InfrakitError as exc:
                if self._refused.get(spec.name) != str(exc):
                    self._refused[spec.name] = str(exc)
                    self._teller.say(spec.name, "waiting", f"{exc}; trying again")
            else:
                self._refused.pop(spec.name, None)
                self._start(spec)

    def stop(self) -> None:
        """Let all end at a safe point."""
        self._end(list(self._kept))

    def statuses(self) -> "Mapping[str, GroupStatus]":
        return {
            f"{cluster}/{group}": status
            for cluster, kept in list(self._kept.items())
            for group, status in kept.keeper.statuses().items()
        }

    def _hold(self, spec: ClusterSpec) -> None:
        hold = ExitStack()
        hold.enter_context(self._store.exclusive(spec.name))
        keeper = self._make_keeper(spec)
        self._kept[spec.name] = _Kept(keeper, Thread(target=keeper.run, name=f"keep-{spec.name}"), hold)

    def _start(self, spec: ClusterSpec) -> None:
        self._teller.say(spec.name, "keeping", f"as {spec.source} declares it")
        self._kept[spec.name].thread.start()

    def _end(self, names: Sequence[str]) -> None:
        for name in names:
            self._kept[name].keeper.stop()
        for name in names:
            kept = self._kept.pop(name)
            if kept.thread.ident is not None:
                kept.thread.join()
            kept.hold.close()


class _Teller:
    """Says what happens, each line with its cluster. Where nobody reads it the work goes on."""

    def __init__(self, app: "App", shown: "Progress", *, as_json: bool) -> None:
        self._app = app
        self._shown = shown
        self._as_json = as_json

    def listener(self, cluster: str) -> "Listener":
        """Return who hears of a cluster's events."""

        def tell(event: "Event") -> None:
            if self._as_json:
                event = replace(event, fields={"cluster": cluster, **event.fields})
            else:
                event = replace(event, group=f"{cluster}/{event.group}")
            self._shown.tell(event)

        return tell

    def say(self, cluster: str, event: str, text: str) -> None:
        """Say what happens to a whole cluster, or to the controller."""
        now = datetime.fromtimestamp(self._app.clock.now(), UTC)
        if self._as_json:
            at = now.isoformat(timespec="milliseconds")
            line = json.dumps({"at": at, "event": event, "cluster": cluster, "text": text}, ensure_ascii=False)
        else:
            line = f"{now.astimezone().strftime('%H:%M:%S')}  {cluster:<12} {event:<10} {text}"
        with suppress(OSError):
            click.echo(line, file=sys.stdout)  # as it is now: a live table puts itself in its place

    def building(self, image: str, text: str, *, milestone: bool = False) -> None:
        """Say that an image is built, and that it was. What LinuxKit writes meanwhile is in its log."""
        if milestone:
            self.say("-", "building", f"image {image}: {text}")

    def commit(self, event: str, text: str) -> None:
        """Say what becomes of a commit."""
        self.say("-", event, text)

    def complain(self, error: InfrakitError) -> None:
        """Say what is wrong with the files, or with the images that they declare."""
        mistakes = error.problems if isinstance(error, SpecError) else [error]
        with suppress(OSError):
            if self._as_json:
                show(error, as_json=True)
            for mistake in () if self._as_json else mistakes:
                click.echo(str(mistake), file=sys.stderr)
        count = f"{len(mistakes)} mistake{'s' * (len(mistakes) != 1)} in the files"
        self.say("-", "invalid", f"{count}; what they declared before is kept")
