"""What a plain YAML scalar is to LinuxKit, whose reader takes more for numbers than ours does.

`mode: 0644` is the number 420 to it, so it refuses that where it wants text. Source: gopkg.in/yaml.v3, resolve.go.
"""

import math
import re
from typing import Final

from infrakit_py.loading.yaml_scalars import Scalar, resolve

_INTEGER: Final = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_BASES: Final = (16, 2, 8, 10)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LARGEST: Final = 2**64 - 1


def resolve_as_linuxkit(text: str) -> Scalar:
    """Return the value of a plain scalar."""
    value = resolve(text)
    if not isinstance(value, str) or text[0] not in "+-.0123456789":
        return value
    digits = text if text[0] == "." else text.replace("_", "")
    if (integer := _integer(digits)) is not None:
        return integer
    if _FLOAT.fullmatch(digits) and math.isfinite(number := float(digits)):
        return number
    return text


def _integer(digits: str) -> int | None:
    """Return the integer that digits stand for; None where they are none, or one of more than 64 bits."""
    match = _INTEGER.fullmatch(digits)
    if match is None or len(digits) > len(f"{_LARGEST:b}") + 3:
        return None
    sign, *written = match.groups()
    found = next(int(text, base) for text, base in zip(written, _BASES, strict=True) if text)
    return None if found > _LARGEST else -found if sign == "-" else found
