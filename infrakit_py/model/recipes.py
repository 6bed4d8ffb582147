"""What tells two recipes of images apart, and what stands for an image that is not built yet. Pure."""

from collections.abc import Mapping, Sequence

from infrakit_py.model.fingerprint import digest
from infrakit_py.model.spec import Json

_VERSION = 1


def recipe_key(
    content: Mapping[str, Json],
    *,
    sources: Mapping[str, str],
    architecture: str,
    build_args: Sequence[str],
) -> str:
    """Return the sha256 (hex) of all that goes into a build but the version of LinuxKit.

    `content` is the parsed YAML, so that comments and layout build nothing anew. `sources` are digests of files by
    their names in the YAML.
    """
    return digest(
        {
            "recipe": _VERSION,
            "content": content,
            "sources": dict(sources),
            "architecture": architecture,
            "build_args": list(build_args),
        }
    )


def unbuilt_identity(key: str) -> str:
    """Return what stands for the identity of an image as long as nobody has built it: no image has this one."""
    return digest({"unbuilt": key})
