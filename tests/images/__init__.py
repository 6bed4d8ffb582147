"""Tiny bootable images, laid out as `linuxkit build` lays out kernel+initrd, for tests that boot real machines.

Made from Debian packages alone: no linuxkit, no docker, no root. They know nothing of infrakit-py.
"""

from tests.images.debian import ImageError
from tests.images.disk import build_disk, missing_disk_tools
from tests.images.linuxkit_shaped import BuiltImage, build_image

__all__ = ["BuiltImage", "ImageError", "build_disk", "build_image", "missing_disk_tools"]
