"""What the tests on libvirt's test driver share: one hypervisor a process, left empty by each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infrakit_py.model.spec import Image
from infrakit_py.spi.provider import Provider
from tests.libvirt.driver import POOL, URI, open_provider
from tests.libvirt.material import fake_image


@pytest.fixture
def hypervisor() -> Iterator[Any]:
    """Return the process's one test hypervisor, as a person with virsh sees it, and leave nothing on it."""
    libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")
    connection = libvirt.open(URI)
    yield connection
    for domain in connection.listAllDomains():
        if domain.name() != "test":
            if domain.isActive():
                domain.destroy()
            domain.undefine()
    for volume in connection.storagePoolLookupByName(POOL).listAllVolumes():
        volume.delete()
    connection.close()


@pytest.fixture
def provider(hypervisor: Any, tmp_path: Path) -> Iterator[Provider]:
    opened = open_provider(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def image(tmp_path: Path, provider: Provider) -> Image:
    made = fake_image(tmp_path, "v1")
    provider.publish(made, lambda done, total: None)
    return made
