"""Images that are published as disks and CD-ROMs: which volumes they become, and how machines are attached to them.

libvirt's test driver keeps no content; that such machines boot is shown with real ones.
"""

import gzip
import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from infrakit_providers.libvirt import plugin
from infrakit_py.clock import SystemClock
from infrakit_py.errors import ImageMissing, ProviderError
from infrakit_py.images.identity import read_image
from infrakit_py.model.spec import ARM64, Image, ImageFile, ImageForm, Json, Recipe
from infrakit_py.spi.provider import MachineReview, Provider, ProviderContext
from tests.libvirt.driver import POOL, SETTINGS
from tests.libvirt.material import fake_image, image_of_disk, request_for

pytestmark = pytest.mark.disks

MIB = 2**20
BASE = "infrakit-image-"


def volumes(hypervisor: Any, prefix: str = BASE) -> list[str]:
    pool = hypervisor.storagePoolLookupByName(POOL)
    return sorted(volume.name() for volume in pool.listAllVolumes() if volume.name().startswith(prefix))


def publish(provider: Provider, image: Image) -> list[tuple[int, int]]:
    """Publish an image, and return what was said of its progress."""
    said: list[tuple[int, int]] = []
    provider.publish(image, lambda done, total: said.append((done, total)))
    return said


def booted(provider: Provider, hypervisor: Any, image: Image, **machine: Json) -> ET.Element:
    """Boot a machine, and return its domain's XML."""
    (outcome,) = provider.provision([request_for(image, "demo", "0", machine=machine)])
    assert outcome.error is None, outcome.error
    return ET.fromstring(hypervisor.lookupByName("demo.web.0").XMLDesc())


