"""Files that are declared and may change: read again when they did, and believed once they are at rest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from infrakit_py.app.background_builds import BackgroundBuilds, Declaration
from infrakit_py.errors import InfrakitError
from infrakit_py.model.declared import SourceKind
from infrakit_py.model.spec import Image, ImageForm, Signed

if TYPE_CHECKING:
    from infrakit_py.app.root import App
    from infrakit_py.images.builds import Progress

_REREAD_SECONDS: Final = 10.0
"""How often files are read that did not change, for the sake of those that nobody here knows of: user data."""

_Mark: TypeAlias = tuple[int, ...]
"""What tells cheaply whether a file is still what it was; empty where there is none."""


class DeclaredFiles:
    """The files as they were last read. What they say counts once it was read the same twice, from files at rest.

    One that is caught half-written may well be a valid file that declares less. Images that they declare and nobody
    has built yet are built beside, and what they say counts once that is done.
    """

    kind = SourceKind.FILES
    version = newest = ""
    in_progress = ""
    complaint = ""
    is_settled = False
    """Whether what was told was read twice, from files at rest: what was read once may be half of it."""

    def __init__(self, paths: Sequence[Path], app: "App", progress: "Progress") -> None:
        self._paths = paths
        self._app = app
        self._images = _Images()
        self._declaration: Declaration = ()
        self._told: Declaration | InfrakitError = ()
        self._seen: Declaration | InfrakitError = ()
        self._marks: Mapping[str, _Mark] = {}
        self._reread_at = 0.0
        self._building = BackgroundBuilds(app, progress)
        self.place = ", ".join(str(path.absolute()) for path in paths)

    def first(self, build: Callable[[Declaration], Declaration]) -> Declaration:
        """Return what the files declare to begin with. InfrakitError where they are wrong, or images not built."""
        try:
            declaration = build(self._app.load(self._paths, self._images))
        except InfrakitError as exc:
            self._told = self._seen = exc
            raise
        self._declaration = self._told = self._seen = declaration
        return declaration

    def wake(self) -> None:
        """Read the files at the next look, changed or not."""
        self._reread_at = 0.0

    def news(self) -> Declaration | InfrakitError | None:
        """Return what the files declare, or what is wrong with them, if that has changed."""
        if (built := self._building.ended()) is not None:
            if isinstance(built, InfrakitError) or _same(self._read(), built):
                return self._tell(built)
            self._marks = {}  # they say something else by now, so they are read anew
            return None
        now, marks = self._app.clock.now(), self._marks_now()
        if marks == self._marks and now < self._reread_at:
            return None
        at_rest, self._marks = marks == self._marks, marks
        found = self._read()
        if not (at_rest and _same(found, self._seen)):
            self._seen, self._reread_at = found, now
            return None
        self._reread_at = now + _REREAD_SECONDS
        self.is_settled = True
        if not isinstance(found, InfrakitError) and self._building.begin(found):
            return None
        return self._tell(found)

    def close(self) -> None:
        """End a build that is under way."""
        self._building.stop()

    def _tell(self, found: Declaration | InfrakitError) -> Declaration | InfrakitError | None:
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

    def _marks_now(self) -> Mapping[str, _Mark]:
        from infrakit_py.loading.sources import find

        images = [image for spec in self._declaration for image in spec.images.values()]
        files = [*find(self._paths)[0], *(file for image in images for file in _files_of(image))]
        return {str(file): _mark(file) for file in files}


class _Images:
    """Reads an image's files again only when they are not what they were: they may be large."""

    def __init__(self) -> None:
        self._known: dict[object, tuple[Sequence[_Mark], Image]] = {}

    def __call__(
        self,
        name: str,
        form: ImageForm,
        paths: Mapping[str, Path],
        *,
        reference: str = "",
        disk_format: str = "raw",
        signed: Signed | None = None,
    ) -> Image:
        from infrakit_py.images.identity import read_image

        key = (form, tuple(paths.items()), reference, disk_format, signed)
        marks = [_mark(path) for path in paths.values()]
        marks += [_mark(Path(path)) for path in ((signed.key, signed.signature) if signed is not None else ())]
        known = self._known.get(key)
        if known is not None and known[0] == marks:
            return replace(known[1], name=name)
        image = read_image(name, form, paths, reference=reference, disk_format=disk_format, signed=signed)
        self._known[key] = (marks, image)
        return image


def _files_of(image: Image) -> Iterator[Path]:
    """Yield the files that an image is made of, or built from, or checked with."""
    yield from (Path(file.path) for file in image.files.values())
    if image.recipe is not None:
        yield Path(image.recipe.file)
        yield from (Path(path) for path in image.recipe.watched)
        if image.recipe.signed is not None:
            yield from (Path(image.recipe.signed.key), Path(image.recipe.signed.signature))


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
