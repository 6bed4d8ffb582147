"""How much of a kind of call a provider's published buckets allow right now, and whose turn it is.

It keeps its own count, so that a call is made when it will be accepted and not before; it learns from a refusal
that somebody else uses the same account. It starts with full buckets: a new process cannot know better.

Where tokens are short, what is more urgent goes first: what could not be granted is held back from what is less
urgent, until its claimant comes back for it. A claimant that does not come back blocks nobody for long.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from math import ceil, inf
from threading import Lock
from typing import Final, assert_never

from infrakit_py.model.plan import Action, Cause, Create, Destroy, Drain, GroupPlan, Publish, Retag, RolloutPhase
from infrakit_py.spi.provider import CallLimits, CallRates, Provider, Rate

_WORTHWHILE_SECONDS: Final = 5.0
"""A batch that must wait for tokens waits at least until so many seconds' worth of them are there."""
_LATE_SECONDS: Final = 30.0
"""A claimant may come back so much later than it was told, and still find its tokens."""
_LONGEST_CLAIM_SECONDS: Final = 60.0
"""A group that waits for tokens looks again far sooner than after this, however long it was told to wait."""


class Kind(StrEnum):
    PROVISION = "provision"
    DESTROY = "destroy"
    TAG = "tag"


class Urgency(IntEnum):
    """What goes first where tokens are short: the lesser number."""

    REPAIR = 0
    ROLLOUT = 1
    RESIZE = 2
    """Growing, shrinking, going altogether, and other tags: nothing is worse than it was while that waits."""


def urgency_of(action: Action, plan: GroupPlan, *, whole: bool = False) -> Urgency:
    """Say how urgent an action of a plan is. `whole`: the group had all its machines once, and lost what it lacks."""
    match action:
        case Create():
            if action.heals:
                return Urgency.REPAIR
            if plan.tally.outdated or plan.progress.phase in _ROLLS:
                return Urgency.ROLLOUT
            return Urgency.REPAIR if whole else Urgency.RESIZE
        case Drain() | Destroy():
            return _URGENCY_OF_CAUSE[action.cause]
        case Publish() | Retag():
            return Urgency.RESIZE
        case _:
            assert_never(action)


_ROLLS: Final = (RolloutPhase.ROLLING, RolloutPhase.ROLLING_BACK)
_URGENCY_OF_CAUSE: Final = {
    Cause.HEAL: Urgency.REPAIR,
    Cause.REPLACE: Urgency.ROLLOUT,
    Cause.SCALE_DOWN: Urgency.RESIZE,
    Cause.UNDECLARED: Urgency.RESIZE,
}


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


@dataclass(slots=True)
class _Line:
    """The buckets of one kind of call (None: no limit), and who waits for them."""

    batch: int
    calls: _Bucket | None
    machines: _Bucket | None
    claims: dict[Hashable, "_Claim"] = field(default_factory=dict)

    @property
    def buckets(self) -> tuple[_Bucket, ...]:
        return tuple(bucket for bucket in (self.calls, self.machines) if bucket is not None)

    def tokens(self, machines: int) -> tuple[int, int]:
        """Return what so many machines cost: calls, machines."""
        return ceil(machines / self.batch), machines

    def held_from(self, urgency: Urgency) -> tuple[int, int]:
        """Return what is held back for what is more urgent than this: calls, machines."""
        costs = [
            self.tokens(machines)
            for claim in self.claims.values()
            for claimed, machines in claim.missing.items()
            if claimed < urgency
        ]
        return sum(calls for calls, _ in costs), sum(machines for _, machines in costs)

    def room_for(self, urgency: Urgency) -> float:
        """Return how many machines the next calls of this urgency may hold."""
        held_calls, held_machines = self.held_from(urgency)
        room = inf
        if self.machines is not None:
            room = min(room, int(self.machines.level - held_machines + 1e-9))
        if self.calls is not None:
            room = min(room, int(self.calls.level - held_calls + 1e-9) * self.batch)
        return max(0, room)

    def worthwhile(self, machines: int) -> int:
        """Return how many of these machines must be granted at least: fewer a call would use up the calls."""
        if self.machines is None:
            return 1
        rate = self.machines.rate
        return max(1, min(machines, int(rate.per_second * _WORTHWHILE_SECONDS), int(rate.burst)))

    def seconds_until(self, machines: int, urgency: Urgency) -> float:
        """Return how long it takes until some of these machines may go."""
        held_calls, held_machines = self.held_from(urgency)
        return max(
            self.machines.seconds_until(self.worthwhile(machines) + held_machines) if self.machines else 0.0,
            self.calls.seconds_until(1 + held_calls) if self.calls else 0.0,
        )


@dataclass(frozen=True, slots=True)
class _Claim:
    missing: Mapping[Urgency, int]
    lapses_at: float


