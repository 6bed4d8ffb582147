"""The flavor that docs/flavors.md shows is found as an installed plugin, and gives machines their user data."""

import re
from pathlib import Path
from typing import cast

import pytest

from infrakit_py.engine.probe import probe
from infrakit_py.errors import SpecError
from infrakit_py.images.identity import read_image
from infrakit_py.loading import load
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.model.spec import HealthCheck
from infrakit_py.plugins import InstalledPlugins
from infrakit_py.spi.flavor import MemberIdentity
from infrakit_py.spi.provider import Provider

NOBODY = cast(Provider, object())
PAGE = Path(__file__).parents[2] / "docs" / "flavors.md"
CLUSTER = """\
apiVersion: infrakit-py/v1alpha1
kind: Cluster
metadata: {name: shop}
providers: {sim: {plugin: simulated}}
images: {a: {reference: a}}
groups:
  web: {provider: sim, image: a, size: 1, flavor: {kind: greeting, GREETING}}
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstalledPlugins:
    """Install what the page shows, as pip would."""
    blocks = dict(re.findall(r"```(python|toml)\n(.*?)```", PAGE.read_text(), re.DOTALL))
    metadata = tmp_path / "greeting-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    registration = blocks["toml"].replace('[project.entry-points."infrakit.flavors"]', "[infrakit.flavors]")
    (metadata / "entry_points.txt").write_text(registration.replace('"', ""))
    (tmp_path / "greeting.py").write_text(blocks["python"])
    monkeypatch.syspath_prepend(tmp_path)
    return InstalledPlugins()


def test_a_group_may_use_it(plugins: InstalledPlugins, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yml"
    file.write_text(CLUSTER.replace("GREETING", "greeting: ahoy"))
    (spec,) = load([file], plugins, {}, read_image)
    flavor = plugins.flavor("greeting").open(spec.groups["web"].flavor.options, cluster="shop", group="web")
    assert flavor.user_data(MemberIdentity("shop", "web", 1, "web-0", None, 0)) == b"ahoy, web-0\n"


def test_it_has_an_opinion_on_machines(plugins: InstalledPlugins) -> None:
    flavor = plugins.flavor("greeting").open({}, cluster="shop", group="web")
    check = HealthCheck(flavor=True)
    without, reachable = (
        Instance(InstanceId("i-1"), {}, InstanceState.RUNNING, 0.0, addresses) for addresses in ((), ("10.0.0.3",))
    )
    assert probe(NOBODY, without, check, flavor) == "flavor: nobody can greet it back"
    assert probe(NOBODY, reachable, check, flavor) is None


def test_its_options_are_checked_like_ours(plugins: InstalledPlugins, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yml"
    file.write_text(CLUSTER.replace("GREETING", "greting: ahoy"))
    with pytest.raises(SpecError, match=r"cluster\.yml:7:.*did you mean 'greeting'"):
        load([file], plugins, {}, read_image)
