"""Nodes as plain data that remembers where each value was written.

Here merge keys and aliases are expanded, duplicate keys found and variables filled in. It knows no spec.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from infrakit_py.errors import Problem, SpecError
from infrakit_py.loading.interpolation import MARKER, interpolate
from infrakit_py.loading.yaml_nodes import MAX_DEPTH, MappingNode, Mark, Node, ScalarNode, SequenceNode, compose
from infrakit_py.loading.yaml_scalars import Scalar, resolve

MAX_VALUES: Final = 100_000

_SHOWN_STEP: Final = 60

Place: TypeAlias = tuple[str | int, ...]
"""Where a value stands in the data: `("groups", "web", "size")`."""


@dataclass(slots=True)
class Document:
    """One YAML document: its data, and the marks of all values and keys.

    `written` holds the text of those values whose variables were filled in, so that messages need not show
    what may be a secret; `unfilled` are those where that failed, whose data means nothing.
    """

    file: str
    text: str
    line_starts: Sequence[int]
    data: Any = None
    values: dict[Place, Node] = field(default_factory=dict)
    keys: dict[Place, Mark] = field(default_factory=dict)
    written: dict[Place, str] = field(default_factory=dict)
    unfilled: set[Place] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def value_mark(self, place: Place, line_offset: int = 0) -> Mark:
        """Return where the value at `place` stands, or line `line_offset` of it; of its parent if there is none."""
        node = self.values.get(place)
        if node is None:
            return self.key_mark(place[:-1]) if place else Mark(1, 1, 0)
        if not isinstance(node, ScalarNode):
            return self.key_mark(place)
        return self._line_of(node, line_offset) if node.block else node.start

    def key_mark(self, place: Place) -> Mark:
        """Return where the key at `place` stands; of an item of a list, where the item stands."""
        if place in self.keys:
            return self.keys[place]
        if place in self.values:
            return self.values[place].start
        return self.key_mark(place[:-1]) if place else Mark(1, 1, 0)

    def is_block(self, place: Place) -> bool:
        """Tell whether the value is a text that begins below its indicator, so that its lines have places."""
        node = self.values.get(place)
        return isinstance(node, ScalarNode) and node.block

    def problem(self, mark: Mark, place: Place, message: str) -> Problem:
        """Return the problem that something at `place`, written at `mark`, has."""
        text = f"{dotted(place)}: {message}" if place else message
        return Problem(self.file, mark.line, mark.column, text)

    def mark_at(self, at: int) -> Mark:
        """Return the mark of an offset in the text."""
        line = bisect_right(self.line_starts, at)
        return Mark(line, at - self.line_starts[line - 1] + 1, at)

    def _line_of(self, block: ScalarNode, line_offset: int) -> Mark:
        line = block.start.line + 1 + line_offset
        if line > min(block.end.line, len(self.line_starts)):
            return block.start
        at = self.line_starts[line - 1]
        while self.text.startswith(" ", at):
            at += 1
        return self.mark_at(at)


def dotted(place: Place) -> str:
    """Write a place as people do: `groups.web.logical_ids[1]`."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            plain = bool(step) and all(character.isalnum() or character in "_-" for character in step)
            short = step if len(step) <= _SHOWN_STEP else f"{step[:_SHOWN_STEP]}…"
            text += f".{short if plain else repr(short)}"
    return text.removeprefix(".")


def documents(
    text: str, file: str, environment: Mapping[str, str] | None, plain: Callable[[str], Scalar] = resolve
) -> Iterator[Document]:
    """Yield a file's documents, each with its own problems. SpecError where the rest of the file cannot be read.

    Without an `environment` what looks like a variable is text like any other. `plain` tells what a plain scalar is.
    """
    line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
    for root in compose(text, file):
        document = Document(file, text, line_starts)
        document.data = _Builder(document, environment, plain).value(root, (), depth=1)
        yield document


