"""Writes cluster documents for tests."""

from pathlib import Path

from infrakit_py.images import read_image
from infrakit_py.loading import load
from infrakit_py.model.spec import ClusterSpec, GroupSpec
from tests.loading.stubs import StubCatalog

HEAD = """\
apiVersion: infrakit-py/v1alpha1
kind: Cluster
metadata: {name: shop}
providers:
  local: {plugin: libvirt}
images:
  web-v1: {reference: web}
groups:
"""

EVERY_KEY = """\
apiVersion: infrakit-py/v1alpha1
kind: Cluster
metadata: {name: shop}
providers:
  local: {plugin: libvirt}
images:
  web-v1: {reference: web}
budget: {max_unavailable: 2}
groups:
  web:
    provider: local
    image: web-v1
    size: 10
    machine: {vcpus: 2}
    flavor: {kind: vanilla, user_data: "hello", tags: {tier: web}}
    health:
      tcp: 8080
      http:
        port: 8443
        path: /healthz?full=1
        scheme: https
        verify: false
        host: shop.example
        headers: {X-A: b, Accept: text/plain}
        status: [200-299, 304]
        body: ^ok$
      command: [/usr/local/bin/check, --strict]
      flavor: true
      interval: 2s
      timeout: 500ms
      healthy_after: 2
      unhealthy_after: 4
      grace: 1h30m
    rollout:
      strategy: rolling
      max_surge: 25%
      max_unavailable: 1
      steps: [1, 25%, 50%]
      bake: 5m
      min_ready: 30s
      failure_limit: 2
      on_failure: rollback
      order: newest
      windows:
        - {days: [mon, tue, wed, thu], start: "22:00", duration: 4h, time_zone: Europe/Berlin}
        - {start: "7:30", duration: 1h30m}
        - {days: fri-mon, start: "00:00", duration: 7d, time_zone: UTC}
      paused: true
      drain_timeout: 10s
      progress_deadline: 15m
    healing:
      back_off: 20s
      max_back_off: 10m
      max_unhealthy: 4
      max_failed_launches: 6
      retry: 1h
      max_alike: 4
    scale_down: oldest
    max_age: 30d
    rebalance: true
    depends_on: [blue]
    prevent_destroy: true
  blue:
    provider: local
    image: web-v1
    size: 3
    rollout: {strategy: blue_green, keep_old: 10m}
"""
"""A document that says everything but `logical_ids`, and only the flavor's kind as it is by default."""


def cluster(name: str = "shop") -> str:
    """Return a whole document without groups."""
    return HEAD.replace("name: shop", f"name: {name}").replace("groups:", "groups: {}")


def group(keys: str) -> str:
    """Return a whole document with one group `web`, whose further keys are given as flow entries."""
    return f"{HEAD}  web: {{provider: local, image: web-v1, {keys}}}\n"


def loaded(directory: Path, text: str, environment: dict[str, str] | None = None) -> ClusterSpec:
    """Load one document from a file."""
    file = directory / "cluster.yml"
    file.write_text(text)
    (spec,) = load([file], StubCatalog(), environment or {}, read_image)
    return spec


def loaded_group(directory: Path, keys: str, environment: dict[str, str] | None = None) -> GroupSpec:
    """Load one group."""
    return loaded(directory, group(keys), environment).groups["web"]
