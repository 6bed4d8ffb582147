"""What a user may write, and what is said of mistakes."""

import subprocess
import sys
from dataclasses import replace

import pytest
from pydantic import ValidationError

from infrakit_providers.libvirt import plugin
from infrakit_providers.libvirt.settings import Machine, Settings
from infrakit_py.model.spec import Image, ImageFile, ImageForm, Json
from infrakit_py.spi.provider import MachineReview

RAW = Image("disk", "ab" * 32, ImageForm.DISK, {"disk": ImageFile("/d", "ab" * 32, 64 * 2**20)})


def complaints(machine: dict[str, Json], image: Image | None = None, *, named: bool = False) -> list[str]:
    review = MachineReview(settings={}, machine=machine, image=image, named=named)
    return [f"{'.'.join(map(str, one.path))}: {one.message}" for one in plugin.review(review)]


@pytest.mark.parametrize(
    "written",
    [
        {"url": "qemu:///system"}, {"uri": "not a uri"}, {"uri": "/var/run/sock"}, {"virt_type": "xen"},
        {"pool": "a/b"}, {"pool": ""}, {"parallel_calls": 0}, {"parallel_calls": "4"},
        {"open_timeout": "0s"}, {"open_timeout": 30},
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(written: dict[str, Json]) -> None:
    with pytest.raises(ValidationError):
        plugin.settings.model_validate(written)


@pytest.mark.parametrize(
    "uri",
    ["qemu:///system", "qemu+ssh://root@host:2222/system?keyfile=/k&no_tty=1", "qemu+unix:///system?socket=/run/x",
     "test:///default", "test+unix:///default"],
)  # fmt: skip
def test_libvirt_s_uris_are_accepted(uri: str) -> None:
    assert plugin.settings.model_validate({"uri": uri})


@pytest.mark.parametrize(
    "written",
    [
        {"cpus": 2}, {"vcpus": 0}, {"vcpus": "2"}, {"vcpus": 1.5}, {"vcpus": True}, {"memory": 512},
        {"memory": "1KiB"}, {"memory": "lots"}, {"network": "a/b"}, {"network": ""}, {"root_disk": "0B"},
        {"data_disk": 5},
    ],
)  # fmt: skip
def test_wrong_machines_are_refused(written: dict[str, Json]) -> None:
    with pytest.raises(ValidationError):
        plugin.machine.model_validate(written)


def test_defaults() -> None:
    machine = Machine()
    assert (machine.vcpus, machine.memory, machine.network) == (1, 512 * 2**20, "default")
    assert Settings().virt_type == "kvm"


def test_a_data_disk_wants_named_members() -> None:
    assert complaints({"data_disk": "1GiB"}, named=True) == []
    (complaint,) = complaints({"data_disk": "1GiB"})
    assert complaint.startswith("data_disk: ")
    assert "logical_ids" in complaint


def test_a_disk_format_that_cannot_boot_is_told_before_anything_happens() -> None:
    (complaint,) = complaints({}, replace(RAW, disk_format="vmdk"))
    assert "vmdk" in complaint
    assert complaints({}, RAW) == []


def test_a_root_disk_smaller_than_its_image_is_told_before_anything_happens() -> None:
    assert complaints({"root_disk": "64MiB"}, RAW) == []
    (complaint,) = complaints({"root_disk": "63MiB"}, RAW)
    assert complaint.startswith("root_disk: ")


@pytest.mark.parametrize(("reference", "count"), [("debian.qcow2", 0), ("/images/debian.qcow2", 1)])
def test_a_reference_names_a_volume(reference: str, count: int) -> None:
    image = Image("debian", "ab" * 32, ImageForm.REFERENCE, reference=reference)
    assert len(complaints({}, image)) == count


SHOW_WITHOUT_SDK = """
import sys
sys.modules["libvirt"] = sys.modules["pycdlib"] = None
import pathlib
from infrakit_py.clock import SystemClock
from infrakit_py.errors import PluginError
from infrakit_py.spi.provider import ProviderContext
from infrakit_providers.libvirt import plugin
from infrakit_providers.libvirt import provider
try:
    plugin.open({}, ProviderContext(SystemClock(), pathlib.Path()))
except PluginError as exc:
    print(exc.hint)
"""


def test_without_the_bindings_everything_loads_and_opening_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", SHOW_WITHOUT_SDK], capture_output=True, text=True, check=True)
    assert "pip install 'infrakit-py[libvirt]'" in done.stdout
