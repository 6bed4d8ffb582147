"""What hears what happens besides the store: an audit log, counters, traces. All of it is optional."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from infrakit_py.app.announcing import Hears
from infrakit_py.clock import Clock
from infrakit_py.engine.meter import Meter, Meters
from infrakit_py.model.controller import ApiAddress, ControllerSettings

if TYPE_CHECKING:
    from infrakit_py.api.audit import AuditLog
    from infrakit_py.api.controls import Controls
    from infrakit_py.api.metrics import Metrics
    from infrakit_py.api.server import RunningServer


class Outlets:
    """What a controller's settings ask for. PluginError where that is not installed."""

    def __init__(
        self, settings: ControllerSettings, clock: Clock, stack: ExitStack, complain: Callable[[str], None]
    ) -> None:
        """`complain` hears in one line what cannot be written."""
        self._audit = _audit_log(settings, clock, stack, complain)
        self._metrics = _metrics(settings, clock)
        meters: list[Meter] = [self._metrics] if self._metrics is not None else []
        if settings.traces:
            from infrakit_py.api.traces import Tracing

            tracing = Tracing(settings.traces, settings.name, clock, complain)
            stack.callback(tracing.stop)
            meters.append(tracing)
        self.meter: Meter = Meters(*meters)
        self.hears: list[Hears] = [self._audit.action] if self._audit is not None else []
        if self._metrics is not None:
            self.hears.append(self._metrics.heard)

    def serve(self, controls: "Controls", address: ApiAddress) -> "RunningServer":
        """Answer requests from now on, where the settings have an API. InfrakitError where that cannot be."""
        from infrakit_py.api.server import serve

        if self._metrics is None:
            raise TypeError("these settings have no API")
        return serve(controls, address, self._metrics, self._audit)


def _audit_log(
    settings: ControllerSettings, clock: Clock, stack: ExitStack, complain: Callable[[str], None]
) -> "AuditLog | None":
    if settings.audit_log is None:
        return None
    from infrakit_py.api.audit import AuditLog

    log = AuditLog(settings.audit_log, clock, complain)
    stack.callback(log.close)
    return log


def _metrics(settings: ControllerSettings, clock: Clock) -> "Metrics | None":
    if settings.api is None:
        return None
    from infrakit_py.api.server import open_metrics

    return open_metrics(settings.name, clock)
