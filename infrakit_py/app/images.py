"""The images of specs: looked up among those that were built, and built."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from infrakit_py.images.builds import Builds, Progress
from infrakit_py.loading import ImageReader
from infrakit_py.model.spec import ClusterSpec, Image, ImageForm, Signed


def used_images(spec: ClusterSpec) -> frozenset[str]:
    """Return the names of the images that some group boots."""
    return frozenset(group.image for group in spec.groups.values())


def unbuilt_images(specs: Sequence[ClusterSpec]) -> Sequence[Image]:
    """Return the images that some group boots, and that nobody has built yet."""
    return [
        image
        for spec in specs
        for name, image in spec.images.items()
        if not image.is_built and name in used_images(spec)
    ]


def without_signatures(read: ImageReader) -> ImageReader:
    """Return a reader of images that looks at no signature."""

    def reader(
        name: str,
        form: ImageForm,
        paths: Mapping[str, Path],
        *,
        reference: str = "",
        disk_format: str = "raw",
        signed: Signed | None = None,
    ) -> Image:
        del signed
        return read(name, form, paths, reference=reference, disk_format=disk_format)

    return reader


def unsigned_recipes(spec: ClusterSpec) -> ClusterSpec:
    """Return a spec in which what is built needs no signature."""
    images = {
        name: image if image.recipe is None else replace(image, recipe=replace(image.recipe, signed=None))
        for name, image in spec.images.items()
    }
    return _with_images(spec, images)


def looked_up(spec: ClusterSpec, builds: Builds) -> ClusterSpec:
    """Return a spec with those images built that were built before."""
    return _with_images(spec, {name: builds.found(image) for name, image in spec.images.items()})


def built(
    specs: Sequence[ClusterSpec],
    builds: Builds,
    progress: Progress,
    *,
    only: Collection[str] | None = None,
    again: bool = False,
) -> tuple[ClusterSpec, ...]:
    """Return specs with their images built: those that some group boots, or those that `only` names."""
    found = []
    for spec in specs:
        names = used_images(spec) if only is None else only
        images = {
            name: builds.build(image, progress, again=again) if name in names else image
            for name, image in spec.images.items()
        }
        found.append(_with_images(spec, images))
    return tuple(found)


def _with_images(spec: ClusterSpec, images: Mapping[str, Image]) -> ClusterSpec:
    return spec if images == spec.images else replace(spec, images=images)