def disks_of(domain: ET.Element) -> list[dict[str, str]]:
    """Return a domain's disks by what matters of them, in order."""
    found = []
    for disk in domain.findall("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        assert source is not None and target is not None
        boot = disk.find("boot")
        found.append(
            {
                "device": disk.get("device", ""),
                "file": source.get("file", "").rpartition("/")[2],
                "target": f"{target.get('dev')} {target.get('bus')}",
                "boot": "" if boot is None else boot.get("order", ""),
                "readonly": "yes" if disk.find("readonly") is not None else "no",
            }
        )
    return found


def gcp_archive(directory: Path) -> Image:
    """Return the image of a disk as Compute Engine takes it."""
    archive = directory / "disk.tar.gz"
    with gzip.open(archive, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("disk.raw")
        member.size = MIB
        tar.addfile(member, io.BytesIO(bytes(MIB)))
    return image_of_disk("archive", archive, "gcp")


def iso_image(directory: Path) -> Image:
    (directory / "boot.iso").write_bytes(b"CD001" * 1000)
    return image_of_disk("iso", directory / "boot.iso", "iso")


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_a_kernel_as_a_disk_is_published_as_a_disk_and_booted_by_an_overlay_on_it(
    provider: Provider, hypervisor: Any, tmp_path: Path, form: str
) -> None:
    image = replace(fake_image(tmp_path, "v1"), as_disk=form)
    assert provider.published([image]) == frozenset()
    publish(provider, image)
    name = f"{BASE}{image.identity[:24]}-disk-{form}-0"
    assert volumes(hypervisor) == [f"{name}.ok", f"{name}.{form}"]
    assert provider.published([image]) == {image.identity}
    domain = booted(provider, hypervisor, image)
    assert domain.find("os/kernel") is None, "the BIOS boots the disk"
    root, seed = disks_of(domain)
    assert (root["file"], root["boot"], root["readonly"]) == ("infrakit.demo.web.0.root.qcow2", "1", "no")
    assert (seed["file"], seed["boot"]) == ("infrakit.demo.web.0.seed.iso", "")
    overlay = hypervisor.storagePoolLookupByName(POOL).storageVolLookupByName(root["file"]).XMLDesc()
    backing = ET.fromstring(overlay).findtext("backingStore/path", "")
    assert backing.rpartition("/")[2] == f"{name}.{form}"


def test_the_two_ways_of_one_image_do_not_disturb_each_other(
    provider: Provider, hypervisor: Any, image: Image
) -> None:
    disk = replace(image, as_disk="qcow2")
    assert disk.identity == image.identity
    assert provider.published([image]) == {image.identity}
    assert provider.published([image, disk]) == frozenset(), "one of the two is not there"
    (outcome,) = provider.provision([request_for(disk, "demo", "0")])
    assert isinstance(outcome.error, ImageMissing)
    publish(provider, disk)
    assert provider.published([image, disk]) == {image.identity}
    kernel, made = sorted(provider.publications(), key=lambda one: one.id)
    assert [outcome.error for outcome in provider.unpublish([kernel])] == [None]
    assert provider.published([image]) == frozenset()
    assert provider.published([disk]) == {image.identity}
    assert made.identity == kernel.identity == image.identity[:24]


def test_disks_of_two_sizes_are_two_disks(provider: Provider, hypervisor: Any, tmp_path: Path) -> None:
    small = replace(fake_image(tmp_path, "v1"), as_disk="raw")
    large = replace(small, disk_size=64 * MIB)
    for image in (small, large):
        publish(provider, image)
    pool = hypervisor.storagePoolLookupByName(POOL)
    sizes = [pool.storageVolLookupByName(name).info()[1] for name in volumes(hypervisor) if name.endswith(".raw")]
    assert sorted(sizes)[1] == 64 * MIB
    assert sizes[0] != sizes[1]
    (overlay,) = [one for one in disks_of(booted(provider, hypervisor, large)) if one["boot"]]
    assert pool.storageVolLookupByName(overlay["file"]).info()[1] == 64 * MIB


def test_a_root_disk_grows_the_overlay_and_never_shrinks_it(
    provider: Provider, hypervisor: Any, tmp_path: Path
) -> None:
    image = replace(fake_image(tmp_path, "v1"), as_disk="raw", disk_size=64 * MIB)
    publish(provider, image)
    (outcome,) = provider.provision([request_for(image, "demo", "1", machine={"root_disk": "32MiB"})])
    assert "root_disk is smaller" in str(outcome.error)
    booted(provider, hypervisor, image, root_disk="80MiB")
    pool = hypervisor.storagePoolLookupByName(POOL)
    assert pool.storageVolLookupByName("infrakit.demo.web.0.root.qcow2").info()[1] == 80 * MIB


def test_an_iso_is_a_cd_rom_that_all_its_machines_share(provider: Provider, hypervisor: Any, tmp_path: Path) -> None:
    image = iso_image(tmp_path)
    publish(provider, image)
    name = f"{BASE}{image.identity[:24]}"
    assert volumes(hypervisor) == [f"{name}.iso", f"{name}.ok"]
    domain = booted(provider, hypervisor, image, root_disk="8MiB")
    assert domain.find("os/kernel") is None
    (cdrom,) = [disk for disk in disks_of(domain) if disk["device"] == "cdrom"]
    root, seed = [disk for disk in disks_of(domain) if disk["device"] == "disk"]
    assert cdrom == {
        "device": "cdrom", "file": f"{name}.iso", "target": "hda ide", "boot": "1", "readonly": "yes",
    }  # fmt: skip
    assert (root["target"], root["boot"], seed["target"]) == ("vda virtio", "", "vdb virtio")
    scratch = hypervisor.storagePoolLookupByName(POOL).storageVolLookupByName(root["file"])
    assert scratch.info()[1] == 8 * MIB
    assert ET.fromstring(scratch.XMLDesc()).find("backingStore/path") is None


def test_a_machine_goes_and_the_cd_rom_stays(provider: Provider, hypervisor: Any, tmp_path: Path) -> None:
    image = iso_image(tmp_path)
    publish(provider, image)
    booted(provider, hypervisor, image)
    hypervisor.lookupByName("demo.web.0").destroy()
    hypervisor.lookupByName("demo.web.0").undefine()
    provider.sweep("demo", [one for one in provider.leftovers("demo") if one.kind == "volume"])
    assert provider.published([image]) == {image.identity}


def test_an_archive_for_compute_engine_is_unpacked_to_a_disk(
    provider: Provider, hypervisor: Any, tmp_path: Path
) -> None:
    image = gcp_archive(tmp_path)
    publish(provider, image)
    name = f"{BASE}{image.identity[:24]}"
    assert volumes(hypervisor) == [f"{name}.ok", f"{name}.qcow2"]
    (root, _) = disks_of(booted(provider, hypervisor, image))
    assert root["boot"] == "1"


def test_without_anybody_who_makes_disks_that_is_said(hypervisor: Any, tmp_path: Path) -> None:
    opened = plugin.open(SETTINGS, ProviderContext(SystemClock(), tmp_path))
    try:
        with pytest.raises(ProviderError, match="nobody is here to make a qcow2 disk"):
            publish(opened, replace(fake_image(tmp_path, "v1"), as_disk="qcow2"))
    finally:
        opened.close()
    assert volumes(hypervisor) == []


def test_what_is_not_built_yet_is_not_published(provider: Provider, hypervisor: Any) -> None:
    unbuilt = Image("web", "ab" * 32, ImageForm.KERNEL, recipe=Recipe("web.yml", "ab" * 32))
    assert provider.published([unbuilt]) == frozenset()
    with pytest.raises(ProviderError, match="not built yet"):
        publish(provider, unbuilt)
    assert volumes(hypervisor) == []


def test_a_disk_is_made_and_uploaded_once(provider: Provider, tmp_path: Path) -> None:
    image = replace(fake_image(tmp_path, "v1"), as_disk="qcow2")
    publish(provider, image)
    for file in image.files.values():
        Path(file.path).unlink()
    assert publish(provider, image) == [(image.size, image.size)], "it is there already"


def complaints(image: Image, machine: dict[str, Json]) -> list[tuple[tuple[str | int, ...], str]]:
    found = plugin.review(MachineReview(SETTINGS, machine, image, named=False))
    return [(complaint.path, complaint.message) for complaint in found]


def test_a_root_disk_that_is_smaller_than_the_made_disk_is_told_beforehand(tmp_path: Path) -> None:
    image = replace(fake_image(tmp_path, "v1"), as_disk="qcow2", disk_size=64 * MIB)
    ((path, message),) = complaints(image, {"root_disk": "32MiB"})
    assert path == ("root_disk",)
    assert "64MiB" in message
    assert complaints(image, {"root_disk": "64MiB"}) == []
    assert complaints(replace(image, as_disk=""), {"root_disk": "32MiB"}) == [], "a scratch disk has any size"


def test_disks_are_made_for_one_architecture_and_kernels_boot_on_any(tmp_path: Path) -> None:
    image = replace(fake_image(tmp_path, "v1"), architecture=ARM64)
    assert complaints(image, {}) == []
    ((_, message),) = complaints(replace(image, as_disk="raw"), {})
    assert "amd64 only" in message


def test_a_format_that_nobody_boots_is_told_with_those_that_can_be(tmp_path: Path) -> None:
    image = Image("odd", "ab" * 32, ImageForm.DISK, {"disk": ImageFile("x", "ab" * 32, 1)}, disk_format="vmdk")
    ((_, message),) = complaints(image, {})
    assert "raw, qcow2, gcp, iso, not vmdk" in message
    for form in ("raw", "qcow2", "gcp", "iso"):
        assert complaints(replace(image, disk_format=form), {}) == []


def test_a_disk_of_the_same_bytes_in_another_format_is_another_image(tmp_path: Path) -> None:
    """Their volumes bear one name each, so the identities must differ."""
    (tmp_path / "disk").write_bytes(b"x" * 512)
    found = {
        read_image("a", ImageForm.DISK, {"disk": tmp_path / "disk"}, disk_format=f).identity for f in ("raw", "iso")
    }
    assert len(found) == 2
