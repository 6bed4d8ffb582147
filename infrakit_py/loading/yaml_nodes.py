"""YAML text as a tree of nodes that know where they stand.

Made from libyaml's events, with limits on size and depth, so that no input whatever ends in anything but
nodes or problems. It knows YAML only: no types, no interpolation, no spec.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

import yaml

from infrakit_py.errors import Problem, SpecError
from infrakit_py.loading.yaml_messages import syntax_problem
from infrakit_py.loading.yaml_scalars import resolve

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_DEPTH: Final = 64

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK: Final = re.compile(r"\r\n|\r|\n")
_TAG_PREFIX: Final = "tag:yaml.org,2002:"
_TEXT_TAGS: Final = ("!", _TAG_PREFIX + "str")
_COLLECTION_TAGS: Final = {yaml.MappingStartEvent: _TAG_PREFIX + "map", yaml.SequenceStartEvent: _TAG_PREFIX + "seq"}


class Mark(NamedTuple):
    """A place in a text: line and column from 1, `at` is the offset."""

    line: int
    column: int
    at: int


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """`plain` scalars have a type by their look; all others are text. `block` ones begin below their indicator."""

    start: Mark
    end: Mark
    text: str
    plain: bool
    block: bool


@dataclass(slots=True)
class SequenceNode:
    start: Mark
    items: list["Node"] = field(default_factory=list)


@dataclass(slots=True)
class MappingNode:
    start: Mark
    pairs: list[tuple["Node", "Node"]] = field(default_factory=list)


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode


def decode(content: bytes, file: str) -> str:
    """Return a YAML file's text. SpecError for a file too large, or with the place of its first wrong byte."""
    if len(content) > MAX_BYTES:
        raise SpecError([Problem(file, 0, 0, f"larger than {MAX_BYTES // 1024 // 1024} MiB")])
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        line, column, _ = _mark_at(content[: exc.start].decode(), exc.start)
        utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        looks = "; it looks like UTF-16" if utf16 else ""
        message = f"not UTF-8 text (byte 0x{content[exc.start]:02x}){looks}; save the file as UTF-8"
        raise SpecError([Problem(file, line, column, message)]) from exc


def compose(text: str, file: str) -> Iterator[Node]:
    """Yield the root of each document that is not empty. SpecError at the first thing that is not safe YAML."""
    if forbidden := _FORBIDDEN.search(text):
        line, column, _ = _mark_at(text, forbidden.start())
        message = f"the character U+{ord(forbidden[0]):04X} is not allowed in YAML"
        raise SpecError([Problem(file, line, column, message)])
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        yield from _Composer(loader, file).documents()
    except yaml.MarkedYAMLError as exc:
        raise SpecError([syntax_problem(exc, text, file)]) from exc
    except yaml.YAMLError as exc:
        raise SpecError([Problem(file, 0, 0, f"not YAML: {exc}")]) from exc
    finally:
        loader.dispose()


class _Composer:
    """Builds nodes from the parser's events, each document by itself. An alias is the very node of its anchor."""

    def __init__(self, parser: Any, file: str) -> None:
        self._parser = parser
        self._file = file
        self._anchors: dict[str, Node] = {}
        self._open: set[str] = set()

    def documents(self) -> Iterator[Node]:
        while not isinstance(event := self._parser.get_event(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                root = self._node(self._parser.get_event(), depth=1)
                if not (isinstance(root, ScalarNode) and root.plain and resolve(root.text) is None):
                    yield root

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event)
        if depth > MAX_DEPTH:
            raise self._refused(event, f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.ScalarEvent):
            node: Node = self._scalar(event)
        elif event.tag not in (None, "!", _COLLECTION_TAGS[type(event)]):
            raise self._refused(event, f"the tag {_written(event.tag)} is not supported; leave it out")
        else:
            self._open.add(event.anchor)
            node = self._collection(event, depth)
            self._open.discard(event.anchor)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _collection(self, event: Any, depth: int) -> Node:
        items = [self._node(inner, depth + 1) for inner in self._events_inside()]
        if isinstance(event, yaml.SequenceStartEvent):
            return SequenceNode(_mark(event.start_mark), items)
        return MappingNode(_mark(event.start_mark), list(zip(items[::2], items[1::2], strict=True)))

    def _events_inside(self) -> Iterator[Any]:
        while not isinstance(event := self._parser.get_event(), yaml.CollectionEndEvent):
            yield event

    def _scalar(self, event: Any) -> ScalarNode:
        if event.tag not in (None, *_TEXT_TAGS):
            raise self._refused(event, f"the tag {_written(event.tag)} is not supported; leave it out")
        plain = event.tag is None and not event.style
        start, end = _mark(event.start_mark), _mark(event.end_mark)
        return ScalarNode(start, end, event.value, plain=plain, block=event.style in ("|", ">"))

    def _aliased(self, event: Any) -> Node:
        if event.anchor in self._open:
            raise self._refused(event, f"*{event.anchor} stands inside &{event.anchor}: it would contain itself")
        if event.anchor not in self._anchors:
            raise self._refused(event, f"*{event.anchor} refers to no anchor: there is no &{event.anchor} above")
        return self._anchors[event.anchor]

    def _refused(self, event: Any, message: str) -> SpecError:
        line, column, _ = _mark(event.start_mark)
        return SpecError([Problem(self._file, line, column, message)])


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1, mark.index)


def _mark_at(text: str, index: int) -> Mark:
    *lines, last = _LINE_BREAK.split(text[:index])
    return Mark(len(lines) + 1, len(last) + 1, index)


def _written(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG_PREFIX) if tag.startswith(_TAG_PREFIX) else tag
