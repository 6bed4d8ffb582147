"""The windows of a minute in which Compute Engine counts calls: full again when the minute turns, not smoothly.

Source: Google, "Rate quotas" of the Compute Engine API. The numbers are in each project's console.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from infrakit_py.spi.provider import Now
from tests.fakes.gce.document import Method
from tests.fakes.gce.errors import too_many_requests

DEFAULT: Final = 1500
_LIMITS: Final = {
    "get": "ReadRequestsPerMinutePerProject",
    "list": "ListRequestsPerMinutePerProject",
    "mutate": "QueriesPerMinutePerProject",
    "operation": "OperationReadRequestsPerMinutePerProject",
}


class Limits:
    """What was used of each window."""

    def __init__(self, clock: Now, per_minute: Mapping[str, int]) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._minute = -1
        self._used: Counter[str] = Counter()

    def take(self, method: Method) -> None:
        """Count a call. GceError where its window is used up."""
        minute = int(self._clock.now() // 60)
        if minute != self._minute:
            self._minute = minute
            self._used.clear()
        kind = kind_of(method)
        if self._used[kind] >= self._per_minute.get(kind, DEFAULT):
            raise too_many_requests(_LIMITS[kind])
        self._used[kind] += 1


def kind_of(method: Method) -> str:
    """Return what a call is counted as."""
    resource, _, name = method.name.partition(".")
    if resource.endswith("Operations") and name in ("get", "wait"):
        return "operation"
    if name.startswith(("list", "aggregatedList")):
        return "list"
    return "mutate" if method.changes else "get"
