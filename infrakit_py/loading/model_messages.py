"""pydantic's findings in words for people who know YAML and not Python."""

from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from infrakit_py.loading.yaml_documents import Place

_SIMPLE: Final = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "dataclass_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "path_type": "must be a file name",
}
_WITH_LIMIT: Final[Mapping[str, Callable[[dict[str, Any]], str]]] = {
    "greater_than": lambda limit: f"must be greater than {limit['gt']}",
    "greater_than_equal": lambda limit: f"must be at least {limit['ge']}",
    "less_than": lambda limit: f"must be less than {limit['lt']}",
    "less_than_equal": lambda limit: f"must be at most {limit['le']}",
    "multiple_of": lambda limit: f"must be a multiple of {limit['multiple_of']}",
    "string_too_long": lambda limit: f"must have at most {limit['max_length']} characters",
    "string_pattern_mismatch": lambda limit: f"must match {limit['pattern']}",
    "literal_error": lambda limit: f"must be {limit['expected']}",
    "enum": lambda limit: f"must be {limit['expected']}",
    "too_long": lambda limit: f"must have at most {limit['max_length']} items",
    "value_error": lambda limit: str(limit["error"]),
    "assertion_error": lambda limit: str(limit["error"]),
    "union_tag_invalid": lambda limit: f"{limit['discriminator']} must be one of {limit['expected_tags']}",
    "union_tag_not_found": lambda limit: f"missing key {limit['discriminator']}",
}
_OPENINGS: Final = (("Input should ", "must "), ("Value error, ", ""), ("Assertion failed, ", ""))


def explain(details: ErrorDetails) -> str:
    """Say what is wrong with a value."""
    kind, context = details["type"], details.get("ctx", {})
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if kind == "string_type":
        quotes = isinstance(details["input"], bool | int | float)
        return "must be text; put quotes around it" if quotes else "must be text"
    if kind in ("string_too_short", "too_short"):
        least = context["min_length"]
        what = "characters" if kind == "string_too_short" else "items"
        return "must not be empty" if least == 1 else f"must have at least {least} {what}"
    if kind in _WITH_LIMIT:
        return _WITH_LIMIT[kind](context)
    message = details["msg"]
    for opening, replacement in _OPENINGS:
        if message.startswith(opening):
            return replacement + message.removeprefix(opening)
    return message[:1].lower() + message[1:]


def keys_of(model: type[BaseModel], place: Place) -> tuple[str, ...]:
    """Return the keys that a model allows at `place` below it; none where that cannot be told."""
    types: Sequence[Any] = [model]
    for step in place:
        types = [inner for outer in types for inner in _below(outer, step)]
    return tuple(sorted({key for type_ in types for key in _keys(type_)}))


def _below(type_: Any, step: int | str) -> list[Any]:
    """Return the types that a value at `step` of a value of `type_` may have."""
    if isinstance(type_, type) and issubclass(type_, BaseModel):
        return [
            inner
            for name, field in type_.model_fields.items()
            if step in (name, field.alias)
            for inner in _members(field.annotation)
        ]
    if get_origin(type_) in (dict, Mapping) and isinstance(step, str):
        return _members(get_args(type_)[1])
    if get_origin(type_) in (list, tuple, Sequence) and isinstance(step, int):
        return _members(get_args(type_)[0])
    return []


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for argument in get_args(annotation) for member in _members(argument)]
    return [annotation]


def _keys(type_: Any) -> tuple[str, ...]:
    if isinstance(type_, type) and issubclass(type_, BaseModel):
        return tuple(field.alias or name for name, field in type_.model_fields.items())
    return ()
