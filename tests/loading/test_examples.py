"""What is shipped as an example can be used as it stands: cluster files are valid, and so is each LinuxKit YAML."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from infrakit_py.app import App
from infrakit_py.loading.linuxkit_document import read_linuxkit

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCUMENTS: dict[Path, Any] = {path: yaml.safe_load(path.read_text()) for path in sorted(EXAMPLES.rglob("*.yml"))}
CLUSTERS = [path for path, document in DOCUMENTS.items() if document.get("kind") == "Cluster"]
RECIPES = [path for path in DOCUMENTS if path not in CLUSTERS]
BUILT_ELSEWHERE = {"kernel": "a kernel", "initrd": "an initrd", "cmdline": "console=ttyS0"}
UNPINNED = {"kubernetes.yml": ("linuxkit/kernel:4.14.40",)}
"""What upstream itself names by a tag alone."""


def shown(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The examples, in a place where things can be built beside them, for a user who has nothing yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples"))


def build(cluster: Path) -> None:
    """Make the files that a cluster's images are to be built into by hand, before `infra` looks at them."""
    for image in DOCUMENTS[EXAMPLES / cluster.relative_to(cluster.parents[1])].get("images", {}).values():
        for part, content in BUILT_ELSEWHERE.items():
            if part in image:
                file = cluster.parent / image[part]
                file.parent.mkdir(exist_ok=True)
                file.write_text(content)


@pytest.mark.parametrize("path", CLUSTERS, ids=shown)
def test_every_cluster_file_is_valid(path: Path, copies: Path) -> None:
    cluster = copies / path.relative_to(EXAMPLES)
    build(cluster)
    (spec,) = App().load([cluster])
    assert spec.groups


@pytest.mark.parametrize("path", RECIPES, ids=shown)
def test_every_linuxkit_file_is_valid_and_names_its_components_for_good(path: Path, copies: Path) -> None:
    document = read_linuxkit(copies / path.relative_to(EXAMPLES))
    assert document.unpinned == UNPINNED.get(path.name, ())
    assert not document.sources  # what an example needs is in it; keys of users are optional


@pytest.mark.parametrize("path", RECIPES, ids=shown)
def test_every_linuxkit_file_is_an_image_of_the_cluster_beside_it(path: Path) -> None:
    images = DOCUMENTS[path.with_name("cluster.yml")]["images"].values()
    assert path.name in {image.get("linuxkit") for image in images}


@pytest.mark.parametrize(
    ("name", "environment", "machines"),
    [
        ("swarm", {"SWARM_WORKERS": "3", "SWARM_JOIN": "--token SWMTKN-1 192.0.2.1:2377"}, 6),
        ("kubernetes", {"KUBE_WORKERS": "3", "KUBE_JOIN": "--token a.b 192.0.2.1:6443", "KUBE_KEPT": "false"}, 4),
    ],
)
def test_workers_are_told_what_to_join(
    name: str, environment: dict[str, str], machines: int, copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    (spec,) = App().load([copies / name / "cluster.yml"])
    assert sum(group.count for group in spec.groups.values()) == machines
    assert environment[f"{'KUBE' if name == 'kubernetes' else 'SWARM'}_JOIN"] in str(
        spec.groups["workers"].flavor.options
    )
    assert "--token" not in str(spec.groups["managers"].flavor.options)


def test_the_examples_are_found() -> None:
    assert {path.parent.name for path in CLUSTERS} >= {"quickstart", "libvirt", "aws", "gcp", "swarm", "kubernetes"}
    assert {path.name for path in RECIPES} >= {"swarm.yml", "kubernetes.yml", "redis.yml", "web.yml"}
