"""`infra controller`."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from types import FrameType
from typing import TYPE_CHECKING, Final, TypeAlias

import click

from infrakit_py.cli import options
from infrakit_py.cli.failure import INTERRUPTED, show
from infrakit_py.errors import InfrakitError, SpecError, UsageError
from infrakit_py.model.spec import ClusterSpec, Image, ImageForm

if TYPE_CHECKING:
    from infrakit_py.app import App
    from infrakit_py.engine.controller import Keeper
    from infrakit_py.engine.engine import GroupStatus
    from infrakit_py.engine.events import Event, Listener
    from infrakit_py.render.progress import Progress
    from infrakit_py.spi.store import Store

_SLEEP_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 1.0
_REREAD_SECONDS: Final = 10.0
"""How often files are read that did not change, for the sake of those that nobody here knows of: user data."""

Declaration: TypeAlias = tuple[ClusterSpec, ...]


@click.command()
@options.files
@options.as_json
@click.option(
    "--allow-mass-destroy",
    is_flag=True,
    help="Go on where a group would lose more than half, change its kind, or has left the file.",
)
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
    from infrakit_py.cli.changing import progress

    app = App()
    paths = options.chosen(positional, named)
    if Path("-") in paths:
        raise UsageError("a controller reads its files again and again, standard input but once", hint="use files")
    declaration = app.load(paths)
    stop = Flag()
    with ExitStack() as stack:
        store = stack.enter_context(app.store())
        shown = stack.enter_context(progress(as_json=as_json))
        teller = _Teller(app, shown, as_json=as_json)

        def keeper(spec: ClusterSpec) -> "Keeper":
            listener = teller.listener(spec.name)
            return app.keeper(spec, store, listener, parallelism=parallelism, allow_mass_destroy=allow_mass_destroy)

        clusters = _Clusters(keeper, store, teller)
        shown.follow(clusters.statuses)
        stack.enter_context(_stopped_by_signals(stop, shown))
        stack.callback(clusters.stop)
        clusters.begin(declaration)
        _follow(app, _Files(paths, app, declaration), clusters, teller, stop)
        teller.say("-", "stopping", "at the next safe point; a second signal stops at once")
    teller.say("-", "stopped", "run the controller again to go on from here")
    return 0


def _follow(app: "App", files: "_Files", clusters: "_Clusters", teller: "_Teller", stop: Flag) -> None:
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


class _Files:
    """The files as they were last read. What they say counts once it was read the same twice, from files at rest.

    One that is caught half-written may well be a valid file that declares less.
    """

    def __init__(self, paths: Sequence[Path], app: "App", declaration: Declaration) -> None:
        self._paths = paths
        self._app = app
        self._images = _Images()
        self._declaration = declaration
        self._told: Declaration | InfrakitError = declaration
        self._seen: Declaration | InfrakitError = declaration
        self._marks: Mapping[str, _Mark] = {}
        self._reread_at = 0.0

    def news(self) -> Declaration | InfrakitError | None:
        """Return what the files declare, or what is wrong with them, if that has changed."""
        now, marks = self._app.clock.now(), self._marks_now()
        if marks == self._marks and now < self._reread_at:
            return None
        at_rest, self._marks = marks == self._marks, marks
        found = self._read()
        if not (at_rest and _same(found, self._seen)):
            self._seen, self._reread_at = found, now
            return None
        self._reread_at = now + _REREAD_SECONDS
        if _same(found, self._told):
            return None
        self._told = found
        return found

    def _read(self) -> Declaration | InfrakitError:
        try:
            self._declaration = self._app.load(self._paths, self._images)
        except InfrakitError as exc:
            return exc
        return self._declaration

    def _marks_now(self) -> Mapping[str, "_Mark"]:
        from infrakit_py.loading.sources import find

        images = [image for spec in self._declaration for image in spec.images.values()]
        files = [*find(self._paths)[0], *(Path(file.path) for image in images for file in image.files.values())]
        return {str(file): _mark(file) for file in files}


class _Images:
    """Reads an image's files again only when they are not what they were: they may be large."""

    def __init__(self) -> None:
        self._known: dict[object, tuple[Sequence[_Mark], Image]] = {}

    def __call__(
        self, name: str, form: ImageForm, paths: Mapping[str, Path], *, reference: str = "", disk_format: str = "raw"
    ) -> Image:
        from infrakit_py.images.identity import read_image

        key = (form, tuple(paths.items()), reference, disk_format)
        marks = [_mark(path) for path in paths.values()]
        known = self._known.get(key)
        if known is not None and known[0] == marks:
            return replace(known[1], name=name)
        image = read_image(name, form, paths, reference=reference, disk_format=disk_format)
        self._known[key] = (marks, image)
        return image


_Mark: TypeAlias = tuple[int, ...]
"""What tells cheaply whether a file is still what it was; empty where there is none."""


def _mark(path: Path) -> _Mark:
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: the name holds a NUL
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _same(one: Declaration | InfrakitError, other: Declaration | InfrakitError) -> bool:
    if isinstance(one, InfrakitError) and isinstance(other, InfrakitError):
        return (type(one), str(one)) == (type(other), str(other))
    return one == other


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

    def complain(self, error: InfrakitError) -> None:
        """Say what is wrong with the files."""
        mistakes = error.problems if isinstance(error, SpecError) else [error]
        with suppress(OSError):
            if self._as_json:
                show(error, as_json=True)
            for mistake in () if self._as_json else mistakes:
                click.echo(str(mistake), file=sys.stderr)
        count = f"{len(mistakes)} mistake{'s' * (len(mistakes) != 1)} in the files"
        self.say("-", "invalid", f"{count}; what they declared before is kept")


@contextmanager
def _stopped_by_signals(stop: Flag, shown: "Progress") -> Iterator[None]:
    """Set `stop` at the first SIGTERM or SIGINT, and end the process at the second."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        if stop.is_set():
            shown.__exit__(None, None, None)
            os._exit(INTERRUPTED)
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
