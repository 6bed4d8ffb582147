"""Images that machines will boot from now on: whose place they take, and what changed in their making."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click

from infrakit_py.model.quantities import format_size
from infrakit_py.model.spec import KNOWN_LATER, Image, Json
from infrakit_py.render.recipe_changes import differences
from infrakit_py.render.words import SHORT

_LINES = 20


@dataclass(frozen=True, slots=True)
class Making:
    """How an image was made, as far as anybody remembers. `content` is a LinuxKit YAML, and may hold secrets."""

    content: Mapping[str, Json] | None = field(default=None, repr=False)
    sources: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """The digest and size in bytes of each part."""
    cmdline: str = ""
    tool: str = ""


@dataclass(frozen=True, slots=True)
class ImageChange:
    """An image whose bytes are not those that machines run. `before`: the identity of those, empty where none do."""

    image: Image
    before: str
    changes: tuple[str, ...] = ()


def changes_between(old: Making, new: Making) -> tuple[str, ...]:
    """Say what makes two images differ: their recipes where both are known, else their parts. Never a secret."""
    found: list[str] = []
    if old.content is not None and new.content is not None:
        found += differences(old.content, new.content)
        found += _changed_files(old.sources, new.sources)
        if old.tool and new.tool and old.tool != new.tool:
            found.append(f"linuxkit: {old.tool} → {new.tool}")
    return tuple(found or _changed_parts(old, new))


def change_lines(changes: Sequence[ImageChange]) -> list[str]:
    """Write `image web: 1a2b3c4d5e6f → 4d5e6f7a8b9c`, and below it what changed."""
    lines: list[str] = []
    for change in changes:
        after = change.image.short if change.image.is_built else click.style(KNOWN_LATER, fg="yellow")
        before = f"{change.before[:SHORT]} → " if change.before else ""
        lines.append(f"image {change.image.name}: {before}{after}")
        lines += [f"  {text}" for text in change.changes[:_LINES]]
        if len(change.changes) > _LINES:
            lines.append(f"  … and {len(change.changes) - _LINES} more (infra image diff shows all)")
    return lines


def changes_json(changes: Sequence[ImageChange]) -> list[Json]:
    return [
        {
            "image": change.image.name,
            "before": change.before or None,
            "identity": change.image.identity if change.image.is_built else None,
            "known_after_build": not change.image.is_built,
            "changes": list(change.changes),
        }
        for change in changes
    ]


def _changed_files(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    named = sorted(old.keys() | new.keys())
    return [f"file {path}: {_word(path in old, path in new)}" for path in named if old.get(path) != new.get(path)]


def _word(was: bool, is_now: bool) -> str:
    return "changed" if was and is_now else "added" if is_now else "removed"


def _changed_parts(old: Making, new: Making) -> list[str]:
    if not old.files or not new.files:
        return []
    lines = []
    for part in sorted(old.files.keys() | new.files.keys()):
        before, after = old.files.get(part), new.files.get(part)
        if before == after:
            continue
        if part == "cmdline" and before and after:
            lines.append(f"cmdline: {old.cmdline} → {new.cmdline}")
        elif before and after:
            lines.append(f"{part}: changed ({format_size(before[1])} → {format_size(after[1])})")
        else:
            lines.append(f"{part}: {_word(before is not None, after is not None)}")
    return lines
