"""The filters of listings: read once, then asked of each thing as it is shown.

Comparisons are joined by AND, which may be left out, and by OR, which binds tighter, as in AIP-160 and in Google's
examples. Fields must be there in the schema of what is listed.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.fakes.gce.document import Schema, schema
from tests.fakes.gce.errors import GceError, invalid

Thing = Mapping[str, Any]
Matches = Callable[[Thing], bool]

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<mark>[()]|!=|<=|>=|[=<>:])
        |(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
        |(?P<minus>-(?=[A-Za-z(]))
        |(?P<word>[^\s()=!<>:"']+))""",
    re.VERBOSE,
)
_OPERATORS: Final = frozenset({"=", "!=", "<", "<=", ">", ">=", ":", "eq", "ne"})


@dataclass(frozen=True, slots=True)
class Filter:
    """What a filter lets through, and which labels it demands of all that."""

    matches: Matches
    labels: Mapping[str, str]


ALL: Final = Filter(lambda thing: True, {})


def read_filter(written: str | None, item: str) -> Filter:
    """Return what a filter means for things of a schema. GceError for one that is none."""
    if not written or not written.strip():
        return ALL
    return _Reader(written, item).read()


class _Reader:
    def __init__(self, written: str, item: str) -> None:
        self._written = written
        self._item = schema(item)
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(written.rstrip()):
            found = _TOKEN.match(written, at)
            if not found:
                raise self._bad()
            kind = found.lastgroup or ""
            self._tokens.append((kind, found[kind]))
            at = found.end()
        self._at = 0

    def read(self) -> Filter:
        labels: dict[str, str] = {}
        matches = self._all(labels)
        if self._at < len(self._tokens):
            raise self._bad()
        return Filter(matches, labels)

    def _bad(self) -> GceError:
        return invalid("filter", self._written, "Invalid list filter expression.")

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "")

    def _take(self) -> tuple[str, str]:
        token = self._next()
        self._at += 1
        return token

    def _all(self, labels: dict[str, str]) -> Matches:
        parts = [self._any(labels)]
        while self._next()[1] not in ("", ")"):
            if self._next() == ("word", "AND"):
                self._take()
            parts.append(self._any(labels))
        if len(parts) == 1:
            return parts[0]
        return lambda thing: all(part(thing) for part in parts)

    def _any(self, labels: dict[str, str]) -> Matches:
        mine: dict[str, str] = {}
        parts = [self._not(mine)]
        while self._next() == ("word", "OR"):
            self._take()
            parts.append(self._not({}))
        if len(parts) == 1:
            labels.update(mine)
            return parts[0]
        return lambda thing: any(part(thing) for part in parts)

    def _not(self, labels: dict[str, str]) -> Matches:
        if self._next() in (("word", "NOT"), ("minus", "-")):
            self._take()
            inner = self._not({})
            return lambda thing: not inner(thing)
        if self._next() == ("mark", "("):
            self._take()
            inner = self._all(labels)
            if self._take() != ("mark", ")"):
                raise self._bad()
            return inner
        return self._comparison(labels)

    def _comparison(self, labels: dict[str, str]) -> Matches:
        kind, name = self._take()
        _, operator = self._take()
        value_kind, written = self._take()
        if kind != "word" or operator not in _OPERATORS or value_kind not in ("word", "quoted"):
            raise self._bad()
        value = re.sub(r"\\(.)", r"\1", written[1:-1]) if value_kind == "quoted" else written
        parts = tuple(name.split("."))
        self._check_field(parts)
        if parts[0] == "labels" and operator == "=":
            labels[parts[1]] = value
        if operator == ":" and written == "*":
            return lambda thing: bool(_values(thing, parts))
        if operator in ("!=", "ne"):
            same = self._test("=" if operator == "!=" else "eq", value)
            return lambda thing: not any(same(one) for one in _values(thing, parts))
        test = self._test(operator, value)
        return lambda thing: any(test(one) for one in _values(thing, parts))

    def _check_field(self, parts: tuple[str, ...]) -> None:
        now: Schema = self._item
        for part in parts:
            while now.get("type") == "array":
                now = now["items"]
            if "$ref" in now:
                now = schema(now["$ref"])
            if "additionalProperties" in now:
                now = now["additionalProperties"]
            elif part in now.get("properties", {}):
                now = now["properties"][part]
            else:
                raise self._bad()
        if now.get("type") == "object" or "$ref" in now:
            raise self._bad()

    def _test(self, operator: str, value: str) -> Callable[[Any], bool]:
        match operator:
            case "=":
                return lambda one: _text(one) == value
            case ":":
                return lambda one: value.lower() in one.lower() if isinstance(one, str) else _text(one) == value
            case "eq":
                try:
                    regex = re.compile(value)
                except re.error as exc:
                    raise self._bad() from exc
                return lambda one: regex.fullmatch(_text(one)) is not None
            case _:
                return lambda one: _ordered(operator, one, value)


def _values(thing: Any, parts: tuple[str, ...]) -> list[Any]:
    """Return what is there at a path; of a list, what any of it has."""
    if type(thing) is list:
        return [value for one in thing for value in _values(one, parts)]
    for at, part in enumerate(parts):
        if type(thing) is not dict or part not in thing:
            return []
        thing = thing[part]
        if type(thing) is list:
            return _values(thing, parts[at + 1 :])
    return [thing]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _ordered(operator: str, one: Any, value: str) -> bool:
    left: Any = one
    right: Any = value
    try:
        left, right = float(one), float(value)
    except ValueError:
        left = str(one)
    match operator:
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
        case _:
            return bool(left >= right)
