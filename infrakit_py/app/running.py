"""A controller put together: its store, its lease, its source, its API, and all that hears what happens."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Event as Flag
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from infrakit_py.app.announcing import Announcer, StoreWriter
from infrakit_py.app.background_builds import Declaration
from infrakit_py.app.board import Board
from infrakit_py.app.bundles import Bundles
from infrakit_py.app.controls import HostControls
from infrakit_py.app.declared_commits import DeclaredCommits
from infrakit_py.app.declared_files import DeclaredFiles
from infrakit_py.app.host import Host
from infrakit_py.app.intake import Intake, Source
from infrakit_py.app.keeping import keeper_of
from infrakit_py.app.lease import Lease, permit_of
from infrakit_py.app.outlets import Outlets
from infrakit_py.app.root import App
from infrakit_py.engine.controller import Keeper, Task
from infrakit_py.engine.execute import allowed
from infrakit_py.errors import InfrakitError, SpecError
from infrakit_py.images.builds import Progress
from infrakit_py.model.controller import ControllerSettings
from infrakit_py.model.declared import Occurrence
from infrakit_py.sources.mirror import Remote
from infrakit_py.spi.claims import Claims
from infrakit_py.spi.store import Store
from infrakit_py.stores.sqlite import state_directory

if TYPE_CHECKING:
    from infrakit_py.api.server import RunningServer

_BUNDLES: Final = "api"
_FIXED: Final = (
    *("name", "etcd", "api", "audit_log", "parallelism", "allow_mass_destroy", "traces", "log_level", "log_format"),
)
"""Settings that count when a controller begins."""


class Voice(Protocol):
    """How a controller speaks to who started it: what happens, and what is wrong with what is declared."""

    def hear(self, occurrence: Occurrence) -> None: ...

    def complain(self, error: InfrakitError) -> None: ...


Build: TypeAlias = Callable[[Declaration, "Progress"], Declaration]
"""Builds the images that are declared, and tells of it."""


@dataclass(slots=True)
class Running:
    """A controller that has begun. `run` keeps everything until the stop; `reload` takes up other settings."""

    app: App
    settings: ControllerSettings
    host: Host
    announcer: Announcer
    server: "RunningServer | None"
    make_intake: Callable[[ControllerSettings], Callable[[], Intake] | None]
    begun_with: ControllerSettings

    def run(self, stop: Flag, each_turn: Callable[[], None]) -> None:
        """Keep everything until the stop. `each_turn` is called a few times a second."""
        self.host.run(stop, each_turn)

    def reload(self, settings: ControllerSettings) -> None:
        """Take up another source, and tokens and certificates anew. What needs a restart is said."""
        changed = [name for name in _FIXED if getattr(settings, name) != getattr(self.begun_with, name)]
        if self.server is not None:
            self.server.reload()  # first of all: what is wrong is found before anything has changed
        if (settings.files, settings.git, settings.prune) != (
            self.settings.files,
            self.settings.git,
            self.settings.prune,
        ):
            self.host.replace_source(self.make_intake(settings))
        self.settings = settings
        self.host.wake_sources()
        text = "tokens, certificates and sources are read anew"
        if changed:
            text += f"; {', '.join(changed)} will be so after a restart"
        self.announcer.say("-", "reloaded", text)


@contextmanager
def running(
    app: App,
    settings: ControllerSettings,
    voice: Voice,
    build: Build,
) -> Iterator[Running]:
    """Put a controller together and begin. What ends it is the end of the context: at a safe point."""
    with ExitStack() as stack:
        store, claims = _store(app, settings, stack)
        writer = StoreWriter(store, app.clock)
        outlets = Outlets(settings, app.clock, stack, lambda text: announcer.say("-", "retry", text))
        announcer = Announcer(app.clock, settings.name, [voice.hear, writer.hear, *outlets.hears])
        progress = partial(_tell_builds, announcer)

        def built(declaration: Declaration) -> Declaration:
            return build(declaration, progress)

        writer.start()
        stack.callback(writer.stop)

        def keeper(task: Task) -> Keeper:
            name = task.spec.name
            return keeper_of(
                app,
                task,
                store,
                announcer.listener(name, lambda: host.revision(name)),
                parallelism=settings.parallelism,
                allow_mass_destroy=settings.allow_mass_destroy,
                permit=permit_of(claims, name) if claims is not None else allowed,
                meter=outlets.meter,
            )

        def intake_of(wanted: ControllerSettings) -> Callable[[], Intake] | None:
            if not wanted.files and wanted.git is None:
                return None
            return partial(_intake, app, wanted, store, voice, announcer)

        takes_api = settings.api is not None
        host = Host(store, claims, app.clock, announcer, keeper, intake_of(settings), built, takes_api=takes_api)
        lease = _lease(claims, host, stack)
        board = Board(host.fleet.keepers, store, app.clock, shares=claims is not None)
        if settings.api is not None or claims is not None:
            board.start()
            stack.callback(board.stop)
        server = None
        if settings.api is not None:
            state = state_directory(app.environment)
            bundles = Bundles(state / _BUNDLES, lambda: [one.spec.source for one in host.declared.values()])
            beside = partial(app.build, progress=progress)
            name = settings.name
            controls = HostControls(app, host, board, store, announcer, bundles, beside, claims, lease, name=name)
            server = outlets.serve(controls, settings.api)
            stack.callback(server.stop)
            controls.address = settings.api.advertise or server.url
            announcer.say("-", "listening", controls.address)
            host.announce(controls.address)
        stack.callback(host.stop)  # first of all: whoever asks meanwhile is answered, and the lease renewed
        host.begin()
        yield Running(app, settings, host, announcer, server, intake_of, settings)


def _store(app: App, settings: ControllerSettings, stack: ExitStack) -> tuple[Store, Claims | None]:
    if settings.etcd is None:
        return stack.enter_context(app.store()), None
    return stack.enter_context(app.shared_store(settings.etcd, settings.name))


def _lease(claims: Claims | None, host: Host, stack: ExitStack) -> Lease | None:
    if claims is None:
        return None
    lease = Lease(claims, host.lost)
    lease.start()
    stack.callback(lease.stop)
    return lease


def _tell_builds(announcer: Announcer, image: str, text: str, *, milestone: bool = False) -> None:
    """Tell that an image is built, and that it was. What LinuxKit writes meanwhile is in its log."""
    if milestone:
        announcer.say("-", "building", f"image {image}: {text}")


def _intake(app: App, settings: ControllerSettings, store: Store, voice: Voice, announcer: Announcer) -> Intake:
    source: Source
    progress = partial(_tell_builds, announcer)
    if settings.git is not None:
        git = settings.git
        mirror = app.mirror(Remote(git.url, git.branch, git.allowed_signers))
        say = partial(announcer.say, "-")
        source = DeclaredCommits(mirror, git.paths, app, progress, say, git.poll_seconds)
    else:
        source = DeclaredFiles(settings.files, app, progress)

    def complain(error: InfrakitError) -> None:
        voice.complain(error)
        count = len(error.problems) if isinstance(error, SpecError) else 1
        mistakes = f"{count} mistake{'s' * (count != 1)} in the files"
        announcer.say("-", "invalid", f"{mistakes}; what they declared before is kept")

    recovered = partial(announcer.say, "-", "valid", "there is no mistake in the files any more")
    return Intake(
        source, store, app.clock, settings.name, prune=settings.prune, complain=complain, recovered=recovered
    )
