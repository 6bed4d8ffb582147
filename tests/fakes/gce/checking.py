"""Whether a value fits what the discovery document says of it. Checks are compiled once for each schema."""

import base64
import binascii
from collections.abc import Callable, KeysView, Mapping
from functools import cache
from typing import Any, Final, Self

from tests.fakes.gce.document import Schema, pattern, schema

Check = Callable[[Any, str], None]
"""Takes a value and where it is. Raises Misfit."""
_Inner = Callable[[Any], None]
"""Takes a value. Raises Misfit, which is told where on its way out, so that a good value costs nothing for it."""

_RANGES: Final = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}


class Misfit(Exception):
    """A value that its schema does not allow: where, and why. `unknown` names a member that does not exist."""

    def __init__(self, why: str, where: str = "", *, unknown: str = "", missing: bool = False) -> None:
        super().__init__(why)
        self.where = where
        self.why = why
        self.unknown = unknown
        self.missing = missing

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"

    def within(self, outer: str) -> Self:
        """Note what the value is part of."""
        self.where = outer + self.where
        return self


class Checked:
    """A value that fits a schema, with its JSON, so that neither is worked out twice."""

    __slots__ = ("schema", "text", "value")

    def __init__(self, schema_name: str, value: dict[str, Any], text: str) -> None:
        self.schema = schema_name
        self.value = value
        self.text = text

    def __getitem__(self, name: str) -> Any:
        return self.value[name]

    def keys(self) -> KeysView[str]:
        return self.value.keys()


@cache
def check_of(name: str, method_id: str = "") -> Check:
    """Return the check of a schema; with a method, as the body of its request, where members may be required."""
    inner = _reference(name, method_id)

    def check(value: Any, where: str) -> None:
        try:
            inner(value)
        except Misfit as exc:
            raise exc.within(where)  # noqa: B904 - it is the same one

    return check


@cache
def _reference(name: str, method_id: str) -> _Inner:
    check: _Inner | None = None

    def late(value: Any) -> None:
        nonlocal check
        if type(value) is Checked:
            if value.schema != name:
                raise Misfit(f"is a {value.schema}, not a {name}")
            return
        if check is None:  # only now, because schemas refer to themselves
            check = _compile(schema(name), method_id)
        check(value)

    return late


def check_parameter(written: str, parameter: Schema, where: str) -> Any:
    """Return the value of a parameter in a URL. Raise Misfit."""
    try:
        match parameter.get("type"):
            case "boolean":
                if written not in ("true", "false"):
                    raise Misfit(f"(TYPE_BOOL), {written!r}")
                return written == "true"
            case "integer":
                if not written.removeprefix("-").isdigit():
                    raise Misfit(f"(TYPE_UINT32), {written!r}")
                _integer(parameter)(int(written))
                return int(written)
            case _:
                _string(parameter)(written)
                return written
    except Misfit as exc:
        raise exc.within(where)  # noqa: B904 - it is the same one


def _compile(one: Schema, method_id: str) -> _Inner:
    if "$ref" in one:
        return _reference(one["$ref"], method_id)
    match one.get("type"):
        case "object" if "additionalProperties" in one:
            return _map(one, method_id)
        case "object":
            return _object(one, method_id)
        case "array":
            return _array(one, method_id)
        case "string":
            return _string(one)
        case "boolean":
            return _boolean
        case "integer":
            return _integer(one)
        case "number":
            return _number
        case "any":
            return lambda value: None
        case other:
            raise ValueError(f"the fake does not know type {other!r}")


def _object(one: Schema, method_id: str) -> _Inner:
    properties: Mapping[str, Schema] = one.get("properties", {})
    checks = {name: _compile(inner, method_id) for name, inner in properties.items()}
    needed = [
        name for name, inner in properties.items() if method_id in inner.get("annotations", {}).get("required", ())
    ]

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise Misfit(f"is no object: {value!r}")
        for name, inner in value.items():
            found = checks.get(name)
            if found is None:
                raise Misfit(f"unknown member {name!r}", unknown=name)
            try:
                found(inner)
            except Misfit as exc:
                raise exc.within(f".{name}")  # noqa: B904 - it is the same one
        for name in needed:
            if name not in value:
                raise Misfit("is required", f".{name}", missing=True)

    return check


def _map(one: Schema, method_id: str) -> _Inner:
    each = _compile(one["additionalProperties"], method_id)

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise Misfit(f"is no map: {value!r}")
        for name, inner in value.items():
            try:
                each(inner)
            except Misfit as exc:
                raise exc.within(f"[{name!r}]")  # noqa: B904 - it is the same one

    return check


def _array(one: Schema, method_id: str) -> _Inner:
    each = _compile(one["items"], method_id)

    def check(value: Any) -> None:
        if type(value) is not list:
            raise Misfit(f"is no list: {value!r}")
        for number, inner in enumerate(value):
            try:
                each(inner)
            except Misfit as exc:
                raise exc.within(f"[{number}]")  # noqa: B904 - it is the same one

    return check


def _string(one: Schema) -> _Inner:
    enum = frozenset(one.get("enum", ()))
    form = one.get("format")
    regex = pattern(one["pattern"]) if "pattern" in one else None
    low, high = _RANGES.get(form or "", (0, 0))

    def check(value: Any) -> None:
        if type(value) is not str:
            raise Misfit(f"(TYPE_STRING), {value!r}")
        if enum and value not in enum:
            raise Misfit(f"(TYPE_ENUM), {value!r}")
        if regex and not regex.fullmatch(value):
            raise Misfit(f"{value!r} must be a match of regex '{regex.pattern}'")
        if form == "byte":
            try:
                base64.b64decode(value, validate=True)
            except binascii.Error as exc:
                raise Misfit(f"(TYPE_BYTES), {value!r}") from exc
        elif high and not (value.removeprefix("-").isdigit() and low <= int(value) <= high):
            raise Misfit(f"(TYPE_{str(form).upper()}), {value!r}")

    return check


def _integer(one: Schema) -> _Inner:
    form = one.get("format", "int32")
    low, high = _RANGES[form]

    def check(value: Any) -> None:
        if type(value) is not int or not low <= value <= high:
            raise Misfit(f"(TYPE_{form.upper()}), {value!r}")

    return check


def _boolean(value: Any) -> None:
    if type(value) is not bool:
        raise Misfit(f"(TYPE_BOOL), {value!r}")


def _number(value: Any) -> None:
    if type(value) not in (int, float):
        raise Misfit(f"(TYPE_DOUBLE), {value!r}")
