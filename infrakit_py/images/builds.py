"""Images that are built from recipes: once for each recipe and version of LinuxKit, and found again by content.

What a build gave is kept by its identity, so that recipes that give the same bytes share them, and that a recipe that
changed without changing the bytes changes no machine.
"""

import json
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from threading import Event as Flag
from typing import Any, Final, Protocol

from infrakit_py.clock import Clock
from infrakit_py.images.cache import BUILDS, IMAGES, LOGS, Cache, explained
from infrakit_py.images.identity import PARTS, ImageError, check_signature, read_image
from infrakit_py.images.linuxkit import BuildError, LinuxKit, Told, find_linuxkit, require_linuxkit
from infrakit_py.model.spec import Image, ImageFile, ImageForm, Json, Recipe

SBOM: Final = "sbom.spdx.json"
"""The list of parts beside an image, and in the archive that LinuxKit makes."""
_CHARACTERS: Final = 16


class Progress(Protocol):
    """Hears of what happens to an image. A `milestone` is a beginning or an end; the rest is what LinuxKit writes."""

    def __call__(self, image: str, text: str, *, milestone: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Build:
    """What a recipe gave. `content` is what its YAML held, which may be secret. Times in Unix time."""

    key: str
    version: str
    identity: str
    name: str
    file: str
    architecture: str
    built_at: float
    seconds: float
    files: Mapping[str, Mapping[str, Json]] = field(repr=False)
    content: Mapping[str, Json] = field(repr=False)
    sources: Mapping[str, str] = field(default_factory=dict)
    unpinned: tuple[str, ...] = ()


class Builds:
    """The builds that are kept in a cache, and the making of further ones. Safe for processes."""

    def __init__(
        self,
        cache: Cache,
        environment: Mapping[str, str],
        clock: Clock,
        is_as_read: Callable[[Image], bool],
        stop: Flag | None = None,
    ) -> None:
        """`is_as_read` tells whether what an image is built from is still what its recipe says."""
        self._is_as_read = is_as_read
        self._stop = stop or Flag()
        self._cache = cache
        self._environment = environment
        self._clock = clock
        self._linuxkit: LinuxKit | None = None

    def found(self, image: Image) -> Image:
        """Return the image as it was built; as it is where it is built already, or was not built yet.

        Where no `linuxkit` is installed, what any version of it built counts. ImageError for a wrong signature.
        """
        recipe = image.recipe
        if recipe is None or image.is_built:
            return image
        build = self._of(recipe)
        return image if build is None else self._as_built(image, recipe, build)

    def build(self, image: Image, progress: Progress, *, again: bool = False) -> Image:
        """Build an image unless it was, or `again`. BuildError, ImageError or CacheError where it cannot be done."""
        recipe = image.recipe
        if recipe is None:
            return image
        if not again and (found := self.found(image)).is_built:
            return found
        linuxkit = require_linuxkit(self._environment, f"image {image.name} is built from {recipe.file}")
        told = Flag()

        def waiting() -> None:
            if self._stop.is_set():
                raise BuildError(f"image {image.name}: its build was stopped")
            if not told.is_set():
                told.set()
                progress(image.name, "waiting for another process that builds it", milestone=True)

        with self._cache.held(f"build-{recipe.key}", waiting), explained(self._cache.directory):
            build = None if again else self._recorded(recipe, linuxkit.version)
            if build is None:
                build = self._built(linuxkit, image, recipe, progress)
        return self._as_built(image, recipe, build)

    def all(self) -> Iterator[Build]:
        """Yield all builds that are recorded, whether their files are still there or not."""
        for path in sorted(self._cache.path(BUILDS).glob("*.json")):
            if (build := _read_record(path)) is not None:
                yield build

    def of_identity(self, identity: str) -> Build | None:
        """Return the latest build that gave an image; None where nobody remembers."""
        return max(
            (build for build in self.all() if build.identity.startswith(identity)),
            key=lambda build: build.built_at,
            default=None,
        )

    def image(self, build: Build) -> Image | None:
        """Return the image that a build gave, if its files are still there."""
        directory = self._cache.path(IMAGES, build.identity)
        files = {
            part: ImageFile(str(directory / part), str(told["sha256"]), int(str(told["size"])))
            for part, told in build.files.items()
        }
        for part in PARTS[ImageForm.KERNEL]:
            if not _is_there(files.get(part)):
                return None
        try:
            cmdline = Path(files["cmdline"].path).read_text().strip()
        except (OSError, ValueError):
            return None
        return Image(
            build.name, build.identity, ImageForm.KERNEL, files, cmdline=cmdline, architecture=build.architecture
        )

    def log(self, recipe: Recipe) -> Path:
        """Return where the log of a recipe's last build is, or will be."""
        return self._cache.path(LOGS, f"{recipe.key[:_CHARACTERS]}.log")

    def _of(self, recipe: Recipe) -> Build | None:
        linuxkit = self._installed()
        if linuxkit is not None:
            return self._recorded(recipe, linuxkit.version)
        fitting = [build for build in self.all() if build.key == recipe.key]
        there = [build for build in fitting if self._is_complete(build, recipe)]
        return max(there, key=lambda build: build.built_at, default=None)

    def _installed(self) -> LinuxKit | None:
        """Return the `linuxkit` that can be used; None also for one that cannot: whoever builds will hear of it."""
        if self._linuxkit is None:
            try:
                self._linuxkit = find_linuxkit(self._environment)
            except BuildError:
                return None
        return self._linuxkit

    def _recorded(self, recipe: Recipe, version: str) -> Build | None:
        build = _read_record(self._cache.path(BUILDS, _record_name(recipe.key, version)))
        return build if build is not None and self._is_complete(build, recipe) else None

    def _is_complete(self, build: Build, recipe: Recipe) -> bool:
        """Tell whether all that a recipe asks for is there."""
        has_list = not recipe.sbom or self._cache.path(IMAGES, build.identity, SBOM).exists()
        return has_list and self.image(build) is not None

    def _built(self, linuxkit: LinuxKit, image: Image, recipe: Recipe, progress: Progress) -> Build:
        began = self._clock.now()
        log = self.log(recipe)
        log.unlink(missing_ok=True)

        def told(line: str) -> None:
            progress(image.name, line)

        progress(image.name, f"building {recipe.file} with linuxkit {linuxkit.version}", milestone=True)
        with self._cache.scratch() as scratch:
            out = scratch / "out"
            out.mkdir()
            linuxkit = replace(linuxkit, stop=self._stop)
            paths = linuxkit.build(image, recipe, out, log, told)
            built = read_image(image.name, ImageForm.KERNEL, paths)
            complete = scratch / "image"
            complete.mkdir()
            for part, path in paths.items():
                path.rename(complete / part)
            if recipe.sbom:
                self._add_parts_list(linuxkit, image, recipe, scratch, log, told)
            if not self._is_as_read(image):
                raise BuildError(
                    f"image {image.name}: {recipe.file}, or a file that it reads, was changed while it was built",
                    hint="run the command again",
                )
            self._keep(complete, built)
            if recipe.sbom:
                self._cache.keep(scratch / SBOM, IMAGES, built.identity, SBOM)
        build = Build(
            key=recipe.key,
            version=linuxkit.version,
            identity=built.identity,
            name=image.name,
            file=recipe.file,
            architecture=image.architecture,
            built_at=self._clock.now(),
            seconds=self._clock.now() - began,
            files={part: {"sha256": file.sha256, "size": file.size} for part, file in built.files.items()},
            content=recipe.content,
            sources=recipe.sources,
            unpinned=recipe.unpinned,
        )
        self._cache.write(json.dumps(asdict(build)), BUILDS, _record_name(recipe.key, linuxkit.version), private=True)
        progress(image.name, f"built {built.short} in {build.seconds:.1f}s", milestone=True)
        return build

    def _add_parts_list(
        self, linuxkit: LinuxKit, image: Image, recipe: Recipe, scratch: Path, log: Path, told: Told
    ) -> None:
        """Make the list of parts in a build of its own: in the image it would make each build another image."""
        out = scratch / "parts"
        out.mkdir()
        archive = linuxkit.list_parts(image, recipe, out, log, told)
        try:
            with tarfile.open(archive) as tar, (scratch / SBOM).open("wb") as target:
                member = tar.extractfile(SBOM)
                if member is not None:
                    shutil.copyfileobj(member, target)
        except (tarfile.TarError, KeyError, OSError) as exc:
            raise BuildError(
                f"image {image.name}: linuxkit gave no list of parts: {exc}",
                hint="components have one only if they came from a registry with their attestations; or drop sbom",
            ) from exc

    def _keep(self, complete: Path, built: Image) -> None:
        """Move an image to its place; what is there already stays, unless it is damaged."""
        place = self._cache.path(IMAGES, built.identity)
        try:
            kept = read_image(built.name, ImageForm.KERNEL, {part: place / part for part in built.files})
            is_whole = kept.identity == built.identity
        except ImageError:
            is_whole = False
        if place.exists() and not is_whole:
            shutil.rmtree(place)
        self._cache.keep(complete, IMAGES, built.identity)

    def _as_built(self, image: Image, recipe: Recipe, build: Build) -> Image:
        there = self.image(build)
        if there is None:
            raise BuildError(f"image {image.name}: its files went away from {self._cache.path(IMAGES)}")
        built = replace(image, identity=there.identity, files=there.files, cmdline=there.cmdline)
        if recipe.signed is not None:
            check_signature(built, recipe.signed)
        return built


def _record_name(key: str, version: str) -> str:
    return f"{key[:40]}-{sha256(version.encode()).hexdigest()[:_CHARACTERS]}.json"


def _read_record(path: Path) -> Build | None:
    """Return a record; None where there is none that this release can read."""
    try:
        told: dict[str, Any] = json.loads(path.read_text())
        known = {name: told[name] for name in Build.__dataclass_fields__ if name in told}
        return Build(**{**known, "unpinned": tuple(known.get("unpinned", ()))})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _is_there(file: ImageFile | None) -> bool:
    try:
        return file is not None and Path(file.path).stat().st_size == file.size
    except OSError:
        return False
