"""The types of single values in the YAML: names, durations, amounts. Each says in words what it wants."""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema

from infrakit_py.model.quantities import Amount, parse_duration
from infrakit_py.model.tags import PREFIX

MAX_SIZE: Final = 100_000
_MAX_NAME: Final = 40
_MAX_SECONDS: Final = 365 * 86400
_MIN_AGE_SECONDS: Final = 60
_NAME: Final = r"[a-z]([a-z0-9-]*[a-z0-9])?"
_NAME_RULE: Final = (
    "must hold only a-z, 0-9 and '-', begin with a letter and not end in '-' (host names are made of it)"
)
_IMAGE_NAME: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_IMAGE_NAME_RULE: Final = "must hold only letters, digits, '.', '_' and '-', and begin and end with a letter or digit"
_MAX_IMAGE_NAME: Final = 100
_DURATION_SCHEMA: Final = {
    "type": "string",
    "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$",
    "examples": ["500ms", "90s", "5m", "1h30m"],
}
_AMOUNT_SCHEMA: Final = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": MAX_SIZE},
        {"type": "string", "pattern": r"^(\d+|\d{1,2}%|100%)$"},
    ],
    "examples": [1, "25%"],
}
_POSITIVE_AMOUNT_SCHEMA: Final = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": MAX_SIZE},
        {"type": "string", "pattern": r"^0*([1-9]\d*|[1-9]\d?%|100%)$"},
    ],
    "examples": [1, "25%"],
}


def _matching(pattern: str, limit: int, rule: str) -> Callable[[str], str]:
    def check(name: str) -> str:
        if not re.fullmatch(pattern, name):
            raise ValueError(rule)
        if len(name) > limit:
            raise ValueError(f"must have at most {limit} characters, has {len(name)}")
        return name

    return check


def _written(value: Any) -> Any:
    if value is None:
        raise ValueError("must have a value, or be left out")
    return value


def _duration(written: Any) -> float:
    if not isinstance(written, str):
        raise ValueError("must be a duration with its unit, such as 500ms, 90s, 5m or 1h30m")
    seconds = parse_duration(written)
    if seconds > _MAX_SECONDS:
        raise ValueError("must be at most 365d")
    return seconds


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than 0s")
    return seconds


def _amount(written: Any) -> Amount:
    if isinstance(written, bool) or not isinstance(written, int | str):
        raise ValueError("must be a count of machines or a percentage, such as 2 or 25%")
    amount = Amount.parse(written)
    if amount.value > MAX_SIZE:
        raise ValueError(f"must be at most {MAX_SIZE}")
    return amount


def _positive_amount(written: Any) -> Amount:
    amount = _amount(written)
    if amount.value == 0:
        raise ValueError(f"must be at least 1{'%' * amount.percent}")
    return amount


def _age(seconds: float) -> float:
    if seconds < _MIN_AGE_SECONDS:
        raise ValueError("must be at least 1m: a younger group would never be at rest")
    return seconds


def _listed(written: Any) -> Any:
    return written if isinstance(written, list) else [written]


def _split(written: Any) -> Any:
    if isinstance(written, str):
        raise ValueError("must be a list of words, such as [/usr/local/bin/check, --strict]: no shell splits it")
    return written


def _word(word: str) -> str:
    if not word:
        raise ValueError("must not be empty")
    if "\0" in word:
        raise ValueError("must not hold the character U+0000")
    return word


def _tag_key(key: str) -> str:
    if key.startswith(PREFIX):
        raise ValueError(f"must not begin with {PREFIX!r}: those tags are our own")
    if not 1 <= len(key) <= 128:
        raise ValueError(f"must have 1 to 128 characters, has {len(key)}")
    if "," in key:
        raise ValueError("must not hold a comma")
    return key


def _tag_value(value: str) -> str:
    if len(value) > 256:
        raise ValueError(f"must have at most 256 characters, has {len(value)}")
    return value


class _ItemOrItems:
    """Lets a list's JSON Schema take one item without its brackets as well."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        items = handler(core)
        return {"anyOf": [items["items"], items]}


T = TypeVar("T")
Choice = TypeVar("Choice", bound=StrEnum)

Omittable: TypeAlias = Annotated[T | SkipJsonSchema[None], BeforeValidator(_written)]
"""A key that may be left out, but not written without a value."""
OneOrMore: TypeAlias = Annotated[list[T], Field(min_length=1), BeforeValidator(_listed), _ItemOrItems()]
"""A list, or its only item by itself."""
OneOf: TypeAlias = Annotated[Choice, Field(strict=False)]
"""One of an enumeration's words."""
Name: TypeAlias = Annotated[
    str,
    AfterValidator(_matching(_NAME, _MAX_NAME, _NAME_RULE)),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$", "maxLength": _MAX_NAME}),
]
ImageName: TypeAlias = Annotated[
    str,
    AfterValidator(_matching(_IMAGE_NAME, _MAX_IMAGE_NAME, _IMAGE_NAME_RULE)),
    WithJsonSchema({"type": "string", "pattern": f"^{_IMAGE_NAME}$", "maxLength": _MAX_IMAGE_NAME}),
]
Duration: TypeAlias = Annotated[float, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
PositiveDuration: TypeAlias = Annotated[
    float, BeforeValidator(_duration), AfterValidator(_positive), WithJsonSchema(_DURATION_SCHEMA)
]
Age: TypeAlias = Annotated[float, BeforeValidator(_duration), AfterValidator(_age), WithJsonSchema(_DURATION_SCHEMA)]
AmountField: TypeAlias = Annotated[
    Amount, PlainValidator(_amount), PlainSerializer(str), WithJsonSchema(_AMOUNT_SCHEMA)
]
PositiveAmount: TypeAlias = Annotated[
    Amount, PlainValidator(_positive_amount), PlainSerializer(str), WithJsonSchema(_POSITIVE_AMOUNT_SCHEMA)
]
Size: TypeAlias = Annotated[int, Field(ge=0, le=MAX_SIZE)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=1000)]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
FileName: TypeAlias = Annotated[str, Field(min_length=1)]
Word: TypeAlias = Annotated[str, AfterValidator(_word), WithJsonSchema({"type": "string", "minLength": 1})]
Command: TypeAlias = Annotated[list[Word], Field(min_length=1), BeforeValidator(_split)]
TagKey: TypeAlias = Annotated[str, AfterValidator(_tag_key)]
TagValue: TypeAlias = Annotated[str, AfterValidator(_tag_value)]
