"""A branch that is followed: each of its commits is read when it is there, and counts if all of it is good."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from infrakit_py.app.background_builds import BackgroundBuilds, Declaration
from infrakit_py.errors import InfrakitError, Problem, SpecError, UsageError
from infrakit_py.model.declared import SourceKind
from infrakit_py.sources.mirror import Mirror

if TYPE_CHECKING:
    from infrakit_py.app.root import App
    from infrakit_py.images.builds import Progress

_SHOWN: int = 12

Say = Callable[[str, str], None]
"""Hears what becomes of a commit: a word for it, and a text."""


class DeclaredCommits:
    """What a branch declares. Nobody waits for the network: it is asked in a thread of its own.

    One commit is taken up at a time: read and built where it lies, then put in force. A newer one waits for that.
    """

    kind = SourceKind.GIT
    is_settled = True

    def __init__(
        self, mirror: Mirror, paths: Sequence[Path], app: "App", progress: "Progress", say: Say, poll_seconds: float
    ) -> None:
        self._mirror = mirror
        self._paths = paths or (Path(),)
        self._app = app
        self._say = say
        self._poll_seconds = poll_seconds
        self._building = BackgroundBuilds(app, progress)
        self._fetching: Thread | None = None
        self._fetched: str | InfrakitError | None = None
        self._fetch_at = 0.0
        self._seen = ""
        """The commit that was taken up last, whatever became of it."""
        self._unbuilt: Declaration | None = None
        """What it declares, as long as its images are not built."""
        self.version = ""
        """The commit that is in force."""
        self.complaint = ""
        self._is_refused = False
        self._is_woken = False
        self.place = f"{mirror.shown} {' '.join(str(path) for path in self._paths)}"

    def first(self, build: Callable[[Declaration], Declaration]) -> Declaration:
        """Return what the branch declares now. InfrakitError where it cannot be asked, is wrong, or cannot be built.

        What lies here from before counts for nothing then: another controller may have gone on since.
        """
        self._check_paths()
        try:
            self._seen = self._mirror.fetch()
        except InfrakitError as exc:
            self._note_unreachable(exc)
            raise
        try:
            self._unbuilt = self._read(self._seen)
            build(self._unbuilt)
        except InfrakitError as exc:
            raise self._refused(exc) from exc
        declared = self._put_in_force()
        if isinstance(declared, InfrakitError):
            raise declared
        return declared

    def news(self) -> Declaration | InfrakitError | None:
        """Return what the branch declares, or why its newest commit does not count, if that has changed."""
        if self._building.is_busy:
            built = self._building.ended()
            if isinstance(built, InfrakitError):
                return self._refused(built)
            return self._put_in_force() if built is not None else None
        if self._fetching is None and self._app.clock.now() >= self._fetch_at:
            self._fetching = Thread(target=self._fetch, name="git-fetch", daemon=True)
            self._fetching.start()
        if self._fetching is None or self._fetching.is_alive():
            return None
        self._fetching = None
        self._fetch_at = 0.0 if self._is_woken else self._app.clock.now() + self._poll_seconds
        self._is_woken = False
        return self._heard(self._fetched)

    @property
    def newest(self) -> str:
        """The commit that was seen last, whatever became of it."""
        return self._seen

    @property
    def in_progress(self) -> str:
        """The commit that is being built, or could not be yet."""
        return self._seen if self._unbuilt is not None else ""

    def wake(self) -> None:
        """Ask the repository at the next look, and try again what was refused: the cause may lie outside of it."""
        self._fetch_at = 0.0
        self._is_woken = self._fetching is not None  # what runs may have asked before there was something new
        if self._is_refused:
            self._seen = ""

    def close(self) -> None:
        """End a build that is under way."""
        self._building.stop()

    def _fetch(self) -> None:
        try:
            self._fetched = self._mirror.fetch()
        except InfrakitError as exc:
            self._fetched = exc

    def _heard(self, fetched: str | InfrakitError | None) -> Declaration | InfrakitError | None:
        """Take up what the remote said. That it cannot be reached is said once; what is in force stays."""
        if not isinstance(fetched, str):
            if fetched is not None:
                self._note_unreachable(fetched)
            return None
        if self.complaint:
            self.complaint = ""
            self._say("reachable", "the repository answers again")
        if fetched != self._seen:
            return self._take_up(fetched)
        if self._unbuilt is not None:
            self._building.begin(self._unbuilt)  # what could not be built is tried again after a while
        return None

    def _note_unreachable(self, why: InfrakitError) -> None:
        if str(why) != self.complaint:
            self.complaint = str(why)
            self._say("unreachable", f"{why}; {self._kept()}")

    def _take_up(self, commit: str) -> Declaration | InfrakitError | None:
        self._seen, self._unbuilt, self._is_refused = commit, None, False
        self._say("new", self._called(commit))
        try:
            self._unbuilt = self._read(commit)
        except InfrakitError as exc:
            return self._refused(exc)
        return None if self._building.begin(self._unbuilt) else self._put_in_force()

    def _check_paths(self) -> None:
        for path in self._paths:
            if path.is_absolute() or ".." in path.parts:
                raise UsageError(f"{path} lies in no commit", hint="name files by where they lie in the repository")

    def _read(self, commit: str) -> Declaration:
        """Read a commit where it lies, beside what is in force."""
        self._mirror.verify(commit)
        tree = self._mirror.tree(commit)
        try:
            return self._app.load([tree / path for path in self._paths])
        except SpecError as exc:
            raise SpecError([_as_in_the_tree(problem, tree) for problem in exc.problems]) from exc

    def _put_in_force(self) -> Declaration | InfrakitError:
        """Let the commit that was taken up count, now that all of it is good and built."""
        self._unbuilt = None
        try:
            self._mirror.put_in_force(self._seen)
            declared = self._app.load([self._mirror.current / path for path in self._paths])
        except InfrakitError as exc:
            return self._refused(exc)
        if self.version != self._seen:
            self.version = self._seen
            self._say("in force", self._called(self._seen))
        return declared

    def _refused(self, why: InfrakitError) -> InfrakitError:
        self._is_refused = True
        self._say("refused", f"{self._called(self._seen)}; {self._kept()}")
        return why

    def _kept(self) -> str:
        return f"{self.version[:_SHOWN]} stays in force" if self.version else "nothing is in force"

    def _called(self, commit: str) -> str:
        return f"commit {commit[:_SHOWN]} ({self._mirror.subject(commit)})"


def _as_in_the_tree(problem: Problem, tree: Path) -> Problem:
    """Name a file as its repository does."""
    return replace(
        problem, file=problem.file.replace(f"{tree}/", ""), message=problem.message.replace(f"{tree}/", "")
    )