class _Builder:
    """Turns the nodes of one document into data."""

    def __init__(
        self, document: Document, environment: Mapping[str, str] | None, plain: Callable[[str], Scalar]
    ) -> None:
        self._document = document
        self._environment = environment
        self._plain = plain
        self._seen = 0

    def value(self, node: Node, place: Place, depth: int) -> Any:
        self._count(node, depth)
        self._document.values[place] = node
        match node:
            case ScalarNode():
                return self._scalar(node, place)
            case SequenceNode():
                return [self.value(item, (*place, index), depth + 1) for index, item in enumerate(node.items)]
            case MappingNode():
                return self._mapping(node, place, depth)

    def _mapping(self, node: MappingNode, place: Place, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for name, (key, value) in self._entries(node, place, depth).items():
            self._document.keys[*place, name] = key.start
            data[name] = self.value(value, (*place, name), depth + 1)
        return data

    def _entries(self, node: MappingNode, place: Place, depth: int) -> dict[str, tuple[ScalarNode, Node]]:
        """Return a mapping's own keys, and after them what `<<` brings in that it does not have itself."""
        own: dict[str, tuple[ScalarNode, Node]] = {}
        merged: dict[str, tuple[ScalarNode, Node]] = {}
        for key, value in node.pairs:
            self._count(key, depth)
            if isinstance(key, ScalarNode) and key.plain and key.text == "<<":
                for source in value.items if isinstance(value, SequenceNode) else [value]:
                    merged = {**self._merged(source, key, place, depth + 1), **merged}
            elif not isinstance(key, ScalarNode) or (key.plain and not isinstance(self._plain(key.text), str)):
                written = f" {key.text or 'null'}" if isinstance(key, ScalarNode) else ""
                self._complain(key.start, place, f"the key{written} is no text; quote it")
            elif key.text in own:
                first = own[key.text][0].start.line
                self._complain(key.start, place, f"duplicate key {key.text!r}, first on line {first}")
            else:
                if MARKER in key.text and self._environment is not None:
                    self._complain(
                        key.start, place, f"variables are filled in in values only, not in the key {key.text!r}"
                    )
                own[key.text] = (key, value)
        return own | {name: entry for name, entry in merged.items() if name not in own}

    def _merged(self, source: Node, key: ScalarNode, place: Place, depth: int) -> dict[str, tuple[ScalarNode, Node]]:
        self._count(source, depth)
        if isinstance(source, MappingNode):
            return self._entries(source, place, depth)
        self._complain(key.start, place, "'<<' needs a mapping, or a list of mappings")
        return {}

    def _scalar(self, node: ScalarNode, place: Place) -> Any:
        text = node.text
        if MARKER in text and self._environment is not None:
            self._document.written[place] = text
            filled = interpolate(text, self._environment)
            marks = self._markers(node) if filled.faults else []
            for number, fault in filled.faults:
                self._complain(marks[number] if number < len(marks) else node.start, place, fault)
                self._document.unfilled.add(place)
            text = filled.text
        return self._plain(text) if node.plain else text

    def _markers(self, node: ScalarNode) -> list[Mark]:
        """Return where each `${env:` of a scalar is written. Fewer than there are if some are written as escapes."""
        marks: list[Mark] = []
        at = node.start.at
        while (at := self._document.text.find(MARKER, at, node.end.at)) >= 0:
            marks.append(self._document.mark_at(at))
            at += len(MARKER)
        return marks

    def _count(self, node: Node, depth: int) -> None:
        self._seen += 1
        if self._seen > MAX_VALUES:
            raise self._refused(node, f"more than {MAX_VALUES} values, with all aliases expanded")
        if depth > MAX_DEPTH:
            raise self._refused(node, f"nested more than {MAX_DEPTH} levels deep, with all aliases expanded")

    def _refused(self, node: Node, message: str) -> SpecError:
        return SpecError([Problem(self._document.file, node.start.line, node.start.column, message)])

    def _complain(self, mark: Mark, place: Place, message: str) -> None:
        self._document.problems.append(self._document.problem(mark, place, message))
