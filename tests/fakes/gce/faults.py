"""Calls that fail: because somebody ordered it, or at a rate that the seed draws."""

from collections import Counter, deque
from typing import Final

from infrakit_providers.simulated.faults import Fault
from infrakit_providers.simulated.settings import draw
from tests.fakes.gce.document import Method
from tests.fakes.gce.errors import GceError, too_many_requests

KINDS: Final = {
    "describe": ("instances.list", "instances.aggregatedList"),
    "lookup": ("instances.get",),
    "provision": ("instances.insert", "instances.bulkInsert"),
    "destroy": ("instances.delete",),
    "tag": ("instances.setLabels",),
}
"""The simulated cloud's names of calls. Any method may be named instead, and `` is any that changes something."""
_OF_INSERTS: Final = (Fault.CAPACITY, Fault.QUOTA)


class Faults:
    """What is to fail."""

    def __init__(self, seed: int, rate: float) -> None:
        self._seed = seed
        self._rate = rate
        self._ordered: dict[str, deque[Fault]] = {}
        self._calls: Counter[str] = Counter()

    def order(self, call: str, fault: Fault, times: int) -> None:
        """Make the next calls of a kind fail, after those already ordered."""
        if fault is Fault.CUT_SHORT or (fault in _OF_INSERTS and call not in ("provision", *KINDS["provision"])):
            raise ValueError(f"{call or 'any change'} cannot fail with {fault}")
        self._ordered.setdefault(call, deque()).extend([fault] * times)

    def next(self, method: Method) -> Fault | None:
        """Return how a call is to fail."""
        names = [method.name, *(kind for kind, methods in KINDS.items() if method.name in methods)]
        for name in (*names, *([""] if method.changes else [])):
            if queue := self._ordered.get(name):
                return queue.popleft()
        if not self._rate:
            return None
        self._calls[method.name] += 1
        chance = draw(self._seed, "failure", method.name, self._calls[method.name])
        if chance >= self._rate:
            return None
        return Fault.LOST_REPLY if method.changes and chance < self._rate / 2 else Fault.TRANSIENT


def failure() -> GceError:
    return GceError(503, "backendError", "Backend error: the fake was told to fail.")


def before(fault: Fault | None) -> None:
    """Refuse a call that is not to do its work."""
    if fault in (Fault.TRANSIENT, Fault.INCOMPLETE_VIEW):
        raise failure()
    if fault is Fault.THROTTLED:
        raise too_many_requests("QueriesPerMinutePerProject")
