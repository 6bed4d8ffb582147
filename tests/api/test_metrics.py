"""The numbers that Prometheus is told."""

from prometheus_client.parser import text_string_to_metric_families

from infrakit_py.api.metrics import Metrics
from infrakit_py.clock import VirtualClock
from infrakit_py.engine.meter import Call, Meters
from infrakit_py.errors import StoreError
from infrakit_py.model.declared import Origin, Refusal, SourceKind, SourceStatus
from tests.api.asking import Asking
from tests.api.site import NAME, SHOP, Site


class Numbers:
    """Samples by their names and labels."""

    def __init__(self, text: bytes) -> None:
        self.all = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.all.get((name, frozenset(labels.items())))

    def values(self, name: str, label: str) -> set[str]:
        return {dict(labels)[label] for found, labels in self.all if found == name}


def test_machines_groups_and_rollouts_are_counted(api: Asking, site: Site) -> None:
    site.phases = {"web": "working"}
    answer = api.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"

    found = Numbers(answer.content)

    assert found("infrakit_machines", cluster="shop", group="web", condition="ready") == 2
    assert found("infrakit_machines", cluster="shop", group="web", condition="starting") == 1
    assert found("infrakit_machines", cluster="shop", group="web", condition="dead") == 0
    assert found("infrakit_group_wanted", cluster="shop", group="web") == 3
    assert found("infrakit_group_new_ready", cluster="shop", group="db") == 1
    assert found("infrakit_rollout_step", cluster="shop", group="web") == 2
    assert found("infrakit_rollout_failure_limit", cluster="shop", group="web") == 1
    assert found("infrakit_groups", cluster="shop", phase="working") == 1
    assert found("infrakit_groups", cluster="shop", phase="converged") == 1
    assert found("infrakit_rollouts", cluster="shop", phase="baking") == 2
    assert found("infrakit_revision", cluster="shop") == 1
    assert found("infrakit_cluster_converged", cluster="shop") == 0
    age = found("infrakit_standing_age_seconds", cluster="shop")
    assert age is not None
    assert 1 < age < 60
    assert found("infrakit_leader") == 1
    assert found("infrakit_clusters_owned") == 1
    assert found("infrakit_controllers") == 2
    assert found("process_resident_memory_bytes")
    assert found("infrakit_store_answers") == 1


def test_a_refused_version_of_a_source_shows(api: Asking, site: Site) -> None:
    origin = Origin(SourceKind.GIT, "repo", "def456")
    refusal = Refusal(origin, 1.0, "cluster.yml:3:1: no such image")
    site.store.note_source(SourceStatus("repo", SourceKind.GIT, "abc123", "", refusal, "", 1.0))

    found = Numbers(api.get("/metrics").content)

    assert found("infrakit_source_info", source="repo", kind="git", version="abc123") == 1
    assert found("infrakit_source_refused", source="repo") == 1
    assert found("infrakit_source_unreachable", source="repo") == 0


def test_calls_ticks_events_and_requests_are_counted(api: Asking, site: Site, metrics: Metrics) -> None:
    meter = Meters(metrics)
    meter.called("shop", "lab", Call.PROVISION, 2.0, "")
    meter.called("shop", "lab", Call.PROVISION, 0.3, "Throttled")
    meter.called("shop", "lab", Call.DESCRIBE, 0.1, "Transient")
    meter.ticked("shop", "web", 0.02, 3.0)
    metrics.heard(site.store.occurrences(site.happen("one") - 1)[0][1])
    api.get("/v1/clusters/nobody")

    found = Numbers(api.get("/metrics").content)

    assert found("infrakit_provider_calls_total", cluster="shop", provider="lab", call="provision") == 2
    described = {"cluster": "shop", "provider": "lab", "call": "describe"}
    assert found("infrakit_provider_call_errors_total", **described, error="Transient") == 1
    assert found("infrakit_provider_throttles_total", cluster="shop", provider="lab") == 1
    assert found("infrakit_provider_call_seconds_bucket", provider="lab", call="provision", le="0.5") == 1
    assert found("infrakit_provider_call_seconds_sum", provider="lab", call="provision") == 2.3
    assert found("infrakit_tick_seconds_bucket", le="0.05") == 1
    assert found("infrakit_tick_late_seconds_bucket", le="2.5") == 0
    assert found("infrakit_tick_late_seconds_bucket", le="5.0") == 1
    assert found("infrakit_events_total", kind="created") == 1
    assert found("infrakit_http_requests_total", operation="cluster", status="404") == 1


def test_what_is_counted_is_told_though_the_store_does_not_answer(api: Asking, site: Site, metrics: Metrics) -> None:
    metrics.called("shop", "lab", Call.TAG, 0.1, "")
    site.failure = StoreError("etcd: does not answer")

    found = Numbers(api.get("/metrics").content)

    assert found("infrakit_store_answers") == 0
    assert found("infrakit_provider_calls_total", cluster="shop", provider="lab", call="tag") == 1
    assert not found.values("infrakit_machines", "cluster")


def test_the_numbers_of_a_cluster_go_with_it(site: Site) -> None:
    metrics = Metrics(NAME, site.clock)
    for cluster in ("shop", "gone"):
        metrics.called(cluster, "lab", Call.TAG, 0.1, "Throttled")

    found = Numbers(metrics.text(site))

    for name in ("calls", "throttles"):
        assert found.values(f"infrakit_provider_{name}_total", "cluster") == {"shop"}

    site.declare(SHOP.replace("name: shop", "name: gone"))
    metrics.called("gone", "lab", Call.TAG, 0.1, "")

    found = Numbers(metrics.text(site))
    assert found("infrakit_provider_calls_total", cluster="gone", provider="lab", call="tag") == 1


def test_names_without_end_do_not_become_series_without_end(site: Site) -> None:
    metrics = Metrics(NAME, VirtualClock())
    for number in range(3_000):
        metrics.called(f"c{number}", f"p{number}", Call.TAG, 0.1, f"Error{number}")

    site.failure = StoreError("etcd: does not answer")
    found = Numbers(metrics.text(site))

    assert len(found.values("infrakit_provider_calls_total", "cluster")) == 2_001
    assert found("infrakit_provider_calls_total", cluster="other", provider="other", call="tag") == 1_000
    assert len(found.values("infrakit_provider_call_errors_total", "error")) == 101
