"""What commands see of images: which bytes machines run, what they will boot, and what changed in between."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from infrakit_py.engine.forecast import Forecast
from infrakit_py.images.builds import Build, Builds
from infrakit_py.model import tags
from infrakit_py.model.spec import ClusterSpec, Image, ImageForm
from infrakit_py.render.image_changes import ImageChange, Making, changes_between
from infrakit_py.spi.provider import MachineReview, Remarking

if TYPE_CHECKING:
    from infrakit_py.app import App
    from infrakit_py.app.workbench import Workbench


def image_changes(app: "App", bench: "Workbench", forecasts: Sequence[Forecast]) -> tuple[ImageChange, ...]:
    """Return the images of these groups whose bytes are not those that their machines run, or are not known yet."""
    return tuple(_changes(app.builds, bench, forecasts))


def remarks(app: "App", spec: ClusterSpec) -> Mapping[str, Sequence[str]]:
    """Return what plugins have to say about the machines of groups."""
    found: dict[str, Sequence[str]] = {}
    for group in spec.groups.values():
        declared = spec.providers[group.provider]
        plugin = app.plugins.provider(declared.plugin)
        if isinstance(plugin, Remarking):
            named = group.logical_ids is not None
            review = MachineReview(declared.settings, group.machine, spec.images[group.image], named=named)
            found[group.name] = tuple(plugin.remarks(review))
    return found


def making(image: Image, build: Build | None = None) -> Making:
    """Return how an image was made, by what it is, and which LinuxKit made it in a `build` that is remembered."""
    files = {part: (file.sha256, file.size) for part, file in image.files.items()}
    if image.recipe is None:
        return Making(files=files, cmdline=image.cmdline)
    tool = build.version if build is not None else ""
    return Making(image.recipe.content, image.recipe.sources, files, image.cmdline, tool)


def making_of(build: Build) -> Making:
    """Return how an image of which only the build is remembered was made."""
    files = {part: (str(told["sha256"]), int(str(told["size"]))) for part, told in build.files.items()}
    return Making(build.content, build.sources, files, tool=build.version)


def _changes(builds: Builds, bench: "Workbench", forecasts: Sequence[Forecast]) -> Iterator[ImageChange]:
    running = _running(bench, forecasts)
    for name, before in running.items():
        image = bench.spec.images[name]
        if image.form is ImageForm.REFERENCE or (image.is_built and before in ("", image.identity)):
            continue
        old = _remembered(bench, before)
        if old is not None and old.name != name:
            continue  # the group boots another image now: that is no change of this one
        build = builds.of_identity(before) if before else None
        past = making_of(build) if build is not None else making(old) if old is not None else None
        now = making(image, builds.of_identity(image.identity))
        yield ImageChange(image, before, changes_between(past, now) if past is not None else ())


def _running(bench: "Workbench", forecasts: Sequence[Forecast]) -> Mapping[str, str]:
    """Return, for each image that these groups shall boot, what most of their machines that run another one run."""
    seen: dict[str, Counter[str]] = {}
    for forecast in forecasts:
        group = bench.spec.groups.get(forecast.group)
        if group is None:
            continue
        counts = seen.setdefault(group.image, Counter())
        identity = bench.spec.images[group.image].identity
        counts.update(
            found
            for assessed in forecast.first.members
            if (found := assessed.member.instance.tags.get(tags.IMAGE, "")) not in ("", identity)
        )
    return {name: counts.most_common(1)[0][0] if counts else "" for name, counts in seen.items()}


def _remembered(bench: "Workbench", identity: str) -> Image | None:
    """Return an image that some version of a group had."""
    for name in bench.cluster.groups:
        for record in bench.store.versions(bench.spec.name, name):
            if identity and record.version.image.identity.startswith(identity):
                return record.version.image
    return None
