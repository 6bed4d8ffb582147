"""`${env:NAME}` and `${env:NAME:-default}` inside values. The YAML text itself is never a template.

`$${env:` stands for a literal `${env:`. As in a shell, the default also replaces an empty variable.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MARKER: Final = "${env:"

_REFERENCE: Final = re.compile(
    r"(?P<escape>\$)?\$\{env:(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?(?P<end>\}))?"
)


@dataclass(frozen=True, slots=True)
class Interpolated:
    """The text with its variables filled in, and what is wrong with the n-th `${env:` of it."""

    text: str
    faults: tuple[tuple[int, str], ...] = ()


def interpolate(text: str, environment: Mapping[str, str]) -> Interpolated:
    """Fill in the variables of one value."""
    faults: list[tuple[int, str]] = []
    parts: list[str] = []
    at = 0
    for number, match in enumerate(_REFERENCE.finditer(text)):
        parts.append(text[at : match.start()])
        at = match.end()
        if match["escape"]:
            parts.append(match[0][1:])
            continue
        try:
            parts.append(_value(match, environment))
        except ValueError as exc:
            faults.append((number, str(exc)))
    parts.append(text[at:])
    return Interpolated("".join(parts), tuple(faults))


def _value(match: re.Match[str], environment: Mapping[str, str]) -> str:
    name, default = match["name"], match["default"]
    if not match["end"]:
        raise ValueError("write ${env:NAME} or ${env:NAME:-default}, or $${env: for the text itself")
    if default is not None and "${" in default:
        raise ValueError(f"the default of {name} may not hold another variable")
    value = environment.get(name, "")
    if default is not None:
        value = value or default
    elif name not in environment:
        raise ValueError(f"the environment variable {name} is not set; set it, or write ${{env:{name}:-default}}")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"the environment variable {name} is not UTF-8 text")
    return value
