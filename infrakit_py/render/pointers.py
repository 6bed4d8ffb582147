"""Images of which the file only says where to look: which ones their providers named when they were asked."""

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from infrakit_py.model.spec import ClusterSpec, Image, Json


class Pointed(NamedTuple):
    image: Image
    provider: str


def pointed(spec: ClusterSpec, groups: Collection[str]) -> list[Pointed]:
    """Return the images of these groups that references stood for, each once for each provider.

    One that could not be asked for is not among them.
    """
    declared = [group for name, group in spec.groups.items() if name in groups]
    found = dict.fromkeys((group.image, group.provider) for group in declared)
    images = [Pointed(spec.images[image], provider) for image, provider in found]
    return [one for one in images if one.image.written and one.image.written != one.image.reference]


def pointed_lines(found: Collection[Pointed]) -> list[str]:
    """Write `image web: ami-1 (ssm:/web)`, with the provider where several were asked for one image."""
    often = Counter(one.image.name for one in found)
    return [
        f"image {image.name}{f' on {provider}' if often[image.name] > 1 else ''}: {image.reference} ({image.written})"
        for image, provider in found
    ]


def pointed_json(found: Collection[Pointed]) -> list[Json]:
    return [
        {
            "image": image.name,
            "provider": provider,
            "reference": image.reference,
            "written": image.written,
            "identity": image.identity,
        }
        for image, provider in found
    ]
