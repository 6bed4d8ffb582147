"""What is remembered as JSON, read back equal, also by another release than the one that wrote them.

A field that the writer did not know gets its default; one that the reader does not know is passed over. Values that
are still not what the types say are refused, never guessed at.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, NewType, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from infrakit_py.model.revision import GroupVersion
from infrakit_py.model.spec import Json

T = TypeVar("T")

_FORMAT: Final = 1
_SCALARS: Final = (bool, int, float, str)


class Unreadable(ValueError):
    """Why a stored text makes no value: damaged, or of a release that is too new. It tells types, never values.

    `path` leads to the place inside: names of fields and keys, numbers of items.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.path: tuple[str | int, ...] = ()


def version_json(version: GroupVersion) -> str:
    """Write a version as one JSON text in ASCII."""
    return _text("version", version)


def read_version(text: str) -> GroupVersion:
    """Return what `version_json` wrote. Unreadable for anything else."""
    return _read(GroupVersion, "version", text)


def value_json(value: object) -> str:
    """Write any frozen value as one JSON text in ASCII."""
    return _text("value", value)


def read_value(kind: type[T], text: str) -> T:
    """Return the value of a dataclass that `value_json` wrote. Unreadable for anything else."""
    return _read(kind, "value", text)


def _text(key: str, value: object) -> str:
    return json.dumps({"format": _FORMAT, key: encoded(value)}, separators=(",", ":"))


def _read(kind: type[T], key: str, text: str) -> T:
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise Unreadable(f"no JSON: {exc}") from exc
    if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
        raise Unreadable(f"not of format {_FORMAT}")
    return cast(T, decoded(kind, stored.get(key)))


def encoded(value: object) -> Json:
    """Return a frozen value as plain JSON: dataclasses and mappings as objects, tuples as arrays, enums as values."""
    if is_dataclass(value):
        return {field.name: encoded(getattr(value, field.name)) for field in fields(value)}
    match value:
        case Enum():
            return encoded(value.value)
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): encoded(item) for key, item in value.items()}
        case Sequence():
            return [encoded(item) for item in value]
    raise TypeError(f"a {type(value).__name__} has no place in JSON")


def decoded(hint: Any, value: Json) -> object:
    """Return the value of type `hint` that was encoded. Unreadable where there is none.

    Unions of several types are JSON as it was written, and stay what they are; unless all are plain.
    """
    if isinstance(hint, NewType):
        hint = hint.__supertype__
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _one_of(arguments, value)
    if origin is tuple and isinstance(value, list):
        return _tuple(arguments, value)
    if origin is Mapping and isinstance(value, dict):
        return {key: _inside(key, arguments[1], item) for key, item in value.items()}
    if is_dataclass(hint) and isinstance(value, dict):
        return _dataclass(cast(type, hint), value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member(hint, value)
    if hint in _SCALARS and (type(value) is hint or (hint is float and type(value) is int)):
        return value
    raise Unreadable(f"{type(value).__name__} instead of {getattr(hint, '__name__', hint)}")


def _one_of(options: Sequence[Any], value: Json) -> object:
    if value is None and NoneType in options:
        return None
    real = [option for option in options if option is not NoneType]
    if len(real) == 1:
        return decoded(real[0], value)
    if all(option in _SCALARS for option in real) and type(value) not in real:
        raise Unreadable(f"{type(value).__name__} instead of {' or '.join(option.__name__ for option in real)}")
    return value


def _tuple(arguments: Sequence[Any], value: Sequence[Json]) -> tuple[object, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_inside(index, arguments[0], item) for index, item in enumerate(value))
    if len(arguments) != len(value):
        raise Unreadable(f"{len(value)} items instead of {len(arguments)}")
    return tuple(_inside(index, hint, item) for index, (hint, item) in enumerate(zip(arguments, value, strict=True)))


def _dataclass(kind: type, value: Mapping[str, Json]) -> object:
    known = {name: _inside(name, hint, value[name]) for name, hint in _hints(kind).items() if name in value}
    try:
        return kind(**known)
    except TypeError as exc:
        raise Unreadable(f"{kind.__name__}: {exc}") from exc


def _inside(step: str | int, hint: Any, value: Json) -> object:
    try:
        return decoded(hint, value)
    except Unreadable as exc:
        exc.path = (step, *exc.path)
        raise


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    """Resolving hints takes longer than all the rest of a reading, and they never change."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _member(kind: type[Enum], value: Json) -> Enum:
    try:
        return kind(value)
    except ValueError:
        raise Unreadable(f"a value that is no {kind.__name__}") from None
