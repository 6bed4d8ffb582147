"""What changed between two LinuxKit files, in words. Contents of files and values of environments are never shown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from infrakit_py.model.spec import Json

_LONGEST: Final = 70
_CONTAINERS: Final = ("onboot", "services", "onshutdown")
_ORDERED: Final = frozenset({"onboot", "onshutdown"})
"""Lists whose order is that of running."""
_ABSENT: Final = object()


def differences(old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[str]:
    """Say what is different, a line each: `kernel.image: A → B`, `services[web]: added`. Nothing if all is equal."""
    lines: list[str] = []
    for part in dict.fromkeys((*old, *new)):
        before, after = old.get(part, _ABSENT), new.get(part, _ABSENT)
        if before == after:
            continue
        name = _NAMES.get(part)
        if name is not None and _are_lists(before, after):
            lines += _items(part, _named(before, name), _named(after, name))
        else:
            lines += _values(part, before, after)
    return lines


def _items(part: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Compare lists whose items have names."""
    for name in dict.fromkeys((*old, *new)):
        place = f"{part}[{name}]"
        if name not in old:
            yield f"{place}: added"
        elif name not in new:
            yield f"{place}: removed"
        else:
            yield from _values(place, old[name], new[name])
    both = [name for name in old if name in new]
    if part in _ORDERED and both != [name for name in new if name in old]:
        yield f"{part}: in another order"


def _values(place: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _values(f"{place}.{key}", old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif place.startswith("files[") and place.endswith(".contents"):
        yield f"{place}: {_word(old, new)}"
    elif place.endswith(".env"):
        yield f"{place}: {', '.join(_variables(old, new))}"
    else:
        yield f"{place}: {_shown(old)} → {_shown(new)}"


def _variables(old: Any, new: Any) -> Iterator[str]:
    """Say which variables differ, and never what they hold."""
    before, after = _environment(old), _environment(new)
    for name in dict.fromkeys((*before, *after)):
        if before.get(name, _ABSENT) != after.get(name, _ABSENT):
            yield f"{name} {_word(before.get(name, _ABSENT), after.get(name, _ABSENT))}"
    if before == after:
        yield "in another order"


def _environment(written: Any) -> dict[str, str]:
    items = written if isinstance(written, list) else []
    return {str(item).split("=", 1)[0]: str(item) for item in items}


def _word(old: Any, new: Any) -> str:
    if old is _ABSENT:
        return "added"
    return "removed" if new is _ABSENT else "changed"


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "(none)"
    if isinstance(value, list):
        text = f"[{', '.join(_shown(item) for item in value)}]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key}: {_shown(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, bool) or value is None:
        text = str(value).lower() if value is not None else "null"
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _are_lists(*values: Any) -> bool:
    return all(value is _ABSENT or isinstance(value, list) for value in values)


def _named(items: Any, name: Callable[[Any], str]) -> dict[str, Any]:
    """Return items by their names; of one name the later ones have a number."""
    found: dict[str, Any] = {}
    for item in items if isinstance(items, list) else []:
        key = called = name(item)
        number = 2
        while key in found:
            key, number = f"{called}#{number}", number + 1
        found[key] = item
    return found


def _by(key: str) -> Callable[[Any], str]:
    return lambda item: str(item.get(key, "?")) if isinstance(item, dict) else str(item)


def _repository(item: Any) -> str:
    """Return a reference without its tag and digest."""
    text = str(item).split("@sha256:")[0]
    head, _, last = text.rpartition("/")
    name = last.split(":")[0]
    return f"{head}/{name}" if head else name


_NAMES: Final[Mapping[str, Callable[[Any], str]]] = {
    **{part: _by("name") for part in (*_CONTAINERS, "volumes")},
    "files": _by("path"),
    "init": _repository,
}
"""By what the items of lists are told apart."""
