"""One way to call AWS: within the account's published rates, and again where the error's class says that it may help.

Token buckets of requests are counted here; how many machines may be made is counted by the engine.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from random import Random
from threading import Lock
from typing import Any, Final

import structlog

from infrakit_providers.aws.clients import Clients
from infrakit_providers.aws.faults import EXPIRED, code_of, translated
from infrakit_providers.aws.settings import Limits
from infrakit_providers.cloud.repeating import Repeater
from infrakit_py.errors import Throttled
from infrakit_py.spi.provider import Now, Rate

_LONGEST_QUEUE_SECONDS: Final = 15.0
"""Who would wait longer for a token is told so: the engine comes back later."""
_log: Final = structlog.get_logger("infrakit.aws")


class Kind(StrEnum):
    """Calls by the bucket that they draw on."""

    RUN = "RunInstances"
    TERMINATE = "TerminateInstances"
    TAG = "CreateTags"
    DESCRIBE = "Describe*"
    MUTATE = "other mutating calls"
    PUT_BLOCK = "PutSnapshotBlock"
    OTHER = "other services"


@dataclass(slots=True)
class Bucket:
    """A token bucket that lets its callers queue."""

    rate: Rate
    level: float
    at: float
    lock: Lock = field(default_factory=Lock)

    def take(self, now: float) -> float:
        """Take a token and return for how many seconds to wait for it; negative, and no token, if it is too long."""
        with self.lock:
            self.level = min(self.rate.burst, self.level + max(0.0, now - self.at) * self.rate.per_second)
            self.at = max(self.at, now)
            wait = max(0.0, (1.0 - self.level) / self.rate.per_second)
            if wait > _LONGEST_QUEUE_SECONDS:
                return -1.0
            self.level -= 1.0
            return wait

    def empty(self, now: float) -> None:
        """Learn that somebody else uses the account: there was no token."""
        with self.lock:
            self.level, self.at = min(self.level, 0.0), now


class Rates:
    """The buckets of one account and region. Shared by all providers of a process that use it."""

    def __init__(self, limits: Limits, now: float) -> None:
        rates = {
            Kind.RUN: limits.run_instances,
            Kind.TERMINATE: limits.terminate_instances,
            Kind.TAG: limits.create_tags,
            Kind.DESCRIBE: limits.describe,
            Kind.MUTATE: limits.mutate,
            Kind.PUT_BLOCK: limits.put_snapshot_block,
        }
        self._buckets = {kind: Bucket(one.rate, one.rate.burst, now) for kind, one in rates.items()}

    def of(self, kind: Kind) -> Bucket | None:
        return self._buckets.get(kind)


class Caller:
    """Makes calls. Safe for threads."""

    def __init__(self, clients: Clients, rates: Rates, clock: Now, chance: Random) -> None:
        """`chance` spreads what is tried again."""
        self._clients = clients
        self._rates = rates
        self._clock = clock
        self._repeater = Repeater(clock, chance)

    def ask(self, service: str, operation: str, doing: str, **parameters: Any) -> Any:
        """Look at something, again a few times where that may help."""
        kind = Kind.DESCRIBE if service == "ec2" else Kind.OTHER
        return self._repeated(kind, service, operation, doing, parameters)

    def act(self, kind: Kind, service: str, operation: str, doing: str, **parameters: Any) -> Any:
        """Change something in a way that may be repeated, again a few times where that may help."""
        return self._repeated(kind, service, operation, doing, parameters)

    def once(self, kind: Kind, service: str, operation: str, doing: str, **parameters: Any) -> Any:
        """Make a call and never repeat it: that is for who can say what was done."""
        return self._call(kind, service, operation, doing, parameters)

    def pages(self, service: str, operation: str, doing: str, **parameters: Any) -> Iterator[Any]:
        """Yield the pages of a listing, all of them or an error; each is asked for again by itself."""
        token: str | None = None
        names = ("NextToken", "NextToken") if service != "elbv2" else ("Marker", "NextMarker")
        while True:
            more = {names[0]: token} if token else {}
            page = self.ask(service, operation, doing, **parameters, **more)
            yield page
            token = page.get(names[1])
            if not token:
                return

    def _repeated(self, kind: Kind, service: str, operation: str, doing: str, parameters: dict[str, Any]) -> Any:
        return self._repeater.repeated(partial(self._call, kind, service, operation, doing, parameters))

    def _call(self, kind: Kind, service: str, operation: str, doing: str, parameters: dict[str, Any]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        self._queue(kind, doing)
        client = self._clients.of(service)
        try:
            return getattr(client, operation)(**parameters)
        except (BotoCoreError, ClientError, ResponseParserError, RuntimeError) as exc:
            # RuntimeError is what botocore raises for a role's credentials that are expired when they come.
            error = translated(exc, doing)
            if code_of(exc) in EXPIRED:
                self._clients.renew()
            bucket = self._rates.of(kind)
            if isinstance(error, Throttled) and bucket is not None:
                bucket.empty(self._clock.now())
            _log.debug("call failed", operation=operation, error=str(error))
            raise error from exc

    def _queue(self, kind: Kind, doing: str) -> None:
        bucket = self._rates.of(kind)
        if bucket is None:
            return
        seconds = bucket.take(self._clock.now())
        if seconds < 0:
            raise Throttled(f"aws: cannot {doing} yet: too many {kind} are waiting for the account's limit")
        if seconds > 0:
            self._clock.sleep(seconds)
