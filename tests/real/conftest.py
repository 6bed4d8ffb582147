"""What every test with real machines shares: one private libvirtd and a few images, made once a run.

A machine that cannot run them skips these tests and says why; with INFRAKIT_REQUIRE_REAL=1 that is a failure.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests import linuxkit
from tests.hosts import PrivateLibvirtd, missing_requirements
from tests.images import BuiltImage, ImageError, build_image, missing_disk_tools
from tests.images.debian import find_busybox, find_kernel
from tests.linuxkit.catalogue import COMPONENTS
from tests.real.operator import Hypervisor, Operator

EXAMPLES = Path(__file__).parents[2] / "examples"
PYTHON_PACKAGES = {"libvirt": "libvirt-python", "pycdlib": "pycdlib"}

Example = Callable[[str, Mapping[str, str]], Operator]
"""Copies an example by its name, for an operator with a few variables more in the environment."""


@pytest.fixture(scope="session")
def real_machines_possible() -> None:
    missing = missing_requirements()
    missing += [
        f"the Python package {package} is not installed"
        for module, package in PYTHON_PACKAGES.items()
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        _leave_out("; ".join(missing))


@pytest.fixture(scope="session")
def disks_possible() -> None:
    if missing := missing_disk_tools():
        _leave_out("; ".join(missing))


@pytest.fixture(scope="session")
def host(real_machines_possible: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateLibvirtd]:
    with PrivateLibvirtd(tmp_path_factory.mktemp("host")) as running:
        yield running


@pytest.fixture(scope="session")
def images(real_machines_possible: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, BuiltImage]:
    """`v1` and `v2` are healthy and differ in their version; `never` serves its page and is never healthy."""
    directory: Path = tmp_path_factory.mktemp("images")
    try:
        return {
            "v1": build_image(directory / "v1", settings={"version": "v1"}),
            "v2": build_image(directory / "v2", settings={"version": "v2"}),
            "never": build_image(directory / "never", settings={"version": "never"}, health="never"),
        }
    except ImageError as exc:
        _leave_out(str(exc))
        raise


@pytest.fixture
def hypervisor(host: PrivateLibvirtd) -> Iterator[Hypervisor]:
    opened = Hypervisor(host)
    yield opened
    opened.close()


@pytest.fixture
def operator(
    host: PrivateLibvirtd, hypervisor: Hypervisor, images: dict[str, BuiltImage], tmp_path: Path
) -> Iterator[Operator]:
    someone = Operator(host, tmp_path, images)
    someone.write()
    yield someone
    someone.infra("destroy", "--auto-approve")
    assert hypervisor.domains() == []
    assert hypervisor.volumes() == []


@pytest.fixture(scope="session")
def linuxkit_possible(real_machines_possible: None) -> None:
    """Fetch what images of the stand-in for `linuxkit` are made from, and see that READMEs can be followed."""
    for tool in ("curl", "awk"):
        if shutil.which(tool) is None:
            _leave_out(f"the program {tool} is not installed")
    try:
        find_kernel()
        find_busybox()
        for component in COMPONENTS.values():
            component.programs()
    except ImageError as exc:
        _leave_out(str(exc))


@pytest.fixture
def example(
    linuxkit_possible: None,
    host: PrivateLibvirtd,
    hypervisor: Hypervisor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Example]:
    """Copies one of the examples, for an operator who has the stand-in for `linuxkit` on the PATH."""
    operators: list[Operator] = []
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def copied(name: str, more_environment: Mapping[str, str]) -> Operator:
        directory = tmp_path / name
        shutil.copytree(EXAMPLES / name, directory)
        found = {**linuxkit.environment(tmp_path), "LIBVIRT_URI": host.uri, "VIRT_TYPE": "qemu"}
        found["PATH"] = f"{Path(sys.executable).parent}:{found['PATH']}"
        operators.append(Operator(host, directory, {}, {**found, **more_environment}))
        return operators[-1]

    yield copied
    for someone in operators:
        someone.infra("destroy", "--auto-approve")
    assert hypervisor.domains() == []
    assert hypervisor.volumes() == []


def _leave_out(reasons: str) -> None:
    if os.environ.get("INFRAKIT_REQUIRE_REAL") == "1":
        pytest.fail(f"real machines are required (INFRAKIT_REQUIRE_REAL=1) but impossible: {reasons}", pytrace=False)
    pytest.skip(f"no real machines here: {reasons}")
