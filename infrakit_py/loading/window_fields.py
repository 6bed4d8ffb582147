"""The types of what says when a rollout may go on: days of the week, times of day, time zones."""

import re
from functools import cache
from typing import Annotated, Any, Final, TypeAlias
from zoneinfo import available_timezones

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from infrakit_py.loading.fields import PositiveDuration
from infrakit_py.loading.findings import suggestion
from infrakit_py.model.windows import time_zone

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = f"({'|'.join(_DAYS)})"
_DAYS_RULE: Final = f"must be one of {', '.join(_DAYS)}, or a range such as mon-fri"
_TIME: Final = r"([01]?[0-9]|2[0-3]):([0-5][0-9])"
_MAX_OPEN_SECONDS: Final = 7 * 86400


def _days(written: Any) -> tuple[int, ...]:
    match = re.fullmatch(f"{_DAY}(?:-{_DAY})?", written) if isinstance(written, str) else None
    if match is None:
        raise ValueError(_DAYS_RULE)
    first = _DAYS.index(match[1])
    last = _DAYS.index(match[2] or match[1])
    return tuple((first + day) % len(_DAYS) for day in range((last - first) % len(_DAYS) + 1))


def _minutes(written: Any) -> int:
    match = re.fullmatch(_TIME, written) if isinstance(written, str) else None
    if match is None:
        raise ValueError('must be a time of day from "00:00" to "23:59"')
    return int(match[1]) * 60 + int(match[2])


def _at_most_a_week(seconds: float) -> float:
    if seconds > _MAX_OPEN_SECONDS:
        raise ValueError("must be at most 7d")
    return seconds


def _time_zone(name: str) -> str:
    try:
        time_zone(name)
    except ValueError as exc:
        if not (known := _zone_names()):
            raise ValueError("cannot be looked up: there is no time zone database here; install tzdata") from exc
        advice = suggestion(name, known, "known are") or "; write an IANA name such as Europe/Berlin"
        raise ValueError(f"{exc}{advice}") from exc
    return name


@cache
def _zone_names() -> tuple[str, ...]:
    return tuple(sorted(available_timezones()))


Days: TypeAlias = Annotated[
    tuple[int, ...],
    PlainValidator(_days),
    WithJsonSchema({"type": "string", "pattern": f"^{_DAY}(-{_DAY})?$", "examples": ["mon", "mon-fri"]}),
]
"""One day or a range of them, which may go beyond the week's end. 0 is Monday."""
TimeOfDay: TypeAlias = Annotated[
    int,
    PlainValidator(_minutes),
    WithJsonSchema({"type": "string", "pattern": f"^{_TIME}$", "examples": ["22:00"]}),
]
"""In minutes after midnight."""
OpenDuration: TypeAlias = Annotated[PositiveDuration, AfterValidator(_at_most_a_week)]
TimeZone: TypeAlias = Annotated[
    str, AfterValidator(_time_zone), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin"]})
]
