"""Files below /run/config, as the JSON in which LinuxKit's metadata package takes them. Pure; it knows no templates.

The JSON names each entry and gives it either `content`, which makes it a file, or `entries`, which makes it a
directory, and a `perm` in octal digits. Anything else, LinuxKit keeps as one raw file without a word.
Source: LinuxKit, pkg/metadata/main.go (`Entry`, `writeConfigFiles`).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ROOT: Final = "/run/config/"
HOSTNAME: Final = "hostname"
"""The file that LinuxKit takes the machine's host name from."""

_WRITTEN_BY_LINUXKIT: Final = ("userdata", "provider")
_NAME_LIMIT: Final = 255
"""Bytes in one name; Linux's NAME_MAX."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file with its content, or (without) a directory. An empty `perm` leaves it to LinuxKit: 0644 and 0755."""

    content: str | None = field(default=None, repr=False)
    perm: str = ""


def is_directory(path: str) -> bool:
    """Tell whether a path as the user wrote it means a directory."""
    return path.endswith("/")


def names_of(path: str) -> tuple[str, ...]:
    """Return the names that lead from /run/config to a path. ValueError, for people, where that leads elsewhere."""
    below = path.removeprefix(ROOT)
    if below.startswith("/"):
        raise ValueError(f"must lie below {ROOT}: nothing else is written")
    names = tuple(below.removesuffix("/").split("/"))
    if "" in names:
        raise ValueError("must be a path such as app/config.toml, without empty names")
    if {".", ".."} & set(names):
        raise ValueError("must not hold the names . and ..")
    if _CONTROL.search(below):
        raise ValueError("must not hold control characters")
    if any(len(name.encode()) > _NAME_LIMIT for name in names):
        raise ValueError(f"must not hold a name of more than {_NAME_LIMIT} bytes")
    if len(names) == 1 and names[0] in _WRITTEN_BY_LINUXKIT:
        raise ValueError(f"must be another name: LinuxKit itself writes {ROOT}{names[0]}")
    if names == (HOSTNAME,) and is_directory(path):
        raise ValueError("must be a file: LinuxKit reads the machine's name from it")
    return names


def conflicts(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Find paths that cannot be there together: the later one, and what is wrong with it."""
    paths = tuple(paths)
    seen: dict[tuple[str, ...], str] = {}
    files = {names_of(path): path for path in paths if not is_directory(path)}
    for path in paths:
        names = names_of(path)
        if names in seen:
            yield path, f"is declared twice ({seen[names]!r})"
            continue
        seen[names] = path
        for length in range(1, len(names)):
            if (above := files.get(names[:length])) is not None:
                yield path, f"lies below {above!r}, which is a file"


def user_data_of(entries: Mapping[str, Entry], *, hostname: str) -> bytes:
    """Return the JSON. The same entries give the same bytes, in whichever order they were written.

    A file `hostname` is added where none is declared. The paths must be without `conflicts`.
    """
    root: dict[str, Any] = {}
    for path, entry in entries.items():
        *above, name = names_of(path)
        here = root
        for directory in above:
            here = here.setdefault(directory, {"entries": {}})["entries"]
        if entry.content is None:
            node = here.setdefault(name, {"entries": {}})
        else:
            node = here[name] = {"content": entry.content}
        if entry.perm:
            node["perm"] = entry.perm
    root.setdefault(HOSTNAME, {"content": hostname})
    return json.dumps(root, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
