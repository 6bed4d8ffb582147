"""What was accepted and is not there yet: operations, and what became of the machines that they were to make.

Compute Engine accepts nearly everything, and fails later. What failed is remembered until somebody asks again for a
machine of that group, and is told then.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final

import structlog

from infrakit_providers.cloud.pools import Pool, Pools
from infrakit_providers.gcp.calls import Caller
from infrakit_providers.gcp.faults import NotThere, of_operation
from infrakit_providers.gcp.names import Address
from infrakit_providers.gcp.operations import Operation, last, read_operation
from infrakit_py.errors import NoCapacity, ProviderError
from infrakit_py.spi.provider import Now

_MAKING: Final = ("insert", "bulkInsert")
_TOO_FEW: Final = "VM_MIN_COUNT_NOT_REACHED"
"""Says that a bulkInsert was undone, and not why."""
_FORGOTTEN_SECONDS: Final = 3600.0
"""After so long nobody asks any more for the machine that failed."""
_YOUNG_SECONDS: Final = 900.0
"""So long a bulkInsert that this process knows nothing of may be ours; others may make them all day long."""
_LOOK_SECONDS: Final = 2.0
"""An operation is looked at only so often: every group of every tick asks."""
_FEW: Final = 4
"""So many operations of a zone are looked at one by one; of more, those that run are listed, and the others are."""

_log: Final = structlog.get_logger("infrakit.gcp")


@dataclass(frozen=True, slots=True)
class Accepted:
    """An operation that makes machines of one group, from one pool."""

    operation: Operation
    owner: tuple[str, str]
    """Cluster and group."""
    pool: Pool
    machines: Mapping[Address, str]
    """What each is called by people, by its address."""
    looked_at: float = 0.0
    failed: int = 0
    """So many of its machines are known not to come."""

    @property
    def doing(self) -> str:
        first = next(iter(self.machines.values()))
        many = f" and {len(self.machines) - 1} more" if len(self.machines) > 1 else ""
        return f"create {first}{many} ({self.pool.type} in {self.pool.zone})"


_Failure = tuple[ProviderError, Mapping[Address, str]]
"""Why machines will not come, and which."""


class Pending:
    """Safe for threads. What it remembers is lost with the process, and found again by asking Compute Engine."""

    def __init__(self, caller: Caller, pools: Pools, clock: Now, forget: Callable[[Iterable[Address]], None]) -> None:
        """`forget` is told of machines that will not come after all."""
        self._caller = caller
        self._pools = pools
        self._clock = clock
        self._forget = forget
        self._lock = Lock()
        self._running: dict[str, Accepted] = {}
        self._owed: dict[tuple[str, str], list[tuple[float, ProviderError]]] = {}
        self._lacking: dict[Pool, str] = {}

    def accept(self, accepted: Accepted) -> None:
        """Take note of an operation that was accepted just now."""
        with self._lock:
            self._running[accepted.operation.name] = replace(accepted, looked_at=self._clock.now())

    def settle(self, cluster: str | None = None, running: Collection[str] = ()) -> None:
        """Look at the operations that run: of one cluster, or all.

        `running` are ids of machines that are known to run: an operation that has made all of its own has nothing
        more to tell.
        """
        self._look_at_ended(self._due(cluster, running))

    def coming(self, addresses: Collection[Address]) -> frozenset[Address]:
        """Return those of some machines, which are not there, that may come yet: look at their operations now."""
        with self._lock:
            making = [one for one in self._running.values() if not one.machines.keys().isdisjoint(addresses)]
        self._look_at_ended(making)
        with self._lock:
            return frozenset(
                address for one in self._running.values() for address in one.machines.keys() & set(addresses)
            )

    def comes_elsewhere(self, addresses: Sequence[Address]) -> frozenset[Address]:
        """Return those that an operation which this process knows nothing of may yet make: ask each zone once."""
        coming: set[Address] = set()
        now = self._clock.now()
        with self._lock:
            known = frozenset(self._running)
        for zone in sorted({address.zone for address in addresses}):
            making = [one for one in self._making(zone) if one.name not in known]
            named = {last(one.target) for one in making if one.kind == "insert"}
            many = any(one.kind == "bulkInsert" and now - one.began < _YOUNG_SECONDS for one in making)
            coming |= {one for one in addresses if one.zone == zone and (many or one.name in named)}
        return frozenset(coming)

    def owed(self, cluster: str, group: str) -> ProviderError | None:
        """Return how an accepted creation of a group failed, each once; None where there is nothing to tell."""
        with self._lock:
            since = self._clock.now() - _FORGOTTEN_SECONDS
            errors = [one for one in self._owed.pop((cluster, group), []) if one[0] > since]
            if errors[1:]:
                self._owed[cluster, group] = errors[1:]
        return errors[0][1] if errors else None

    def had_none(self, pool: Pool, error: NoCapacity) -> None:
        """Remember that there was none, and what was said of it."""
        self._pools.had_none(pool, 1)
        with self._lock:
            self._lacking.pop(pool, None)
            self._lacking[pool] = _said(error)

    def why(self, pools: Collection[Pool]) -> str:
        """Return what was said last of pools that had none; empty if this process was told nothing."""
        with self._lock:
            return next((said for pool, said in reversed(self._lacking.items()) if pool in pools), "")

    def _due(self, cluster: str | None, running: Collection[str]) -> list[Accepted]:
        """Return the operations that are to be looked at now, and forget those that have made all their machines."""
        now = self._clock.now()
        with self._lock:
            ours = [one for one in self._running.values() if cluster in (None, one.owner[0])]
            made = {one.operation.name for one in ours if all(address.id in running for address in one.machines)}
            for name in made:
                del self._running[name]
            due = [one for one in ours if one.operation.name not in made and now - one.looked_at >= _LOOK_SECONDS]
            self._running |= {one.operation.name: replace(one, looked_at=now) for one in due}
        return due

    def _still_running(self, due: Sequence[Accepted]) -> frozenset[str]:
        """Return which of many operations run still, and of few none. What could not be listed counts as running."""
        zones = [zone for zone, many in Counter(one.pool.zone for one in due).items() if many > _FEW]
        still: set[str] = set()
        for zone, listed in zip(zones, self._caller.each(self._making, zones), strict=True):
            if isinstance(listed, ProviderError):
                still |= {one.operation.name for one in due if one.pool.zone == zone}
            else:
                still |= {one.name for one in listed}
        return frozenset(still)

    def _look_at_ended(self, operations: Sequence[Accepted]) -> None:
        """Look at those of some operations that may have ended."""
        still = self._still_running(operations)
        ended = [one for one in operations if one.operation.name not in still]
        for one, seen in zip(ended, self._caller.each(self._looked_at, ended), strict=True):
            if isinstance(seen, NotThere):
                self._end(one)  # Compute Engine has forgotten it, which it does weeks after the end
            elif not isinstance(seen, ProviderError):
                try:
                    self._follow(one, seen)
                except ProviderError as exc:  # why machines failed is worth less than the listing
                    _log.debug("operation not understood", operation=one.operation.name, error=str(exc))
                    if seen.done:
                        self._end(one)

    def _looked_at(self, accepted: Accepted) -> Operation:
        return self._caller.look(accepted.operation)

    def _follow(self, accepted: Accepted, seen: Operation) -> None:
        """Take note of what an operation says. Some of its machines may fail long before the others are made."""
        if not seen.done and seen.failed <= accepted.failed:
            return
        failures = self._failures(accepted, seen)
        lost = {address for _, machines in failures for address in machines}
        left = {address: name for address, name in accepted.machines.items() if address not in lost}
        with self._lock:
            known = self._running.get(accepted.operation.name)
            if known is None or (not seen.done and known.failed >= seen.failed):
                return  # somebody else has seen it, too
            del self._running[accepted.operation.name]
            if not seen.done and left:
                now = self._clock.now()
                follows = replace(accepted, machines=left, failed=seen.failed, looked_at=now)
                self._running[accepted.operation.name] = follows
        for error, _ in failures:
            if isinstance(error, NoCapacity):
                self.had_none(accepted.pool, error)
            else:
                with self._lock:
                    self._owed.setdefault(accepted.owner, []).append((self._clock.now(), error))
        self._forget(lost)

    def _failures(self, accepted: Accepted, seen: Operation) -> list[_Failure]:
        """Return why machines of an operation will not come that were not known to fail before."""
        if seen.ended_badly:
            told = [one for one in seen.errors if one[0] != _TOO_FEW]
            if not told and seen.group_id:
                told = [error for part in self._parts(seen) if part.ended_badly for error in part.errors]
            return [(of_operation(told or seen.errors, seen.status, accepted.doing), accepted.machines)]
        if seen.failed <= accepted.failed or not seen.group_id:
            return []
        by_code: dict[str, list[Operation]] = {}
        for part in self._parts(seen):
            if part.ended_badly and Address(seen.zone, last(part.target)) in accepted.machines:
                by_code.setdefault(part.errors[0][0] if part.errors else "", []).append(part)
        if not by_code and seen.done:
            what = f"gcp: cannot {accepted.doing}: {seen.failed} of them were not made, and nothing says why"
            return [(NoCapacity(what), accepted.machines)]
        return [_failure(accepted, parts) for parts in by_code.values()]

    def _parts(self, bulk: Operation) -> list[Operation]:
        """Return the operations for single machines that a bulkInsert consists of."""
        where = f'operationGroupId="{bulk.group_id}"'
        pages = self._caller.pages(
            "zone_operations", "list", f"look at the parts of operation {bulk.name}", zone=bulk.zone, filter=where
        )
        parts = [read_operation(raw) for page in pages for raw in page.items]
        return [one for one in parts if one.name != bulk.name and one.kind == "insert"]

    def _making(self, zone: str) -> list[Operation]:
        pages = self._caller.pages(
            "zone_operations", "list", f"list what is being made in {zone}", zone=zone, filter='status!="DONE"'
        )
        return [one for page in pages for one in map(read_operation, page.items) if one.kind in _MAKING]

    def _end(self, accepted: Accepted) -> None:
        with self._lock:
            self._running.pop(accepted.operation.name, None)


def _failure(accepted: Accepted, parts: Sequence[Operation]) -> _Failure:
    """Return why some machines of a bulkInsert will not come, all for the same reason."""
    names = {last(part.target) for part in parts}
    machines = {address: name for address, name in accepted.machines.items() if address.name in names}
    first = parts[0]
    return of_operation(first.errors, first.status, replace(accepted, machines=machines).doing), machines


def _said(error: ProviderError) -> str:
    """Return what Compute Engine said, without what was being done."""
    return str(error).partition("): ")[2] or str(error)
