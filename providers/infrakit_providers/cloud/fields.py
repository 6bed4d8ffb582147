"""The kinds of values that a user may write for any cloud: units, lists and texts of a form."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from infrakit_py.model.quantities import parse_duration, parse_size


class Strict(BaseModel):
    """A mapping in which nothing is converted and nothing unknown is accepted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a text: a pattern for programs, and words for people."""

    pattern: str
    words: str

    def checked(self, text: str) -> str:
        if re.fullmatch(self.pattern, text) is None:
            raise ValueError(f"must {self.words}")
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self.checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}


def _duration(written: object) -> float:
    if isinstance(written, str):
        return parse_duration(written)
    raise ValueError(f"not a duration: {written!r} (write it with its unit: 30s, 5m or 1h)")


def _size(written: object) -> int:
    if isinstance(written, str):
        return parse_size(written)
    raise ValueError(f"not a size: {written!r} (write it with its unit: 20GiB)")


def unique(items: Sequence[str]) -> tuple[str, ...]:
    """Refuse a list that has anything twice."""
    for position, item in enumerate(items):
        if item in items[:position]:
            raise ValueError(f"{item} is there twice; leave one of them out")
    return tuple(items)


def listing(written: object) -> object:
    """Refuse what is no list."""
    if isinstance(written, str):
        raise ValueError(f"must be a list, such as [{written}]")
    if not isinstance(written, list | tuple):
        raise ValueError("must be a list")
    return written


def listed(written: object) -> object:
    """Take a text for a list of one."""
    return [written] if isinstance(written, str) else written


_Item = TypeVar("_Item")

Duration = Annotated[float, BeforeValidator(_duration, json_schema_input_type=str)]
"""Seconds, once validated."""
Size = Annotated[int, BeforeValidator(_size, json_schema_input_type=str)]
"""Bytes, once validated."""
Items = Annotated[Sequence[_Item], BeforeValidator(listing), AfterValidator(tuple)]
Name = Annotated[str, StringConstraints(pattern=r"^\S(.*\S)?$", max_length=255)]
