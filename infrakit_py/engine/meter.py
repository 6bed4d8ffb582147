"""What is counted and timed while the engine works. Who shows the numbers, and how, is elsewhere."""

from enum import StrEnum
from typing import Protocol


class Call(StrEnum):
    """A call to a provider, as the SPI names it."""

    DESCRIBE = "describe"
    LOOKUP = "lookup"
    ARRANGE = "arrange"
    PROVISION = "provision"
    DESTROY = "destroy"
    TAG = "tag"
    PUBLISH = "publish"


class Meter(Protocol):
    """Hears of calls and ticks. Called from any thread; it returns at once and never raises."""

    def called(self, cluster: str, provider: str, call: Call, seconds: float, error: str) -> None:
        """A call has ended. `error`: its error's class, "" for none; "Throttled": refused by rate."""
        ...

    def ticked(self, cluster: str, group: str, seconds: float, late_seconds: float) -> None:
        """A tick has ended, which began so much later than it was due."""
        ...


class NoMeter:
    """Counts nothing."""

    def called(self, cluster: str, provider: str, call: Call, seconds: float, error: str) -> None:
        pass

    def ticked(self, cluster: str, group: str, seconds: float, late_seconds: float) -> None:
        pass


class Meters:
    """Tells several meters."""

    def __init__(self, *meters: Meter) -> None:
        self._meters = meters

    def called(self, cluster: str, provider: str, call: Call, seconds: float, error: str) -> None:
        for meter in self._meters:
            meter.called(cluster, provider, call, seconds, error)

    def ticked(self, cluster: str, group: str, seconds: float, late_seconds: float) -> None:
        for meter in self._meters:
            meter.ticked(cluster, group, seconds, late_seconds)
