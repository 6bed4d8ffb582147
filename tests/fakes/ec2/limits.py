"""The buckets of tokens by which EC2 limits an account's calls, and which call takes from which.

Source of the numbers: AWS, "Request throttling for the Amazon EC2 API".
"""

from collections.abc import Mapping
from typing import Final

from infrakit_py.spi.provider import Now, Rate
from tests.fakes.ec2.errors import AwsError
from tests.fakes.ec2.reading import Asked

_REQUESTS: Final[Mapping[str, Rate]] = {
    "RunInstances": Rate(5, 2),
    "StartInstances": Rate(5, 2),
    "TerminateInstances": Rate(100, 5),
    "CreateTags": Rate(100, 10),
    "Describe*": Rate(100, 20),
    "Describe* without filter": Rate(50, 10),
    "other": Rate(50, 5),
}
_INSTANCES: Final[Mapping[str, Rate]] = {"launched": Rate(1000, 2), "ended": Rate(1000, 20)}


class Limits:
    """What is left of each bucket. Only EC2's own calls are limited."""

    def __init__(self, clock: Now) -> None:
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, call: str, asked: Asked) -> None:
        """Take a call's tokens, all or none. RequestLimitExceeded where one bucket holds too few."""
        wanted = [(_bucket(call, asked), _REQUESTS, 1.0), *_machines(call, asked)]
        levels = []
        for name, rates, needed in wanted:
            level = self._level(name, rates[name])
            if level < needed:
                raise AwsError("RequestLimitExceeded", "Request limit exceeded.", 503)
            levels.append((name, level - needed))
        now = self._clock.now()
        self._levels |= {name: (level, now) for name, level in levels}

    def _level(self, name: str, rate: Rate) -> float:
        if name not in self._levels:
            return rate.burst
        level, at = self._levels[name]
        return min(rate.burst, level + max(0.0, self._clock.now() - at) * rate.per_second)


def _bucket(call: str, asked: Asked) -> str:
    if call in _REQUESTS:
        return call
    if not call.startswith("Describe"):
        return "other"
    named = asked.get("Filters") or any(name.endswith(("Ids", "Names")) for name in asked)
    return "Describe*" if named or "MaxResults" in asked else "Describe* without filter"


def _machines(call: str, asked: Asked) -> list[tuple[str, Mapping[str, Rate], float]]:
    match call:
        case "RunInstances":
            return [("launched", _INSTANCES, asked["MaxCount"])]
        case "StartInstances":
            return [("launched", _INSTANCES, len(asked["InstanceIds"]))]
        case "StopInstances" | "TerminateInstances":
            return [("ended", _INSTANCES, len(asked["InstanceIds"]))]
        case _:
            return []
