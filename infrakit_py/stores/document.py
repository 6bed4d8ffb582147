"""What stores remember as one JSON document: written a cluster at a time, read only where all of it is sound."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar, cast

from infrakit_py.errors import Problem, SpecError
from infrakit_py.model.declared import Occurrence, SourceStatus
from infrakit_py.stores.codec import Unreadable, decoded, encoded
from infrakit_py.stores.transfer import Exported, Transfer, require_whole
from infrakit_py.stores.transfer_tables import try_out, try_out_events

T = TypeVar("T")

KIND: Final = "infrakit-py/store"
FORMAT: Final = 1

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Document:
    """Clusters by name, sources by name, and what happened, the oldest first."""

    clusters: Mapping[str, Exported] = field(default_factory=dict)
    sources: Mapping[str, SourceStatus] = field(default_factory=dict)
    events: tuple[Occurrence, ...] = ()


def of_clusters(sources: Mapping[str, SourceStatus], clusters: Sequence[str]) -> Mapping[str, SourceStatus]:
    """Return the sources that declared any of these clusters, as if they had declared no other."""
    found = {
        name: replace(status, digests={cluster: d for cluster, d in status.digests.items() if cluster in clusters})
        for name, status in sources.items()
    }
    return {name: status for name, status in found.items() if status.digests}


def happened(store: Transfer, clusters: Sequence[str] | None) -> Iterator[Occurrence]:
    """Yield what is remembered of what happened to these clusters, or at all, the oldest first."""
    after = 0
    while page := store.occurrences(after, limit=_PAGE):
        after = page[-1][0]
        yield from (occurrence for _, occurrence in page if clusters is None or occurrence.cluster in clusters)


def written(
    clusters: Iterator[tuple[str, Exported]], sources: Mapping[str, SourceStatus], events: Iterator[Occurrence] | None
) -> Iterator[str]:
    """Yield a document's text in ASCII, a line a cluster and an event. `events` are None where none are wanted."""
    yield f'{{"kind": {json.dumps(KIND)}, "format": {FORMAT},\n"clusters": {{'
    for number, (cluster, exported) in enumerate(clusters):
        value = cast(dict[str, Any], encoded(exported))
        del value["left_out"]
        yield f"{',' if number else ''}\n{json.dumps(cluster)}: {json.dumps(value)}"
    yield f'\n}},\n"sources": {json.dumps(encoded(sources))}'
    if events is not None:
        yield ',\n"events": ['
        for number, event in enumerate(events):
            yield f"{',' if number else ''}\n{json.dumps(encoded(event))}"
        yield "\n]"
    yield "\n}\n"


def read(text: str, file: str) -> Document:
    """Return what a document says. SpecError with every mistake: where JSON is broken, or the path inside.

    No value is quoted: any of them may be a secret.
    """
    try:
        stored = json.loads(text)
    except json.JSONDecodeError as exc:
        raise SpecError([Problem(file, exc.lineno, exc.colno, f"no JSON: {exc.msg}")]) from None
    except (ValueError, RecursionError) as exc:  # numbers of thousands of digits, brackets in brackets
        raise SpecError([Problem(file, 0, 0, f"no JSON that anything was exported as: {exc}")]) from None
    return _Reading(file).document(stored)


class _Reading:
    """One document on its way to values, with all mistakes that were found so far."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._problems: list[Problem] = []

    def document(self, stored: object) -> Document:
        if not isinstance(stored, dict) or stored.get("kind") != KIND:
            raise SpecError([self._problem(f'nothing that `infra store export` wrote: its kind is not "{KIND}"')])
        if stored.get("format") != FORMAT:
            raise SpecError([self._problem(f"its format is not {FORMAT}: another release wrote it")])
        read = Document(
            {cluster: self._cluster(cluster, value) for cluster, value in self._entries(stored, "clusters")},
            {name: self._source(name, value) for name, value in self._entries(stored, "sources")},
            self._events(stored.get("events", [])),
        )
        if self._problems:
            raise SpecError(self._problems)
        return read

    def _entries(self, stored: Mapping[str, Any], part: str) -> Sequence[tuple[str, Any]]:
        entries = stored.get(part)
        if isinstance(entries, dict):
            return tuple(entries.items())
        self._problems.append(self._problem("no object of names", part))
        return ()

    def _cluster(self, cluster: str, value: Any) -> Exported:
        exported: Exported | None = self._value(Exported, value, "clusters", cluster)
        if exported is None:
            return Exported()
        try:
            require_whole(cluster, exported)
            try_out(cluster, exported)
        except ValueError as exc:
            self._problems.append(self._problem(str(exc), "clusters", cluster))
        return exported

    def _source(self, name: str, value: Any) -> SourceStatus:
        status: SourceStatus = self._value(SourceStatus, value, "sources", name)
        if status is not None and status.name != name:
            self._problems.append(self._problem("the source has another name inside", "sources", name))
        return status

    def _events(self, value: Any) -> tuple[Occurrence, ...]:
        events: tuple[Occurrence, ...] = self._value(tuple[Occurrence, ...], value, "events") or ()
        try:
            try_out_events(events)
        except ValueError as exc:
            self._problems.append(self._problem(str(exc), "events"))
        return events

    def _value(self, kind: Any, value: Any, *path: str) -> Any:
        """Return what was encoded; None where that cannot be said, which is a problem then."""
        try:
            return decoded(kind, value)
        except Unreadable as exc:
            self._problems.append(self._problem(str(exc), *path, *exc.path))
            return None

    def _problem(self, message: str, *path: str | int) -> Problem:
        return Problem(self._file, 0, 0, f"{_spoken(path)}: {message}" if path else message)


def _spoken(path: Sequence[str | int]) -> str:
    """Return a path as `clusters.shop.intents[3].since`; names that would be misread are quoted."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{_name(step)}" for step in path).removeprefix(".")


def _name(step: str) -> str:
    return step if step.replace("-", "").replace("_", "").isalnum() else json.dumps(step)
