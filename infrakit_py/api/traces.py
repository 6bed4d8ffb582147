"""Ticks and provider calls as spans for an OpenTelemetry collector. Needs the extra `otel`.

Spans wait in a bounded queue and are sent by a thread of their own: nobody who works waits for a collector.
"""

from collections.abc import Callable, Mapping
from typing import Final

from infrakit_py.api.extras import extra
from infrakit_py.clock import Clock
from infrakit_py.engine.meter import Call

_NANOSECONDS: Final = 1_000_000_000


class Tracing:
    """A Meter that makes a span of each call and each tick."""

    def __init__(self, endpoint: str, controller: str, clock: Clock, complain: Callable[[str], None]) -> None:
        """`endpoint`: of a collector that takes OTLP by HTTP, with or without `/v1/traces`.

        `complain` hears in one line when the collector takes no more. PluginError where the extra is not installed.
        """
        with extra("otel", "tracing"):
            from infrakit_py.api.spans import Spans
        self._clock = clock
        self._spans = Spans(endpoint, controller, complain)

    def called(self, cluster: str, provider: str, call: Call, seconds: float, error: str) -> None:
        attributes = {"infrakit.cluster": cluster, "infrakit.provider": provider, "infrakit.call": call.value}
        self._note(f"{provider} {call.value}", attributes, seconds, error, outside=True)

    def ticked(self, cluster: str, group: str, seconds: float, late_seconds: float) -> None:
        attributes: dict[str, str | float] = {"infrakit.cluster": cluster, "infrakit.group": group}
        attributes["infrakit.late_seconds"] = late_seconds
        self._note("tick", attributes, seconds, "", outside=False)

    def stop(self) -> None:
        """Send what waits, and nothing more. It takes some seconds where the collector does not answer."""
        self._spans.stop()

    def _note(
        self, name: str, attributes: Mapping[str, str | float], seconds: float, error: str, *, outside: bool
    ) -> None:
        end = int(self._clock.now() * _NANOSECONDS)
        begin = end - int(max(0.0, seconds) * _NANOSECONDS)
        self._spans.note(name, attributes, begin, end, error=error, outside=outside)
