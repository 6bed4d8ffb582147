"""The types of values in a LinuxKit YAML: what `linuxkit build` would refuse, refused with its place.

Sources: LinuxKit's moby package (config.go, build.go) and go-containerregistry's names of images.
"""

import re
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict

PACKAGE: Final = "@pkg:"
"""What a reference begins with that is the directory of a package."""
ROOT: Final = "root"

_MODE: Final = re.compile(r"[0-7]{0,11}")
_VOLUME_NAME: Final = re.compile(r"[a-z0-9_-]*")
_REFERENCE: Final = re.compile(
    r"((localhost|\[[0-9a-fA-F:]+\]|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+)(:[0-9]+)?/|[A-Za-z0-9-]+:[0-9]+/)?"  # registry
    r"[a-z0-9][a-z0-9_./-]*"
    r"(:[A-Za-z0-9_.-]{1,128})?"
    r"(@sha256:[0-9a-f]{64})?"
)
_CAPABILITY: Final = re.compile(r"CAP_[A-Z_]+")
_ALL_OR_NONE: Final = ("all", "none")
_LIMIT: Final = re.compile(r"\s*[A-Za-z_]+\s*,\s*(\d+|unlimited)\s*,\s*(\d+|unlimited)\s*", re.IGNORECASE)
_BIND_PARTS: Final = (2, 3)
_TMPFS_PARTS: Final = 2


MODEL: Final = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)
"""Of each mapping. A key without a value is refused, as LinuxKit does, and so is one that nobody knows."""


def _mode(text: str) -> str:
    if not _MODE.fullmatch(text):
        raise ValueError('must be octal digits as text, such as "0644"')
    return text


def _reference(text: str) -> str:
    if text.startswith("@"):
        if not text.removeprefix(PACKAGE).strip() or not text.startswith(PACKAGE):
            raise ValueError(f"must be {PACKAGE}DIRECTORY, the only kind of name that begins with '@'")
    elif not _REFERENCE.fullmatch(text):
        raise ValueError("must be the reference of a container image, such as linuxkit/init:TAG")
    return text


def _volume_name(text: str) -> str:
    if not _VOLUME_NAME.fullmatch(text):
        raise ValueError("must hold only a-z, 0-9, '_' and '-'")
    return text


def _bind(text: str) -> str:
    if text.count(":") + 1 not in _BIND_PARTS:
        raise ValueError("must be SOURCE:DESTINATION or SOURCE:DESTINATION:OPTIONS")
    return text


def _tmpfs(text: str) -> str:
    if text.count(":") + 1 > _TMPFS_PARTS:
        raise ValueError("must be DESTINATION or DESTINATION:OPTIONS")
    return text


def _limit(text: str) -> str:
    if not _LIMIT.fullmatch(text):
        raise ValueError("must be NAME,SOFT,HARD with numbers or 'unlimited', such as nofile,100,200")
    return text


def _capabilities(names: list[str]) -> list[str]:
    if len(names) == 1 and names[0].lower() in _ALL_OR_NONE:
        return names
    for name in names:
        if not _CAPABILITY.fullmatch(name):
            rest = "; 'all' and 'none' stand alone" if name.lower() in _ALL_OR_NONE else ""
            raise ValueError(f"must hold capabilities such as CAP_NET_ADMIN, not {name!r}{rest}")
    return names


def _owner(written: Any) -> int | str:
    if isinstance(written, bool) or not isinstance(written, int | str):
        raise ValueError("must be a whole number, or the name of a container of this file")
    return written


def _metadata(text: str) -> str:
    if text not in ("", "json", "yaml"):
        raise ValueError("must be 'json' or 'yaml'")
    return text


Strings: TypeAlias = list[str]
Mode: TypeAlias = Annotated[str, AfterValidator(_mode)]
ImageReference: TypeAlias = Annotated[str, AfterValidator(_reference)]
VolumeName: TypeAlias = Annotated[str, AfterValidator(_volume_name)]
Bind: TypeAlias = Annotated[str, AfterValidator(_bind)]
Tmpfs: TypeAlias = Annotated[str, AfterValidator(_tmpfs)]
Limit: TypeAlias = Annotated[str, AfterValidator(_limit)]
Capabilities: TypeAlias = Annotated[list[str], AfterValidator(_capabilities)]
Owner: TypeAlias = Annotated[int | str, BeforeValidator(_owner)]
"""A user or group: its number, or a container's name, whose own number LinuxKit then takes."""
Metadata: TypeAlias = Annotated[str, AfterValidator(_metadata)]
