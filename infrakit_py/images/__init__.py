"""Images: what they are made of, and which of them are the same."""

from infrakit_py.images.identity import PARTS, ImageError, read_image

__all__ = ["PARTS", "ImageError", "read_image"]
