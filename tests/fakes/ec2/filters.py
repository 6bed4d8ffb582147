"""Filters and pages, as all describing calls have them."""

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

from tests.fakes.ec2.errors import AwsError, bad_combination
from tests.fakes.ec2.reading import Asked

Thing = TypeVar("Thing")
Field = Callable[[Any], "str | Iterable[str] | None"]
Fields = Mapping[str, Callable[[Thing], "str | Iterable[str] | None"]]
"""What a filter's name is compared with: one value, several, or none."""
SMALLEST_PAGE: Final = 5
LARGEST_PAGE: Final = 1000


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str] | None:
    """Return what a value with * or ? matches, None for one that is meant as it is. A backslash takes one as such."""
    if not re.search(r"[*?\\]", text):
        return None
    parts = re.findall(r"\\.|.", text, re.DOTALL)
    known = {"*": ".*", "?": "."}
    return re.compile("".join(known.get(one) or re.escape(one[-1]) for one in parts), re.DOTALL)


def matches(values: Sequence[str], actual: str) -> bool:
    """Tell whether one of a filter's values, which may have * and ?, is meant."""
    return any(
        pattern.fullmatch(actual) is not None if (pattern := _pattern(value)) else value == actual for value in values
    )


def selected(
    things: Iterable[Thing],
    asked: Asked,
    fields: Fields[Thing],
    tags: Callable[[Thing], Mapping[str, str]] | None = None,
) -> list[Thing]:
    """Return what all filters of a request let through. A filter that is not known is an error."""
    found = list(things)
    for one in asked.get("Filters", ()):
        name, values = one.get("Name", ""), one.get("Values", [])
        if not values:
            raise AwsError("InvalidParameterValue", f"The filter '{name}' needs a value")
        if len(values) > 200:
            raise AwsError(
                "FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200"
            )
        test = _test(name, values, fields, tags)
        found = [thing for thing in found if test(thing)]
    return found


def _test(
    name: str,
    values: Sequence[str],
    fields: Fields[Thing],
    tags: Callable[[Thing], Mapping[str, str]] | None,
) -> Callable[[Thing], bool]:
    if tags is not None and name.startswith("tag:"):
        key = name[4:]
        return lambda thing: (actual := tags(thing).get(key)) is not None and matches(values, actual)
    if tags is not None and name == "tag-key":
        return lambda thing: any(matches(values, key) for key in tags(thing))
    if name not in fields:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    field = fields[name]

    def test(thing: Thing) -> bool:
        actual = field(thing)
        if actual is None:
            return False
        return any(matches(values, text) for text in ([actual] if isinstance(actual, str) else actual))

    return test


def page(
    found: Sequence[Thing],
    asked: Asked,
    *,
    ids: Sequence[str] | None = None,
    smallest: int = SMALLEST_PAGE,
    largest: int = LARGEST_PAGE,
) -> tuple[Sequence[Thing], str | None]:
    """Return the page that a request asks for, and the token of the next."""
    size, token = asked.get("MaxResults"), asked.get("NextToken")
    if ids and size is not None:
        raise bad_combination("The parameter MaxResults cannot be used with ids")
    start = 0
    if token:
        if not re.fullmatch(r"page-\d+", token):
            raise AwsError("InvalidNextToken", f"The token '{token}' is invalid")
        start = int(token[5:])
    if size is None:
        return found[start:], None
    if not smallest <= size <= largest:
        raise AwsError(
            "InvalidParameterValue",
            f"Value ( {size} ) for parameter maxResults is invalid: expected {smallest} to {largest}",
        )
    rest = len(found) > start + size
    return found[start : start + size], f"page-{start + size}" if rest else None


def check_ids(ids: Iterable[str] | None, known: Container[str], code: str, kind: str) -> None:
    """Refuse ids that do not exist."""
    if unknown := [one for one in ids or () if one not in known]:
        raise AwsError(code, f"The {kind} '{', '.join(unknown)}' does not exist")
