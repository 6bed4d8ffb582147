"""Numbers and times as people write them, and images by the names that people gave them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Final

from infrakit_py.model.quantities import format_duration
from infrakit_py.model.spec import KNOWN_LATER, Image, ImageForm

SHORT: Final = 12
"""Digits of an identity that people are shown."""
_IDENTITY: Final = re.compile(rf"(?<![\w(@])[0-9a-f]{{{SHORT}}}(?!\w)")
"""Not in parentheses: there a name stands before it already."""


def counted(number: int, noun: str) -> str:
    """Write `1 machine`, `2 machines`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def roughly(seconds: float) -> str:
    """Write an estimate, rounded up as coarsely as estimates are: `8s`, `1m30s`, `25m`."""
    for below, step in ((20, 1), (120, 5), (600, 30), (7200, 60)):
        if seconds <= below:
            return format_duration(max(1, ceil(seconds / step) * step))
    return format_duration(ceil(seconds / 600) * 600)


def moment(seconds: float) -> str:
    """Write how long after the beginning something happens, to the second where that is enough."""
    return format_duration(round(seconds) if seconds >= 1 else round(seconds, 1))


class ImageNames:
    """What the images of a cluster are called. Two of one name are told apart by what they are.

    That is the provider's own name of an image that it already has, and of others the identity.
    """

    def __init__(self, images: Iterable[Image] = ()) -> None:
        """Take the images in the order of their use: the last name that an identity had is its name."""
        known = {image.identity[:SHORT]: image for image in images}
        often = Counter(image.name for image in known.values())
        references = Counter(image.reference for image in known.values())

        def called(image: Image) -> str:
            if not image.is_built:
                return f"{image.name} ({KNOWN_LATER})"
            if often[image.name] == 1:
                return image.name
            alone = references[image.reference] == 1 and often[image.reference] != 1
            if image.form is ImageForm.REFERENCE and alone:
                return image.reference
            return f"{image.name}@{image.identity[:SHORT]}"

        self._names: Mapping[str, str] = {short: called(image) for short, image in known.items()}

    def of(self, identity: str) -> str:
        """Return an image's name, or the beginning of its identity where nobody knows it."""
        return self._names.get(identity[:SHORT], identity[:SHORT])

    def in_text(self, text: str) -> str:
        """Put names in the place of identities that a reason mentions."""
        return _IDENTITY.sub(lambda match: self._names.get(match[0], match[0]), text)


NO_NAMES: Final = ImageNames()