@dataclass(frozen=True, slots=True)
class Grant:
    """How many machines the next calls may hold, and when (Unix time in seconds) more of them may be asked for."""

    machines: int
    more_at: float = 0.0


class Limiter:
    """The buckets of one account, shared by all groups, and by threads."""

    def __init__(self, limits: CallLimits, now: float) -> None:
        self._lock = Lock()
        self._limits = limits
        self._lines = _lines(limits, now)

    def take(self, kind: Kind, demand: Mapping[Urgency, int], now: float, claimant: Hashable = None) -> Grant:
        """Take tokens for as many of these machines as may go now, in as few calls as batches allow.

        The granted ones are the most urgent. The rest is the claimant's claim, in place of the one it had before on
        this kind of call: it is held back from what is less urgent until the claimant asks again, or for a while.
        As many as it claimed before are as urgent as they were: that a machine is to replace a failed one is seen no
        longer once that one is gone.
        """
        with self._lock:
            line = self._lines[kind]
            for bucket in line.buckets:
                bucket.fill(now)
            line.claims = {who: claim for who, claim in line.claims.items() if claim.lapses_at > now}
            before = line.claims.pop(claimant, None)
            granted, missing = _share(line, _raised(demand, before.missing) if before is not None else demand)
            for drawn, tokens in zip((line.calls, line.machines), line.tokens(granted), strict=True):
                if drawn is not None:
                    drawn.level -= tokens
            if not missing:
                return Grant(granted)
            first = min(missing)
            more_at = now + line.seconds_until(missing[first], first)
            line.claims[claimant] = _Claim(missing, min(more_at + _LATE_SECONDS, now + _LONGEST_CLAIM_SECONDS))
            return Grant(granted, more_at)

    def refused(self, kind: Kind, now: float) -> None:
        """Learn that the provider found the buckets empty."""
        with self._lock:
            for bucket in self._lines[kind].buckets:
                bucket.level, bucket.at = 0.0, now

    def heed(self, limits: CallLimits, now: float) -> None:
        """Go by other limits from now on, with what is left in the buckets."""
        with self._lock:
            if limits == self._limits:
                return
            self._limits = limits
            for kind, line in _lines(limits, now).items():
                before, self._lines[kind] = self._lines[kind], line
                line.claims = before.claims
                for old, new in ((before.calls, line.calls), (before.machines, line.machines)):
                    if old is not None and new is not None:
                        old.fill(now)
                        new.level = min(new.level, old.level)


class Limiters:
    """The limiters of a process: one for each account, however many clusters and providers use it.

    They outlive the providers: who opens an account anew does not find its buckets full.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_account: dict[tuple[type, str], Limiter] = {}

    def of(self, providers: Mapping[str, Provider], now: float) -> Mapping[str, Limiter]:
        """Return the limiter of each of these providers, which have just been opened.

        One that names no account gets its own. Of two that name the same one, the later one's limits count.
        """
        return {name: self._one(provider, now) for name, provider in providers.items()}

    def _one(self, provider: Provider, now: float) -> Limiter:
        if not provider.account:
            return Limiter(provider.limits, now)
        account = (type(provider), provider.account)  # another plugin may call another account the same
        with self._lock:
            known = self._by_account.setdefault(account, Limiter(provider.limits, now))
        known.heed(provider.limits, now)
        return known


def _raised(demand: Mapping[Urgency, int], claimed: Mapping[Urgency, int]) -> Mapping[Urgency, int]:
    """Return the same demand, of which as many are of each urgency or of a higher one as were claimed."""
    raised: dict[Urgency, int] = {}
    left, asked = sum(demand.values()), 0
    for urgency in Urgency:
        asked += demand.get(urgency, 0)
        raised[urgency] = min(left, max(claimed.get(urgency, 0), asked))
        left, asked = left - raised[urgency], asked - raised[urgency]
    return raised


def _share(line: _Line, demand: Mapping[Urgency, int]) -> tuple[int, dict[Urgency, int]]:
    """Return how many machines may go, and what of the demand may not."""
    granted = 0
    missing: dict[Urgency, int] = {}
    for urgency in sorted(demand):
        wanted = demand[urgency]
        room = 0 if missing else max(0, line.room_for(urgency) - granted)
        part = int(min(wanted, room))
        if part < line.worthwhile(wanted):
            part = 0
        granted += part
        if part < wanted:
            missing[urgency] = wanted - part
    return granted, missing


def _lines(limits: CallLimits, now: float) -> dict[Kind, _Line]:
    return {
        Kind.PROVISION: _line(limits.provision_batch, limits.provision, now),
        Kind.DESTROY: _line(limits.destroy_batch, limits.destroy, now),
        Kind.TAG: _line(limits.tag_batch, limits.tag, now),
    }


def _line(batch: int, rates: CallRates, now: float) -> _Line:
    calls, machines = (_Bucket(r, r.burst, now) if r is not None else None for r in (rates.calls, rates.machines))
    return _Line(batch, calls, machines)
