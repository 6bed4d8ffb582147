"""Spans by the OpenTelemetry SDK, sent to a collector by OTLP over HTTP. Imported where tracing is asked for."""

import logging
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode

from infrakit_py import __version__

_SERVICE: Final = "infra-controller"
_PATH: Final = "/v1/traces"
_SEND_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 3.0


class Spans:
    """Makes spans and sends them in batches, by a thread of its own. Safe for threads."""

    def __init__(self, endpoint: str, controller: str, complain: Callable[[str], None]) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it would tell of each span that is lost
        url = endpoint.rstrip("/")
        url = url if url.endswith(_PATH) else url + _PATH
        resource = Resource.create(
            {"service.name": _SERVICE, "service.version": __version__, "service.instance.id": controller}
        )
        self._sending = _Sending(url, complain)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._sending))
        self._tracer = self._provider.get_tracer("infrakit", __version__)

    def note(
        self,
        name: str,
        attributes: Mapping[str, str | float],
        begin: int,
        end: int,
        *,
        error: str = "",
        outside: bool,
    ) -> None:
        """Make a span of something that has ended. Times in nanoseconds; `outside`: it was a call to others."""
        kind = SpanKind.CLIENT if outside else SpanKind.INTERNAL
        span = self._tracer.start_span(name, kind=kind, attributes=dict(attributes), start_time=begin)
        if error:
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(end)

    def stop(self) -> None:
        """Send what waits. Where the collector does not answer, what waits is lost after some seconds."""
        stopping = Thread(target=self._provider.shutdown, name="stop-traces", daemon=True)
        stopping.start()
        stopping.join(_STOP_SECONDS)
        self._sending.shutdown()
        stopping.join(_STOP_SECONDS)


class _Sending(SpanExporter):
    """Sends batches, and complains when that begins to fail."""

    def __init__(self, url: str, complain: Callable[[str], None]) -> None:
        self._url = url
        self._complain = complain
        self._exporter = OTLPSpanExporter(url, timeout=_SEND_SECONDS)
        self._failed = False
        self._over = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._over:
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failed and not self._over:
            self._complain(f"traces: {self._url} does not take them: they are lost")
        self._failed = failed
        return result

    def shutdown(self) -> None:
        if not self._over:
            self._over = True
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK has no types here
