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
