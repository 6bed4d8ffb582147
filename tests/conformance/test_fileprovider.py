"""The example that docs/providers.md shows is found as an installed plugin, and keeps the contract."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from infrakit_py.clock import SystemClock
from infrakit_py.model.instance import InstanceId
from infrakit_py.model.spec import Image, ImageForm
from infrakit_py.plugins import InstalledPlugins
from infrakit_py.spi.provider import ProviderContext, ProviderPlugin
from infrakit_py.testing.conformance import ConformanceTarget, ProviderConformance

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples/fileprovider.py"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProviderPlugin:
    """Install the example, as pip would, and find it."""
    site = tmp_path / "site"
    metadata = site / "fileprovider-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fileprovider\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[infrakit.providers]\nfile = fileprovider:plugin\n")
    shutil.copy(EXAMPLE, site)
    monkeypatch.syspath_prepend(site)
    return InstalledPlugins().provider("file")


class TestFileProvider(ProviderConformance):
    @pytest.fixture
    def target(self, plugin: ProviderPlugin, tmp_path: Path) -> Iterator[ConformanceTarget]:
        context = ProviderContext(SystemClock(), tmp_path)

        def make_foreign() -> InstanceId:
            theirs = {"tags": {"Name": "db"}, "since": 0.0}
            (tmp_path / "machines" / "theirs").write_text(json.dumps(theirs))
            return InstanceId("theirs")

        with ConformanceTarget(
            provider=plugin.open({}, context),
            open_another=lambda: plugin.open({}, context),
            plugin=plugin,
            machine={"size": "small"},
            other_machine={"size": "large"},
            image=Image("linux", "ab" * 32, ImageForm.REFERENCE, reference="linux"),
            clock=context.clock,
            unknown_id=InstanceId("no-such-machine"),
            within_seconds=5,
            make_foreign=make_foreign,
        ) as target:
            yield target


def test_the_page_shows_the_example_as_it_is() -> None:
    page = (DOCS / "providers.md").read_text()
    assert f"```python\n{EXAMPLE.read_text()}```" in page


def test_the_page_says_how_to_register(plugin: ProviderPlugin, tmp_path: Path) -> None:
    (registration,) = re.findall(r"```toml\n(.*?)```", (DOCS / "providers.md").read_text(), re.DOTALL)
    registered = tomllib.loads(registration)["project"]["entry-points"]["infrakit.providers"]
    (installed,) = entry_points(group="infrakit.providers", name="file")
    assert registered == {installed.name: installed.value}


def test_the_tests_that_the_page_shows_pass(plugin: ProviderPlugin, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "providers.md").read_text(), re.DOTALL)
    (shown,) = [block for block in blocks if "class TestFile" in block]
    (tmp_path / "test_file.py").write_text(shown)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        "test_file.py",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
