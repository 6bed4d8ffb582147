"""Google's discovery document, and what it says: which methods there are, and what they take and answer."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

Schema = Mapping[str, Any]
COMMON: Final = frozenset({"alt", "$alt", "fields", "$fields", "key", "prettyPrint", "$prettyPrint", "quotaUser"})
"""Query parameters that any method takes."""


@cache
def document() -> Mapping[str, Any]:
    """Return the document of compute v1. It is large, so it is read once, and only where it is needed."""
    source = files("googleapiclient.discovery_cache") / "documents" / "compute.v1.json"
    loaded: Mapping[str, Any] = json.loads(source.read_text())
    return loaded


@dataclass(frozen=True, slots=True)
class Method:
    """One method, by a name as `instances.insert`."""

    name: str
    id: str
    verb: str
    path: tuple[str, ...]
    """The parts of its path; those in braces are parameters."""
    parameters: Mapping[str, Schema]
    request: str | None
    response: str | None

    @property
    def changes(self) -> bool:
        """Tell whether calls of it change anything."""
        only_looks = (".wait", ".getHealth", ".listInstances", ".testIamPermissions")
        return self.verb != "GET" and not self.name.endswith(only_looks)

    def names(self, parts: tuple[str, ...]) -> dict[str, str] | None:
        """Return the parameters in a path, or nothing if it is another method's."""
        found: dict[str, str] = {}
        for mine, given in zip(self.path, parts, strict=True):
            if mine[0] == "{":
                found[mine[1:-1]] = given
            elif mine != given:
                return None
        return found


@cache
def method(name: str) -> Method:
    resource, _, verb = name.partition(".")
    found = document()["resources"][resource]["methods"][verb]
    parameters = dict(found.get("parameters", {}))
    if "returnPartialSuccess" in found.get("description", ""):  # some revisions only speak of it
        parameters.setdefault("returnPartialSuccess", {"type": "boolean", "location": "query"})
    return Method(
        name,
        found["id"],
        found["httpMethod"],
        tuple(found["path"].split("/")),
        parameters,
        found.get("request", {}).get("$ref"),
        found.get("response", {}).get("$ref"),
    )


class Router:
    """Finds the method that is meant by verb and path."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._by_shape: dict[tuple[str, int], list[Method]] = {}
        for one in methods.values():
            self._by_shape.setdefault((one.verb, len(one.path)), []).append(one)
        for some in self._by_shape.values():  # a word wins over a parameter: `instances/bulkInsert`
            some.sort(key=lambda one: [part[0] == "{" for part in one.path])

    def find(self, verb: str, path: str) -> tuple[Method, dict[str, str]] | None:
        parts = tuple(path.split("/"))
        for one in self._by_shape.get((verb, len(parts)), ()):
            if (names := one.names(parts)) is not None:
                return one, names
        return None


@cache
def is_method(verb: str, path: str) -> bool:
    """Tell whether the document has such a method, handled here or not."""
    parts = path.split("/")
    for resource in document()["resources"].values():
        for one in resource.get("methods", {}).values():
            mine = one["path"].split("/")
            if one["httpMethod"] != verb or len(mine) != len(parts):
                continue
            if all(part[0] == "{" or part == given for part, given in zip(mine, parts, strict=True)):
                return True
    return False


def schema(name: str) -> Schema:
    found: Schema = document()["schemas"][name]
    return found


@cache
def pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)
