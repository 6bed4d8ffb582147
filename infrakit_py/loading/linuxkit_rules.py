"""What must hold between the parts of a LinuxKit YAML: names that are taken, and names that must be there."""

from collections.abc import Iterator
from typing import Any, Final

from infrakit_py.loading.findings import Findings
from infrakit_py.loading.linuxkit_fields import ROOT
from infrakit_py.loading.references import mapping, refer
from infrakit_py.loading.yaml_documents import Place

CONTAINERS: Final = ("onboot", "onshutdown", "services")
_UNIQUE: Final = {"services": "service", "volumes": "volume"}


def note_broken_rules(findings: Findings, data: dict[str, Any]) -> None:
    """Note each breach at its place. Values of a wrong type are noted elsewhere."""
    for part, word in _UNIQUE.items():
        _note_taken_names(findings, data, part, word)
    found = (mapping(item).get("name") for part in CONTAINERS for _, item in items(data, part))
    names = tuple(dict.fromkeys(name for name in found if isinstance(name, str) and name))
    for place, owner in _owners(data):
        if owner not in ("", ROOT):
            refer(findings, place, owner, names, "container")


def items(data: dict[str, Any], part: str) -> Iterator[tuple[Place, Any]]:
    """Yield the items of a list with their places; none where there is no list."""
    listed = data.get(part)
    yield from (((part, index), item) for index, item in enumerate(listed if isinstance(listed, list) else []))


def _note_taken_names(findings: Findings, data: dict[str, Any], part: str, word: str) -> None:
    first: dict[str, Place] = {}
    for place, item in items(data, part):
        name = mapping(item).get("name")
        if isinstance(name, str) and first.setdefault(name, place) != place:
            findings.at_value((*place, "name"), f"another {word} is called {name!r}, too")


def _owners(data: dict[str, Any]) -> Iterator[tuple[Place, Any]]:
    """Yield the users and groups that are written, with their places. Numbers need nobody's name."""
    for part in (*CONTAINERS, "files"):
        for place, item in items(data, part):
            written = mapping(item)
            yield from (((*place, key), written[key]) for key in ("uid", "gid") if key in written)
            groups = written.get("additionalGids")
            for index, group in enumerate(groups if isinstance(groups, list) else []):
                yield (*place, "additionalGids", index), group
