"""Whether a value fits what the discovery document says of it. Checks are compiled once for each schema."""

import base64
import binascii
from collections.abc import Callable, KeysView, Mapping
from functools import cache
from typing import Any, Final

from tests.fakes.gce.document import Schema, pattern, schema

Check = Callable[[Any, str], None]
"""Takes a value and where it is. Raises Misfit."""

_RANGES: Final = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}


class Misfit(Exception):
    """A value that its schema does not allow: where, and why. `unknown` names a member that does not exist."""

    def __init__(self, where: str, why: str, *, unknown: str = "", missing: bool = False) -> None:
        super().__init__(f"{where}: {why}")
        self.where = where
        self.why = why
        self.unknown = unknown
        self.missing = missing


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
    check: Check | None = None

    def late(value: Any, where: str) -> None:
        nonlocal check
        if type(value) is Checked:
            if value.schema != name:
                raise Misfit(where, f"is a {value.schema}, not a {name}")
            return
        if check is None:  # only now, because schemas refer to themselves
            check = _compile(schema(name), method_id)
        check(value, where)

    return late


def check_parameter(written: str, parameter: Schema, where: str) -> Any:
    """Return the value of a parameter in a URL. Raise Misfit."""
    match parameter.get("type"):
        case "boolean":
            if written not in ("true", "false"):
                raise Misfit(where, f"(TYPE_BOOL), {written!r}")
            return written == "true"
        case "integer":
            if not written.lstrip("-").isdigit():
                raise Misfit(where, f"(TYPE_UINT32), {written!r}")
            _integer(parameter)(int(written), where)
            return int(written)
        case _:
            _string(parameter)(written, where)
            return written


def _compile(one: Schema, method_id: str) -> Check:
    if "$ref" in one:
        return check_of(one["$ref"], method_id)
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
            return lambda value, where: None
        case other:
            raise ValueError(f"the fake does not know type {other!r}")


def _object(one: Schema, method_id: str) -> Check:
    properties: Mapping[str, Schema] = one.get("properties", {})
    checks = {name: _compile(inner, method_id) for name, inner in properties.items()}
    needed = [
        name for name, inner in properties.items() if method_id in inner.get("annotations", {}).get("required", ())
    ]

    def check(value: Any, where: str) -> None:
        if type(value) is not dict:
            raise Misfit(where, f"is no object: {value!r}")
        for name, inner in value.items():
            found = checks.get(name)
            if found is None:
                raise Misfit(where, f"unknown member {name!r}", unknown=name)
            found(inner, f"{where}.{name}")
        for name in needed:
            if name not in value:
                raise Misfit(f"{where}.{name}", "is required", missing=True)

    return check


def _map(one: Schema, method_id: str) -> Check:
    each = _compile(one["additionalProperties"], method_id)

    def check(value: Any, where: str) -> None:
        if type(value) is not dict:
            raise Misfit(where, f"is no map: {value!r}")
        for name, inner in value.items():
            each(inner, f"{where}[{name!r}]")

    return check


def _array(one: Schema, method_id: str) -> Check:
    each = _compile(one["items"], method_id)

    def check(value: Any, where: str) -> None:
        if type(value) is not list:
            raise Misfit(where, f"is no list: {value!r}")
        for number, inner in enumerate(value):
            each(inner, f"{where}[{number}]")

    return check


def _string(one: Schema) -> Check:
    enum = frozenset(one.get("enum", ()))
    form = one.get("format")
    regex = pattern(one["pattern"]) if "pattern" in one else None
    low, high = _RANGES.get(form or "", (0, 0))

    def check(value: Any, where: str) -> None:
        if type(value) is not str:
            raise Misfit(where, f"(TYPE_STRING), {value!r}")
        if enum and value not in enum:
            raise Misfit(where, f"(TYPE_ENUM), {value!r}")
        if regex and not regex.fullmatch(value):
            raise Misfit(where, f"{value!r} must be a match of regex '{regex.pattern}'")
        if form == "byte":
            try:
                base64.b64decode(value, validate=True)
            except binascii.Error as exc:
                raise Misfit(where, f"(TYPE_BYTES), {value!r}") from exc
        elif high and not (value.lstrip("-").isdigit() and low <= int(value) <= high):
            raise Misfit(where, f"(TYPE_{str(form).upper()}), {value!r}")

    return check


def _integer(one: Schema) -> Check:
    form = one.get("format", "int32")
    low, high = _RANGES[form]

    def check(value: Any, where: str) -> None:
        if type(value) is not int or not low <= value <= high:
            raise Misfit(where, f"(TYPE_{form.upper()}), {value!r}")

    return check


def _boolean(value: Any, where: str) -> None:
    if type(value) is not bool:
        raise Misfit(where, f"(TYPE_BOOL), {value!r}")


def _number(value: Any, where: str) -> None:
    if type(value) not in (int, float):
        raise Misfit(where, f"(TYPE_DOUBLE), {value!r}")
