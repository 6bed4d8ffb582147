"""A price file: what machines and disks cost, as the user was told or has agreed. Nobody is asked for prices."""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Generic, TypeVar

import yaml
from pydantic import Field, StringConstraints, ValidationError

from infrakit_providers.cloud.fields import Strict
from infrakit_py.errors import ProviderError

_OPENING: Final = re.compile(r"^((Input|String) should|Value error, must) ")
_WORDS: Final = {
    "extra_forbidden": "unknown key",
    "missing": "missing",
    "model_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "float_type": "must be a number",
    "string_type": "must be text",
}
"""pydantic's findings for people who know YAML and not Python."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of a machine's hour by its type, in one currency."""

    currency: str = "USD"
    per_hour: Mapping[str, float] = field(default_factory=dict)
    spot_per_hour: Mapping[str, float] = field(default_factory=dict)

    def of_type(self, type_: str, spot: bool) -> float | None:
        """Return the price of an hour; None where the file has none. A spot machine never gets the full price."""
        return (self.spot_per_hour if spot else self.per_hour).get(type_)


Type = TypeVar("Type", bound=str)
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PriceFile(Strict, Generic[Type]):
    """A price file whose types of machines have a form of their vendor's."""

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "USD"
    per_hour: Mapping[Type, _Price]
    spot_per_hour: Mapping[Type, _Price] = Field(default_factory=dict)


class PriceReader:
    """Reads price files of a vendor. Every mistake leaves as ProviderError with file, line and column."""

    def __init__(self, vendor: str, form: type[PriceFile[Any]], example: str) -> None:
        """`example` shows a price, as in `m5.large: 0.115`."""
        self._vendor = vendor
        self._form = form
        self._hint = f"it has per_hour with a price for each type of machine, as in per_hour: {{{example}}}"

    def read(self, path: Path) -> Prices:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8 text"
            raise ProviderError(f"{self._vendor}: cannot read the price file {path}: {reason}") from exc
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            if node is None:
                raise ProviderError(f"{path}: the price file is empty", hint=self._hint)
            if (twice := _twice(node)) is not None:
                raise self._wrong(path, twice.start_mark, f"{twice.value} is there twice")
            written = yaml.load(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as exc:
            raise self._wrong(path, exc.problem_mark, exc.problem or "not YAML") from exc
        except (yaml.YAMLError, RecursionError, ValueError) as exc:
            raise ProviderError(f"{path}: not YAML: {' '.join(str(exc).split())}", hint=self._hint) from exc
        try:
            prices = self._form.model_validate(written)
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            where, mark = _place(node, first["loc"])
            message = _WORDS.get(first["type"]) or _OPENING.sub("must ", first["msg"])
            raise self._wrong(path, mark, f"{where}: {message}" if where else message) from exc
        return Prices(prices.currency, prices.per_hour, prices.spot_per_hour)

    def _wrong(self, path: Path, mark: "yaml.error.Mark | None", message: str) -> ProviderError:
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else str(path)
        return ProviderError(f"{where}: {message}", hint=self._hint)


def _twice(node: yaml.Node) -> yaml.ScalarNode | None:
    """Return a key that a mapping has twice: of two prices nobody knows which is meant."""
    for pairs in _mappings(node):
        seen: set[str] = set()
        for key, _ in pairs:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    return key
                seen.add(key.value)
    return None


def _mappings(node: yaml.Node) -> Iterator[Sequence[tuple[yaml.Node, yaml.Node]]]:
    """Yield the mappings of a price file: its own, and one level of those in it."""
    if isinstance(node, yaml.MappingNode):
        yield node.value
        yield from (value.value for _, value in node.value if isinstance(value, yaml.MappingNode))


def _place(node: yaml.Node, location: Sequence[Hashable]) -> tuple[str, yaml.error.Mark]:
    """Return how to call what is at a pydantic location, and where it (or the nearest thing above it) stands."""
    names: list[str] = []
    mark = node.start_mark
    for step in location:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        names += [] if step == "[key]" else [str(step)]
        found = next(((key, value) for key, value in pairs if key.value == str(step)), None)
        if found is None:
            break
        mark, node = found[0].start_mark, found[1]
    return ".".join(names), mark
