"""What changed between two LinuxKit files, in words. Contents of files and values of environments are never shown."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeGuard

from infrakit_py.model.spec import Json

_LONGEST: Final = 70
_KEPT: Final = 12
"""Characters before the first difference that are shown of values that are alike for long."""
_CONTAINERS: Final = ("onboot", "services", "onshutdown")
_ABSENT: Final = object()
_ENVIRONMENT: Final = "env"
_CONTENTS: Final = "contents"
_PLAIN_WORD: Final = re.compile(r"[\w./:@=+-]+")


def differences(old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[str]:
    """Say what is different, a line each: `kernel.image: A → B`, `services[web]: added`. Nothing if all is equal."""
    lines: list[str] = []
    for part in dict.fromkeys((*old, *new)):
        before, after = old.get(part, _ABSENT), new.get(part, _ABSENT)
        name = _NAMES.get(part)
        if name is not None and _are_lists(before, after):
            lines += _items(part, _named(before, name), _named(after, name))
        else:
            lines += _values(part, part, before, after)
    return lines


def _items(part: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Compare lists whose items have names. Their order counts too: LinuxKit numbers and lays them in it."""
    for name in dict.fromkeys((*old, *new)):
        place = f"{part}[{_one_line(name)}]"
        if name not in old:
            yield f"{place}: added"
        elif name not in new:
            yield f"{place}: removed"
        else:
            yield from _values(place, "", old[name], new[name])
    both = [name for name in old if name in new]
    if both != [name for name in new if name in old]:
        yield f"{part}: in another order"


def _values(place: str, key: str, old: Any, new: Any) -> Iterator[str]:
    """Compare the values of a key; what is a secret by its key is not shown."""
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for inner in dict.fromkeys((*old, *new)):
            yield from _values(f"{place}.{_one_line(inner)}", inner, old.get(inner, _ABSENT), new.get(inner, _ABSENT))
    elif key == _CONTENTS:
        yield f"{place}: {_word(old, new)}"
    elif key == _ENVIRONMENT:
        yield f"{place}: {', '.join(_variables(old, new))}"
    else:
        yield f"{place}: {_change(old, new)}"


def _variables(old: Any, new: Any) -> Iterator[str]:
    """Say which variables differ, and never what they hold."""
    before, after = _environment(old), _environment(new)
    for name in dict.fromkeys((*before, *after)):
        was, is_now = before.get(name, _ABSENT), after.get(name, _ABSENT)
        if was != is_now:
            yield f"{_one_line(name)} {_word(was, is_now)}"
    if before == after:
        yield "in another order" if old is not _ABSENT and new is not _ABSENT else _word(old, new)


def _environment(written: Any) -> dict[str, list[str]]:
    """Return what is written of each variable, by its name."""
    found: dict[str, list[str]] = {}
    for item in written if _is_list(written) else []:
        found.setdefault(str(item).split("=", 1)[0], []).append(str(item))
    return found


def _word(old: Any, new: Any) -> str:
    if old is _ABSENT:
        return "added"
    return "removed" if new is _ABSENT else "changed"


def _change(old: Any, new: Any) -> str:
    """Show two different values so that the difference is seen, however long they are."""
    before, after = _shown(old), _shown(new)
    if before == after:
        if not (isinstance(old, str) and isinstance(new, str)):
            return "changed"
        before, after = _quoted(old), _quoted(new)
    pairs = enumerate(zip(before, after, strict=False))
    alike = next((at for at, (one, other) in pairs if one != other), min(len(before), len(after)))
    if max(len(before), len(after)) > _LONGEST and alike > _LONGEST // 2:
        begin = alike - _KEPT
        before, after = f"…{before[begin:]}", f"…{after[begin:]}"
    return f"{_cut(before)} → {_cut(after)}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "(none)"
    return _one_line(value) if isinstance(value, str) else _within(value)


def _within(value: Any) -> str:
    """Write a value, or one within another: there, texts are quoted where they would run into each other."""
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{_one_line(key)}: {_hidden(key) or _within(item)}" for key, item in value.items()) + "}"
        )
    if _is_list(value):
        return f"[{', '.join(_within(item) for item in value)}]"
    if isinstance(value, str) and _PLAIN_WORD.fullmatch(value):
        return value
    return _quoted(value)


def _hidden(key: str) -> str:
    return "(not shown)" if key in (_ENVIRONMENT, _CONTENTS) else ""


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _one_line(text: str) -> str:
    """Write a text without line breaks, and without characters that would move a terminal's cursor."""
    text = " ".join(text.split())
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _are_lists(*values: Any) -> bool:
    return all(value is _ABSENT or _is_list(value) for value in values)


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _named(items: Any, name: Callable[[Any], str]) -> dict[str, Any]:
    """Return items by their names; of one name the later ones have a number."""
    found: dict[str, Any] = {}
    for item in items if _is_list(items) else []:
        key = called = name(item)
        number = 2
        while key in found:
            key, number = f"{called}#{number}", number + 1
        found[key] = item
    return found


def _by(key: str) -> Callable[[Any], str]:
    return lambda item: str(item.get(key, "?")) if isinstance(item, Mapping) else str(item)


def _path(item: Any) -> str:
    """Return a file's path as LinuxKit takes it: from the root, with or without a slash."""
    return _by("path")(item).lstrip("/")


def _repository(item: Any) -> str:
    """Return a reference without its tag and digest."""
    text = str(item).split("@sha256:")[0]
    head, slash, last = text.rpartition("/")
    return f"{head}{slash}{last.split(':')[0]}"


_NAMES: Final[Mapping[str, Callable[[Any], str]]] = {
    **{part: _by("name") for part in (*_CONTAINERS, "volumes")},
    "files": _path,
    "init": _repository,
}
"""By what the items of lists are told apart."""
