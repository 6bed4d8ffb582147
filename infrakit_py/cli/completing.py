"""Names for the shell's completion: found quickly, groups in files that may be half written. Never fails."""

from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import yaml

_MOST_BYTES: Final = 1_000_000
_PROVIDERS: Final = "infrakit.providers"


def provider_plugins() -> list[str]:
    """Return the names of the provider plugins that are installed. None of them is imported."""
    return sorted({entry.name for entry in entry_points(group=_PROVIDERS)})


def group_names(paths: Sequence[Path]) -> list[str]:
    """Return the groups that files, or the files of directories, declare. What cannot be read declares none."""
    return _names(paths, "groups")


def image_names(paths: Sequence[Path]) -> list[str]:
    """Return the images that files, or the files of directories, declare. What cannot be read declares none."""
    return _names(paths, "images")


def _names(paths: Sequence[Path], part: str) -> list[str]:
    names: dict[str, None] = {}
    for path in paths:
        for file in _files(path):
            names.update(dict.fromkeys(_declared(file, part)))
    return list(names)


def _files(path: Path) -> Iterable[Path]:
    try:
        if path.is_dir():
            return sorted(file for file in path.iterdir() if file.suffix in (".yml", ".yaml") and file.is_file())
        return [path] if path.is_file() else []
    except OSError:
        return []


def _declared(file: Path, part: str) -> list[str]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            return []
        # BaseLoader makes text of everything, so that no tag or date in the file can matter.
        documents = list(yaml.load_all(file.read_text(encoding="utf-8"), yaml.BaseLoader))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return []
    declared = [d.get(part) for d in documents if isinstance(d, dict)]
    return [name for entries in declared if isinstance(entries, dict) for name in entries if isinstance(name, str)]
