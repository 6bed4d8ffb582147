"""How much of a kind of call a provider's published buckets allow right now.

It keeps its own count, so that a call is made when it will be accepted and not before; it learns from a refusal
that somebody else uses the same account. It starts with full buckets: a new process cannot know better.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import ceil, inf
from threading import Lock
from typing import Final

from infrakit_py.spi.provider import CallLimits, CallRates, Rate

_WORTHWHILE_SECONDS: Final = 5.0
"""A batch that must wait for tokens waits at least until so many seconds' worth of them are there."""


class Kind(StrEnum):
    PROVISION = "provision"
    DESTROY = "destroy"
    TAG = "tag"


@dataclass(slots=True)
class _Bucket:
    rate: Rate
    level: float
    at: float

    def fill(self, now: float) -> None:
        gained = max(0.0, now - self.at) * self.rate.per_second
        self.level, self.at = min(self.rate.burst, self.level + gained), max(self.at, now)

    def seconds_until(self, tokens: float) -> float:
        if tokens <= self.level:
            return 0.0
        return (tokens - self.level) / self.rate.per_second if self.rate.per_second > 0 else inf


@dataclass(frozen=True, slots=True)
class Grant:
    """How many machines the next calls may hold, and when (Unix time in seconds) more of them may be asked for."""

    machines: int
    more_at: float = 0.0


class Limiter:
    """The buckets of one provider, shared by all groups."""

    def __init__(self, limits: CallLimits, now: float) -> None:
        self._lock = Lock()
        self._batch = {
            Kind.PROVISION: limits.provision_batch,
            Kind.DESTROY: limits.destroy_batch,
            Kind.TAG: limits.tag_batch,
        }
        rates = {Kind.PROVISION: limits.provision, Kind.DESTROY: limits.destroy, Kind.TAG: limits.tag}
        self._buckets = {kind: _buckets(rate, now) for kind, rate in rates.items()}

    def take(self, kind: Kind, machines: int, now: float) -> Grant:
        """Take tokens for as many of these machines as may go now, in as few calls as batches allow."""
        with self._lock:
            calls, each = self._buckets[kind]
            for bucket in (calls, each):
                if bucket is not None:
                    bucket.fill(now)
            granted = machines
            if each is not None:
                granted = min(granted, int(each.level + 1e-9))
            if calls is not None:
                granted = min(granted, int(calls.level + 1e-9) * self._batch[kind])
            rest = machines - granted
            worth = _worthwhile(each, machines)
            if rest and granted < min(worth, machines):
                granted = 0  # a few machines a call would use up the calls
                rest = machines
            if each is not None:
                each.level -= granted
            if calls is not None and granted:
                calls.level -= ceil(granted / self._batch[kind])
            if not rest:
                return Grant(granted)
            wait = max(
                each.seconds_until(min(rest, _worthwhile(each, rest))) if each is not None else 0.0,
                calls.seconds_until(1) if calls is not None else 0.0,
            )
            return Grant(granted, now + wait)

    def refused(self, kind: Kind, now: float) -> None:
        """Learn that the provider found the buckets empty."""
        with self._lock:
            for bucket in self._buckets[kind]:
                if bucket is not None:
                    bucket.level, bucket.at = 0.0, now


def _buckets(rates: CallRates, now: float) -> tuple[_Bucket | None, _Bucket | None]:
    calls, machines = (_Bucket(r, r.burst, now) if r is not None else None for r in (rates.calls, rates.machines))
    return calls, machines


def _worthwhile(bucket: _Bucket | None, machines: int) -> int:
    if bucket is None:
        return 1
    return max(1, min(machines, int(bucket.rate.per_second * _WORTHWHILE_SECONDS), int(bucket.rate.burst)))
