"""What every test with real machines shares: one private libvirtd and a few images, made once a run.

A machine that cannot run them skips these tests and says why; with INFRAKIT_REQUIRE_REAL=1 that is a failure.
"""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import PrivateLibvirtd, missing_requirements
from tests.images import BuiltImage, ImageError, build_image, missing_disk_tools
from tests.real.operator import Hypervisor, Operator

PYTHON_PACKAGES = {"libvirt": "libvirt-python", "pycdlib": "pycdlib"}


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


def _leave_out(reasons: str) -> None:
    if os.environ.get("INFRAKIT_REQUIRE_REAL") == "1":
        pytest.fail(f"real machines are required (INFRAKIT_REQUIRE_REAL=1) but impossible: {reasons}", pytrace=False)
    pytest.skip(f"no real machines here: {reasons}")
