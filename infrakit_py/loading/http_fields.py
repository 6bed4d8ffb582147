"""The types of what an HTTP check sends and expects: paths, headers, codes, and what the body must hold."""

import re
import warnings
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

_PATH: Final = r"/[!-~]*"
_HOST: Final = r"[A-Za-z0-9._\[\]:-]+"
_HEADER_NAME: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_HEADER_VALUE: Final = r"[\t -~]*"
_STATUS: Final = r"[1-5][0-9]{2}"
_STATUS_RULE: Final = 'must be a status code from 100 to 599, or a range such as "200-299"'
_STATUS_SCHEMA: Final = {
    "anyOf": [
        {"type": "integer", "minimum": 100, "maximum": 599},
        {"type": "string", "pattern": f"^{_STATUS}(-{_STATUS})?$"},
    ],
    "examples": [200, "200-299"],
}


def _all_of(pattern: str, rule: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(rule)
        return text

    return check


def _header_name(name: str) -> str:
    if name.lower() == "host":
        raise ValueError("must not be Host, which has a key of its own beside headers: host")
    return name


def _statuses(written: Any) -> tuple[int, int]:
    if isinstance(written, bool) or not isinstance(written, int | str):
        raise ValueError(_STATUS_RULE)
    match = re.fullmatch(f"({_STATUS})(?:-({_STATUS}))?", str(written))
    if match is None:
        raise ValueError(_STATUS_RULE)
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise ValueError("is a range that ends before it begins")
    return first, last


def _regular_expression(text: str) -> str:
    """Refuse whatever does not compile, and what compiles with a warning: its meaning may change."""
    try:
        with warnings.catch_warnings(action="error"):
            re.compile(text)
    except (re.error, Warning) as exc:
        raise ValueError(f"is no regular expression: {exc}") from exc
    except (RecursionError, OverflowError) as exc:
        raise ValueError("is no regular expression that can be used: it is too large") from exc
    return text


UrlPath: TypeAlias = Annotated[
    str,
    AfterValidator(_all_of(_PATH, "must begin with '/' and hold only ASCII without spaces (write others as %20)")),
    WithJsonSchema({"type": "string", "pattern": f"^{_PATH}$"}),
]
Host: TypeAlias = Annotated[
    str,
    AfterValidator(_all_of(_HOST, "must be a host name, without scheme and path")),
    WithJsonSchema({"type": "string", "pattern": f"^{_HOST}$"}),
]
HeaderName: TypeAlias = Annotated[
    str,
    AfterValidator(_all_of(_HEADER_NAME, "must hold only letters, digits and !#$%&'*+.^_`|~-")),
    AfterValidator(_header_name),
]
HeaderValue: TypeAlias = Annotated[
    str, AfterValidator(_all_of(_HEADER_VALUE, "must be a single line of ASCII text without control characters"))
]
Statuses: TypeAlias = Annotated[tuple[int, int], PlainValidator(_statuses), WithJsonSchema(_STATUS_SCHEMA)]
"""The first and the last of a range of codes."""
RegularExpression: TypeAlias = Annotated[str, AfterValidator(_regular_expression)]
