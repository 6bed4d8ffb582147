"""Writes replies by the service's own model: a member or a word that the model does not know is our mistake.

Clients overlook members that they do not know, so nobody else would notice a misspelt one.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from botocore.model import ListShape, OperationModel, Shape, StructureShape

from tests.fakes.ec2.errors import OwnMistake

Reply = Mapping[str, Any]
Writer = Callable[[Any], str]
"""Returns what stands between the tags of an element."""


class Encoded(str):
    """XML of a structure, written before: an instance that has not changed need not be written again."""

    __slots__ = ()


def iso(at: float) -> str:
    """Return an instant as the query protocols write it, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class XmlWriter:
    """Writes the replies of one service. What writes the values of a shape is made once."""

    def __init__(self) -> None:
        self._made: dict[str, Writer] = {}

    def ec2(self, operation: OperationModel, reply: Reply, request_id: str) -> str:
        """Write a reply in EC2's dialect."""
        shape, namespace = operation.output_shape, operation.metadata["xmlNamespace"]
        # EC2 says so where there is nothing to say.
        inside = self.of(shape)(reply) if shape else _nothing(reply) + "<return>true</return>"
        name = f"{operation.name}Response"
        return f'<{name} xmlns="{namespace}/"><requestId>{request_id}</requestId>{inside}</{name}>'

    def query(self, operation: OperationModel, reply: Reply, request_id: str) -> str:
        shape, namespace = operation.output_shape, operation.metadata["xmlNamespace"]
        inside = self.of(shape)(reply) if shape else _nothing(reply)
        if shape:
            wrapper = shape.serialization.get("resultWrapper", f"{operation.name}Result")
            inside = f"<{wrapper}>{inside}</{wrapper}>"
        name = f"{operation.name}Response"
        about = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        return f'<{name} xmlns="{namespace}">{inside}{about}</{name}>'

    def of(self, shape: Shape) -> Writer:
        """Return what writes values of a shape."""
        made = self._made.get(shape.name)
        if made is None:
            match shape:
                case StructureShape():
                    made = self._structure(shape)
                case ListShape():
                    made = self._list(shape)
                case _:
                    made = _scalar(shape)
            self._made[shape.name] = made
        return made

    def _structure(self, shape: StructureShape) -> Writer:
        known: dict[str, tuple[str, str, Writer]] = {}

        def prepare(name: str) -> tuple[str, str, Writer]:
            member = _member(shape, name)
            tag = member.serialization.get("name", name)
            known[name] = found = (f"<{tag}>", f"</{tag}>", self.of(member))
            return found

        def write(value: Any) -> str:
            if type(value) is Encoded:
                return value
            parts: list[str] = []
            for name, one in value.items():
                if one is not None:
                    opened, closed, inside = known.get(name) or prepare(name)
                    parts += (opened, inside(one), closed)
            return "".join(parts)

        return write

    def _list(self, shape: ListShape) -> Writer:
        tag = shape.member.serialization.get("name", "member")
        opened, closed, inside = f"<{tag}>", f"</{tag}>", self.of(shape.member)
        return lambda values: "".join([f"{opened}{inside(one)}{closed}" for one in values])


def as_json(shape: Shape | None, value: Any) -> Any:
    """Return a value of a JSON reply after checking it. Instants are numbers there, as they are here."""
    match shape:
        case None:
            return _nothing(value)
        case StructureShape():
            return {name: as_json(_member(shape, name), one) for name, one in value.items() if one is not None}
        case ListShape():
            return [as_json(shape.member, one) for one in value]
        case _:
            _checked(shape, value)
            return value


def _scalar(shape: Shape) -> Writer:
    def write(value: Any) -> str:
        _checked(shape, value)
        if shape.type_name == "timestamp":
            return iso(value)
        if value is True or value is False:
            return "true" if value else "false"
        return escape(str(value))

    return write


def _member(shape: StructureShape, name: str) -> Shape:
    member = shape.members.get(name)
    if member is None:
        raise OwnMistake(f"{shape.name} has no member {name}")
    return member


def _checked(shape: Shape, value: object) -> None:
    match shape.type_name:
        case "string":
            allowed = getattr(shape, "enum", None)
            if not isinstance(value, str) or (allowed and value not in allowed):
                raise OwnMistake(f"{shape.name} cannot be {value!r}")
        case "boolean":
            if not isinstance(value, bool):
                raise OwnMistake(f"{shape.name} cannot be {value!r}")
        case "integer" | "long":
            if not isinstance(value, int) or isinstance(value, bool):
                raise OwnMistake(f"{shape.name} cannot be {value!r}")
        case "timestamp" | "float" | "double":
            if not isinstance(value, int | float):
                raise OwnMistake(f"{shape.name} cannot be {value!r}")


def _nothing(reply: Reply) -> str:
    if reply:
        raise OwnMistake(f"a reply that has no members cannot have {', '.join(reply)}")
    return ""
