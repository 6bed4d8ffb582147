"""The token buckets by which EC2 limits an account's calls, shared by all processes that use the cloud.

Source of the numbers: AWS, "Request throttling for the Amazon EC2 API".
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from infrakit_py.errors import Throttled
from infrakit_py.spi.provider import CallRates, Rate


class Call(StrEnum):
    """Calls of the cloud, as they are limited and can be made to fail."""

    DESCRIBE = "describe"
    LOOKUP = "lookup"
    PROVISION = "provision"
    DESTROY = "destroy"
    TAG = "tag"
    PUBLISHED = "published"
    PUBLISH = "publish"
    LEFTOVERS = "leftovers"
    SWEEP = "sweep"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Bucket:
    """What calls of some kinds share."""

    name: str
    rate: Rate


_DESCRIBE: Final = Bucket("requests: Describe*", Rate(100, 20))
_MUTATE: Final = Bucket("requests: other mutating calls", Rate(50, 5))
_REQUESTS: Final[Mapping[Call, Bucket]] = {
    Call.DESCRIBE: _DESCRIBE,
    Call.LOOKUP: _DESCRIBE,
    Call.PUBLISHED: _DESCRIBE,
    Call.LEFTOVERS: _DESCRIBE,
    Call.PROVISION: Bucket("requests: RunInstances", Rate(5, 2)),
    Call.DESTROY: Bucket("requests: TerminateInstances", Rate(100, 5)),
    Call.TAG: Bucket("requests: CreateTags", Rate(100, 10)),
    Call.PUBLISH: _MUTATE,
    Call.SWEEP: _MUTATE,
}
_INSTANCES: Final[Mapping[Call, Bucket]] = {
    Call.PROVISION: Bucket("instances: RunInstances", Rate(1000, 2)),
    Call.DESTROY: Bucket("instances: StopInstances, TerminateInstances", Rate(1000, 20)),
}


def ec2_rates(call: Call) -> CallRates:
    """Return what calls of a kind may use up."""
    requests, instances = _REQUESTS.get(call), _INSTANCES.get(call)
    return CallRates(requests.rate if requests else None, instances.rate if instances else None)


def take_ec2(rows: sqlite3.Connection, call: Call, machines: int, now: float) -> None:
    """Take a call's tokens, all or none. Raise Throttled where one bucket holds too few."""
    levels = []
    for bucket, needed in ((_REQUESTS.get(call), 1), (_INSTANCES.get(call), machines)):
        if bucket is None:
            continue
        level = _level(rows, bucket, now)
        if level < needed:
            raise Throttled(f"{call}: over the limit of {bucket.name}: {needed} needed, {level:.1f} left")
        levels.append((bucket.name, level - needed, now))
    rows.executemany("INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)", levels)


def _level(rows: sqlite3.Connection, bucket: Bucket, now: float) -> float:
    found = rows.execute("SELECT level, at FROM buckets WHERE name = ?", (bucket.name,)).fetchone()
    if found is None:
        return bucket.rate.burst
    level, at = found
    return float(min(bucket.rate.burst, level + max(0.0, now - at) * bucket.rate.per_second))
