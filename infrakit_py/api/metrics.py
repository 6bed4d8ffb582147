"""Numbers for Prometheus: what was counted while the controller works, and where everything stands when it is asked.

No label grows without an end: names of clusters go with their clusters, and of all other names only the first few are
told apart.
"""

import platform
from collections.abc import Collection
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from infrakit_py import __version__
from infrakit_py.api.controls import Controls
from infrakit_py.api.gauges import Gauges
from infrakit_py.clock import Clock
from infrakit_py.engine.meter import Call
from infrakit_py.model.declared import Occurrence

OTHER: Final = "other"
_NAMES: Final = 100
_CLUSTERS: Final = 2_000
_CALL_SECONDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
_TICK_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)
_LATE_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_THROTTLED: Final = "Throttled"


class Metrics:
    """Counts, as a Meter and as one who hears what happens. Safe for threads."""

    def __init__(self, controller: str, clock: Clock) -> None:
        """`controller`: whose numbers these are."""
        self._controller = controller
        self._clock = clock
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Gauge("infrakit_build_info", "The program that runs", ["version", "python"], registry=registry)
        build.labels(__version__, platform.python_version()).set(1)
        self._calls = Counter(
            "infrakit_provider_calls", "Calls to providers", ["cluster", "provider", "call"], registry=registry
        )
        self._errors = Counter(
            "infrakit_provider_call_errors",
            "Calls to providers that failed, in whole or in part, by their error's class",
            ["cluster", "provider", "call", "error"],
            registry=registry,
        )
        self._throttles = Counter(
            "infrakit_provider_throttles",
            "Calls that a provider refused because there were too many",
            ["cluster", "provider"],
            registry=registry,
        )
        self._call_seconds = Histogram(
            "infrakit_provider_call_seconds",
            "How long calls to providers took",
            ["provider", "call"],
            buckets=_CALL_SECONDS,
            registry=registry,
        )
        self._tick_seconds = Histogram(
            "infrakit_tick_seconds", "How long looks at a group took", buckets=_TICK_SECONDS, registry=registry
        )
        self._late_seconds = Histogram(
            "infrakit_tick_late_seconds",
            "How much later than due looks at a group began",
            buckets=_LATE_SECONDS,
            registry=registry,
        )
        self._occurrences = Counter("infrakit_events", "What happened, by its kind", ["kind"], registry=registry)
        self._requests = Counter(
            "infrakit_http_requests", "Answered requests", ["operation", "status"], registry=registry
        )
        self._of_clusters = {
            self._calls: ("cluster", "provider", "call"),
            self._errors: ("cluster", "provider", "call", "error"),
            self._throttles: ("cluster", "provider"),
        }
        self._clusters = _Names(_CLUSTERS)
        self._providers = _Names(_NAMES)
        self._error_names = _Names(_NAMES)
        self._kinds = _Names(_NAMES)
        self._forgetting = Lock()

    def called(self, cluster: str, provider: str, call: Call, seconds: float, error: str) -> None:
        cluster, provider = self._clusters.of(cluster), self._providers.of(provider)
        self._calls.labels(cluster, provider, call.value).inc()
        self._call_seconds.labels(provider, call.value).observe(max(0.0, seconds))
        if error:
            self._errors.labels(cluster, provider, call.value, self._error_names.of(error)).inc()
        if error == _THROTTLED:
            self._throttles.labels(cluster, provider).inc()

    def ticked(self, cluster: str, group: str, seconds: float, late_seconds: float) -> None:
        del cluster, group
        self._tick_seconds.observe(max(0.0, seconds))
        self._late_seconds.observe(max(0.0, late_seconds))

    def heard(self, occurrence: Occurrence) -> None:
        """Count something that happened."""
        self._occurrences.labels(self._kinds.of(occurrence.kind)).inc()

    def answered(self, operation: str, status: int) -> None:
        """Count a request."""
        self._requests.labels(operation, str(status)).inc()

    def text(self, controls: Controls) -> bytes:
        """Write all numbers as Prometheus reads them. Where the store does not answer, what needs it is left out."""
        gauges = Gauges(controls, self._controller, self._clock.now())
        if gauges.clusters is not None:
            self._forget_all_but(gauges.clusters)
        standing = CollectorRegistry()
        standing.register(gauges)
        return generate_latest(self._registry) + generate_latest(standing)

    def _forget_all_but(self, clusters: Collection[str]) -> None:
        with self._forgetting:
            gone = self._clusters.keep(clusters)
            for counter, names in self._of_clusters.items():
                for metric in counter.collect() if gone else ():
                    for series in {tuple(sample.labels[name] for name in names) for sample in metric.samples}:
                        if series[0] in gone:
                            counter.remove(*series)


class _Names:
    """The first so many names; all others are one. Safe for threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()
        self._lock = Lock()

    def of(self, name: str) -> str:
        if name in self._known:
            return name
        with self._lock:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(name)
            return name

    def keep(self, names: Collection[str]) -> set[str]:
        """Keep only these; return the others."""
        with self._lock:
            gone = self._known.difference(names)
            self._known -= gone
            return gone
