"""Spans, as a collector receives them."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from infrakit_py.api.traces import Tracing
from infrakit_py.clock import VirtualClock
from infrakit_py.engine.meter import Call, Meters, NoMeter
from tests.cli.shell import eventually


class Collector(ThreadingHTTPServer):
    """Receives OTLP over HTTP."""

    def __init__(self) -> None:
        self.received: list[tuple[str, ExportTraceServiceRequest]] = []
        super().__init__(("127.0.0.1", 0), _Receiving)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for _, request in self.received
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Receiving(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, ExportTraceServiceRequest.FromString(content)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


def attributes(span: Span) -> dict[str, object]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in span.attributes}


def test_calls_and_ticks_reach_the_collector_as_spans() -> None:
    with collecting() as collector:
        tracing = Tracing(collector.url, "c1", VirtualClock(1_750_000_000.0), print)
        meter = Meters(NoMeter(), tracing)
        meter.called("shop", "lab", Call.PROVISION, 1.5, "Throttled")
        meter.ticked("shop", "web", 0.25, 3.0)
        tracing.stop()

        call, tick = collector.spans
        assert {path for path, _ in collector.received} == {"/v1/traces"}
        resource = collector.received[0][1].resource_spans[0].resource
        assert {one.key: one.value.string_value for one in resource.attributes}["service.instance.id"] == "c1"

    assert (call.name, call.kind) == ("lab provision", Span.SPAN_KIND_CLIENT)
    assert attributes(call) == {
        "infrakit.cluster": "shop",
        "infrakit.provider": "lab",
        "infrakit.call": "provision",
        "error.type": "Throttled",
    }
    assert (call.status.code, call.status.message) == (Status.STATUS_CODE_ERROR, "Throttled")
    assert call.end_time_unix_nano == 1_750_000_000 * 10**9
    assert call.end_time_unix_nano - call.start_time_unix_nano == 1_500_000_000
    assert tick.name == "tick"
    assert attributes(tick) == {"infrakit.cluster": "shop", "infrakit.group": "web", "infrakit.late_seconds": 3.0}
    assert tick.end_time_unix_nano - tick.start_time_unix_nano == 250_000_000


def test_the_whole_address_may_be_given() -> None:
    with collecting() as collector:
        tracing = Tracing(f"{collector.url}/v1/traces", "c1", VirtualClock(), print)
        tracing.ticked("shop", "web", 0.25, 0.0)
        tracing.stop()

        assert [path for path, _ in collector.received] == ["/v1/traces"]


def test_a_collector_that_is_not_there_holds_up_nobody_and_is_complained_of_once() -> None:
    with collecting() as collector:
        url = collector.url
    complaints: list[str] = []
    tracing = Tracing(url, "c1", VirtualClock(), complaints.append)
    for _ in range(10_000):
        tracing.called("shop", "lab", Call.TAG, 0.1, "")
    eventually(lambda: bool(complaints), "it is complained of")

    tracing.stop()

    assert complaints == [f"traces: {url}/v1/traces does not take them: they are lost"]
