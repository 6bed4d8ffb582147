"""Images built beside the work: clusters are kept as they are until what they shall become is built."""

from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING, Final, TypeAlias

from infrakit_py.errors import InfrakitError
from infrakit_py.model.spec import ClusterSpec

if TYPE_CHECKING:
    from infrakit_py.app.root import App
    from infrakit_py.images.builds import Progress

_REBUILD_SECONDS: Final = 300.0
"""How soon a build that failed is tried again, if nothing that it is made of has changed."""

Declaration: TypeAlias = tuple[ClusterSpec, ...]


class BackgroundBuilds:
    """Builds images in a thread of its own, one declaration at a time, so that clusters are kept meanwhile."""

    def __init__(self, app: "App", progress: "Progress") -> None:
        self._app = app
        self._progress = progress
        self._wanted: Declaration = ()
        self._failed_at = 0.0
        self._stop = Flag()
        self._thread: Thread | None = None
        self._result: Declaration | InfrakitError | None = None

    def begin(self, declaration: Declaration) -> bool:
        """Build what is not built of a declaration. Return whether there is anything to wait for.

        What failed is tried again after a while, or when something has changed.
        """
        from infrakit_py.app.images import unbuilt_images

        if self._thread is not None:
            return True
        if not unbuilt_images(declaration):
            return False
        now = self._app.clock.now()
        if declaration == self._wanted and now < self._failed_at + _REBUILD_SECONDS:
            return True
        self._wanted = declaration
        self._thread = Thread(target=self._run, name="build-images")
        self._thread.start()
        return True

    @property
    def is_busy(self) -> bool:
        """Tell whether something is built, or was and nobody has asked what came of it."""
        return self._thread is not None

    def stop(self) -> None:
        """End what is being built: half built it is of no use, and in nobody's way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def ended(self) -> Declaration | InfrakitError | None:
        """Return what came of a build that has ended, once."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        result, self._result = self._result, None
        if isinstance(result, InfrakitError):
            self._failed_at = self._app.clock.now()
        return result

    def _run(self) -> None:
        try:
            self._result = self._app.build(self._wanted, self._progress, stop=self._stop)
        except InfrakitError as exc:
            self._result = exc
