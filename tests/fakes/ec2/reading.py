"""Reads requests by the service's own model, so that a member it does not know is refused and never overlooked.

Knows the three protocols (EC2 query, query, JSON) and no service.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.utils import parse_timestamp

from tests.fakes.ec2.errors import AwsError, bad_value, missing

Asked = Mapping[str, Any]
Tree = dict[str, Any]

_OPEN: Final = frozenset({"InstanceType"})
"""Words of which there are always more than the model knows. Whoever reads them says which there are."""
_TRUTH: Final = {"true": True, "false": False}


def unknown(parameter: str) -> AwsError:
    return AwsError("UnknownParameter", f"The parameter {parameter} is not recognized")


def read_json(shape: StructureShape | None, document: object) -> Asked:
    """Read a JSON request."""
    if not isinstance(document, dict):
        raise AwsError("SerializationException", "the body is not a JSON object")
    return _json_structure(shape, document, "") if shape else {}


class QueryReader:
    """Reads the form-encoded requests of one service. `ec2` chooses that service's dialect."""

    def __init__(self, *, ec2: bool) -> None:
        self._ec2 = ec2
        self._known: dict[str, dict[str, tuple[str, Shape]]] = {}

    def read(self, shape: StructureShape | None, form: Iterable[tuple[str, str]]) -> Asked:
        tree: Tree = {}
        for name, value in form:
            if name in ("Action", "Version"):
                continue
            *branches, leaf = name.split(".")
            node: Any = tree
            for branch in branches:
                node = node.setdefault(branch, {})
                if not isinstance(node, dict):
                    raise AwsError("InvalidQueryParameter", f"{name} is both a value and more than one")
            node[leaf] = value
        if shape is None:
            if tree:
                raise unknown(next(iter(tree)))
            return {}
        return self.structure(shape, tree, "")

    def structure(self, shape: StructureShape, tree: object, where: str) -> dict[str, Any]:
        if not isinstance(tree, dict):
            raise bad_value(tree, where)
        members = self._names(shape)
        read: dict[str, Any] = {}
        for written, value in tree.items():
            path = f"{where}.{written}" if where else written
            if written not in members:
                raise unknown(path)
            name, member = members[written]
            read[name] = self._value(member, value, path)
        _require(shape, read, where)
        return read

    def _names(self, shape: StructureShape) -> dict[str, tuple[str, Shape]]:
        if shape.name not in self._known:
            members = shape.members.items()
            self._known[shape.name] = {self._name(name, member): (name, member) for name, member in members}
        return self._known[shape.name]

    def _name(self, name: str, member: Shape) -> str:
        said = member.serialization
        if self._ec2:
            if "queryName" in said:
                return str(said["queryName"])
            written = str(said.get("name", name))
            return written[0].upper() + written[1:]
        return str(said.get("name", name))

    def _value(self, shape: Shape, value: object, where: str) -> Any:
        match shape:
            case StructureShape():
                return self.structure(shape, value, where)
            case ListShape():
                return self._list(shape, value, where)
            case MapShape():
                raise AwsError("InvalidQueryParameter", f"{where}: the fake reads no maps")
            case _ if isinstance(value, dict):
                raise unknown(f"{where}.{next(iter(value))}")
            case _:
                return _scalar(shape, str(value), where)

    def _list(self, shape: ListShape, value: object, where: str) -> list[Any]:
        if value == "":  # how the query protocol writes an empty list
            return []
        if not self._ec2 and not shape.serialization.get("flattened") and isinstance(value, dict):
            wrapper = str(shape.member.serialization.get("name", "member"))
            if set(value) != {wrapper}:
                raise unknown(f"{where}.{next(iter(set(value) - {wrapper}), wrapper)}")
            value = value[wrapper]
        if not isinstance(value, dict) or not all(key.isdecimal() for key in value):
            raise unknown(f"{where}.{next(iter(value))}" if isinstance(value, dict) else where)
        return [self._value(shape.member, value[key], f"{where}.{key}") for key in sorted(value, key=int)]


def _require(shape: StructureShape, read: Mapping[str, object], where: str) -> None:
    for name in shape.required_members:
        if name not in read:
            raise missing(f"{where}.{name}" if where else name)


def _scalar(shape: Shape, text: str, where: str) -> object:
    try:
        match shape.type_name:
            case "integer" | "long":
                return int(text)
            case "float" | "double":
                return float(text)
            case "boolean":
                return _TRUTH[text.lower()]
            case "timestamp":
                return parse_timestamp(text).timestamp()
    except (KeyError, ValueError) as exc:
        raise bad_value(text, where) from exc
    allowed = getattr(shape, "enum", None)
    if allowed and text not in allowed and shape.name not in _OPEN:
        raise bad_value(text, where)
    return text


_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "boolean": bool,
    "timestamp": (int, float),
    "string": str,
}


def _json_structure(shape: StructureShape, document: Mapping[str, object], where: str) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, value in document.items():
        path = f"{where}.{name}" if where else name
        if name not in shape.members:
            raise AwsError("SerializationException", f"{path} is not a member of {shape.name}")
        read[name] = _json_value(shape.members[name], value, path)
    for name in shape.required_members:
        if name not in read:
            raise AwsError("ValidationException", f"{name} is missing")
    return read


def _json_value(shape: Shape, value: Any, where: str) -> Any:
    match shape:
        case StructureShape():
            _check(isinstance(value, dict), where)
            return _json_structure(shape, value, where)
        case ListShape():
            _check(isinstance(value, list), where)
            read: Callable[[object], object] = lambda one: _json_value(shape.member, one, where)  # noqa: E731 - short
            return [read(one) for one in value]
        case MapShape():
            _check(isinstance(value, dict), where)
            return value
        case _:
            _check(isinstance(value, _KINDS.get(shape.type_name, object)), where)
            return value


def _check(fits: bool, where: str) -> None:
    if not fits:
        raise AwsError("SerializationException", f"{where} has the wrong type")
