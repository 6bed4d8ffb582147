"""What a user may write for the simulated provider, in the spec's `providers` and in a group's `machine`.

It knows how a value is drawn from a seed, so that the same seed replays the same cloud whatever the order of
the calls; it does not know what the values are for.
"""

import hashlib
from collections.abc import Mapping, Sequence
from math import log
from statistics import NormalDist
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PlainSerializer,
    PositiveInt,
    model_validator,
)

from infrakit_py.model.quantities import format_duration, format_size, parse_duration, parse_size


def _duration(written: object) -> float:
    if not isinstance(written, str):
        raise ValueError("write a duration with its unit, as 500ms, 90s or 5m")
    return parse_duration(written)


def _size(written: object) -> int:
    if not isinstance(written, str):
        raise ValueError("write a size with its unit, as 512MiB or 10GiB")
    return parse_size(written)


Duration = Annotated[
    float, BeforeValidator(_duration, json_schema_input_type=str), PlainSerializer(format_duration, when_used="json")
]
Size = Annotated[
    PositiveInt, BeforeValidator(_size, json_schema_input_type=str), PlainSerializer(format_size, when_used="json")
]
Name = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


def draw(*key: object) -> float:
    """Return a number above 0 and below 1, the same for the same key."""
    text = "\0".join(map(str, key)).encode()
    return (int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big") + 0.5) / 2**48


def draw_lifetime(mean_seconds: float, chance: float) -> float:
    """Return the seconds that a machine works, of machines that fail at a constant rate."""
    return -log(chance) * mean_seconds


_NORMAL: Final = NormalDist()


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Spread(_Strict):
    """A duration that differs from machine to machine: evenly from `min` to `max`, or normal around `mean`."""

    min: Duration | None = None
    max: Duration | None = None
    mean: Duration | None = None
    stddev: Duration = 0.0

    @model_validator(mode="before")
    @classmethod
    def _accept_one_duration(cls, written: object) -> object:
        if not isinstance(written, str):
            return written
        _duration(written)  # here, so that the mistake is not said to be in a `mean` that nobody wrote
        return {"mean": written}

    @model_validator(mode="after")
    def _must_be_one_distribution(self) -> Self:
        if self.mean is None and (self.min is None or self.max is None or self.stddev):
            raise ValueError("write a duration, or min and max, or mean and stddev")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is longer than max")
        return self

    def at(self, chance: float) -> float:
        """Return the seconds below which a share of `chance` of all machines lies."""
        low, high = self.min or 0.0, self.max
        if self.mean is None:
            return low + ((high or low) - low) * chance
        seconds = self.mean + self.stddev * _NORMAL.inv_cdf(chance) if self.stddev else self.mean
        return max(low, seconds if high is None else min(seconds, high))


def _as_written(written: object) -> object:
    return written


BootTime = Annotated[Spread, BeforeValidator(_as_written, json_schema_input_type=str | Spread)]
"""A spread, or one duration for all."""


def _capacity(written: object) -> object:
    numbers = written.values() if isinstance(written, Mapping) else [0 if written is None else written]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("write how many machines there are, or how many of each type, or nothing for no end")
    return written


ZoneCapacity = Annotated[int | Mapping[str, int] | None, BeforeValidator(_capacity)]
"""Machines that a zone has to give: of all types together, of each type (and none of others), or without end."""


class SimSettings(_Strict):
    """The provider's mapping in the spec: what kind of cloud is simulated."""

    database: str = ".infrakit/simulated.db"
    seed: int = 0
    boot_time: BootTime = Spread.model_validate("2s")
    provision_delay: Duration = 0.0
    destroy_time: Duration = 0.0
    gone_listed_for: Duration = 0.0
    listing_lag: Duration = 0.0
    zones: Annotated[Mapping[Name, ZoneCapacity], Field(min_length=1)] = {"a": None}
    quota: NonNegativeInt | None = None
    limits: Literal["none", "ec2"] = "none"
    failure_rate: Share = 0.0
    mean_time_between_failures: Annotated[Duration, Field(gt=0)] | None = None
    sick_images: Sequence[Name] = ()
    missing_images: Sequence[Name] = ()
    publish_rate: Size | None = None


class SimMachine(_Strict):
    """A group's `machine` mapping."""

    type: Name = "small"
    zones: Annotated[Sequence[Name], Field(min_length=1)] | None = None
    data_disk: Size | None = None
