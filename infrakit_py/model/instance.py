"""What providers report and what health checks say of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from infrakit_py.model import tags

InstanceId = NewType("InstanceId", str)


class InstanceState(StrEnum):
    """Where an instance is in its one life. There is no way back up this list but by a new instance."""

    INCOMPLETE = "incomplete"
    """Its creation was cut short; provisioning again with the same token finishes it."""
    PENDING = "pending"
    """Accepted and on its way."""
    RUNNING = "running"
    STOPPED = "stopped"
    """It exists and does not run: crashed, powered off, failed to boot."""
    LEAVING = "leaving"
    """Being destroyed, by us or by the provider."""
    GONE = "gone"
    """Destroyed, and still listed for a while."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One machine as its provider reports it.

    `launched_at` is Unix time in seconds. `detail` is the provider's own word on the state, `facts` are
    for people (console log, type, host). Neither holds secrets. `impaired` says why the provider itself takes a
    running machine for broken (a failed status check, a paused disk), `host` on which hardware it runs, where
    that is known. `lacks` says what of its own a running machine is without (a data disk, its place behind a load
    balancer), until it is provisioned again with the same token; `awaits`, what only time brings at the provider:
    that load balancers find it healthy, or, once it is draining, that they let it go. While there is either it is
    not ready. `doomed` says why the provider will take it away, and that it is to be replaced before.
    """

    id: InstanceId
    tags: Mapping[str, str]
    state: InstanceState
    launched_at: float
    addresses: tuple[str, ...] = ()
    zone: str = ""
    detail: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    impaired: str = ""
    host: str = ""
    lacks: str = ""
    awaits: str = ""
    doomed: str = ""


class Verdict(StrEnum):
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"
    """Not asked often enough yet, or the check itself cannot run. Never a reason to destroy anything."""


@dataclass(frozen=True, slots=True)
class Health:
    """The verdict of the checks so far. `ever_healthy`: it answered at least once, so its grace is over.

    `since`: when it became healthy without having failed after that, in Unix time; None while it is not.
    """

    verdict: Verdict
    reason: str = ""
    ever_healthy: bool = False
    since: float | None = None


UNKNOWN_HEALTH = Health(Verdict.UNKNOWN, "not checked yet")


@dataclass(frozen=True, slots=True)
class Member:
    """An instance of a group together with what is known about it. `provider` is the provider's name in the spec."""

    instance: Instance
    provider: str
    health: Health = UNKNOWN_HEALTH
    drained: bool = False

    @property
    def id(self) -> InstanceId:
        return self.instance.id

    @property
    def slot(self) -> str:
        return self.instance.tags.get(tags.SLOT, "")

    @property
    def incarnation(self) -> int:
        return tags.incarnation_of(self.instance.tags)

    @property
    def logical_id(self) -> str | None:
        return self.instance.tags.get(tags.LOGICAL_ID)

    @property
    def fingerprint(self) -> str:
        return self.instance.tags.get(tags.CONFIG_HASH, "")

    @property
    def protected(self) -> bool:
        return tags.is_protected(self.instance.tags)

    @property
    def failures(self) -> int:
        """How many machines of its slot and version failed in a row just before it."""
        return tags.failures_of(self.instance.tags)

    @property
    def draining_since(self) -> float | None:
        """Unix time in seconds; a mark that nobody can read counts as long ago, so that its deadline is over."""
        written = self.instance.tags.get(tags.DRAINING)
        if written is None:
            return None
        try:
            return float(written)
        except ValueError:
            return 0.0

    @property
    def name(self) -> str:
        """How people call it: `web-0`, or its logical id."""
        group = self.instance.tags.get(tags.GROUP, "?")
        return self.logical_id or f"{group}-{self.slot or self.id}"


@dataclass(frozen=True, slots=True)
class InFlight:
    """A creation that was begun and that no listing shows yet. It counts as present.

    `accepted`: the provider answered with an id, so it need not be asked for again.
    """

    slot: str
    incarnation: int
    fingerprint: str
    logical_id: str | None
    since: float
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is known of one group at one moment.

    `incarnations` maps a slot to the incarnation that its next machine takes (0 where absent);
    `published` holds the identities of images ready at the group's provider; `zones` the zones that its machines
    may be spread over, where the provider knows them.
    """

    members: tuple[Member, ...] = ()
    in_flight: tuple[InFlight, ...] = ()
    incarnations: Mapping[str, int] = field(default_factory=dict)
    published: frozenset[str] = frozenset()
    zones: tuple[str, ...] = ()
