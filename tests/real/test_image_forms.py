"""One kernel image in every form that libvirt boots, on real machines; and what is known of it where it is kept."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from infrakit_py.errors import ProviderError
from infrakit_py.images.cache import Cache
from infrakit_py.images.exports import export
from infrakit_py.model.spec import Image, Json
from infrakit_py.spi.images import DiskFormat
from tests.hosts import PrivateLibvirtd
from tests.images import BuiltImage
from tests.libvirt.killed_midway import killed_at
from tests.libvirt.material import image_of, image_of_disk, request_for
from tests.real.libvirt_site import SMALL, Site

pytestmark = pytest.mark.real


@pytest.fixture
def site(host: PrivateLibvirtd, tmp_path: Path) -> Iterator[Site]:
    opened = Site(host, tmp_path)
    yield opened
    opened.provider.close()
    opened.clean_up()


def publish(site: Site, image: Image) -> list[tuple[int, int]]:
    said: list[tuple[int, int]] = []
    site.provider.publish(image, lambda done, total: said.append((done, total)))
    return said


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_kernel_boots_as_a_disk_of_its_own_and_stays_while_it_is_used(
    site: Site, images: Mapping[str, BuiltImage], disks_possible: None
) -> None:
    image = replace(image_of("v1", images["v1"]), as_disk="qcow2", disk_size=96 * 2**20)
    made = site.disks.disk(image, DiskFormat.QCOW2)
    assert publish(site, image)[-1] == (made.size, made.size)
    (id_,) = site.boot(request_for(image, "demo", "0", machine={**SMALL, "root_disk": "128MiB"}, user_data=b"hello"))
    page = site.page(id_)
    assert (page["name"], page["version"], page["user_data"]) == ("web-0", "v1", "hello")
    (published,) = site.provider.publications()
    assert (published.identity, published.size) == (image.identity[:24], made.size)
    assert (published.complete, published.in_use) == (True, True)
    assert abs(time.time() - published.created_at) < 120
    assert sha256_of(site.host.pool_directory / f"{published.name}.qcow2") == made.sha256, "nobody wrote to it"
    assert "kernel" not in site.virsh("dumpxml", "--xpath", "//os", "demo.web.0")
    (outcome,) = site.provider.unpublish([published])
    assert isinstance(outcome.error, ProviderError)
    site.destroy(id_)
    assert [outcome.error for outcome in site.provider.unpublish([published])] == [None]
    assert site.volumes("infrakit") == []


@pytest.mark.long
@pytest.mark.parametrize("form", ["raw", "iso", "gcp"])
def test_the_other_forms_boot_too(
    site: Site, images: Mapping[str, BuiltImage], disks_possible: None, form: str, tmp_path: Path
) -> None:
    kernel = image_of("v1", images["v1"])
    if form == "raw":
        image = replace(kernel, as_disk="raw")
    elif form == "iso":
        image = image_of_disk("cd", export(Cache(tmp_path / "cache"), kernel, "iso", tmp_path / "v1.iso"), "iso")
    else:
        image = image_of_disk("archive", Path(site.disks.disk(kernel, DiskFormat.GCP).path), "gcp")
    publish(site, image)
    machine: dict[str, Json] = {**SMALL, "root_disk": "8MiB"} if form == "iso" else SMALL
    ids = site.boot(*(request_for(image, "demo", slot, machine=machine, user_data=slot.encode()) for slot in "01"))
    pages = [site.page(id_) for id_ in ids]
    assert [(page["name"], page["version"], page["user_data"]) for page in pages] == [
        ("web-0", "v1", "0"),
        ("web-1", "v1", "1"),
    ]
    assert [(one.in_use, one.complete) for one in site.provider.publications()] == [(True, True)]


@pytest.mark.long
def test_a_made_disk_that_was_published_halfway_is_told_and_repaired(
    site: Site, images: Mapping[str, BuiltImage], disks_possible: None
) -> None:
    disk = image_of("v1", images["v1"])
    whole = image_of_disk("disk", Path(site.disks.disk(disk, DiskFormat.QCOW2).path), "qcow2")
    assert killed_at(5, "after", site.settings, "publish", whole)
    (half,) = site.provider.publications()
    assert (half.complete, half.in_use) == (False, False)
    publish(site, whole)
    (published,) = site.provider.publications()
    assert published.complete
    assert sha256_of(site.host.pool_directory / f"{published.name}.qcow2") == whole.files["disk"].sha256


@pytest.mark.crash
@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.long), "after"])
def test_a_deletion_killed_anywhere_leaves_no_image_that_only_looks_whole(
    site: Site, images: Mapping[str, BuiltImage], when: str
) -> None:
    image = image_of("v1", images["v1"])
    for point in range(1, 10):
        publish(site, image)
        (published,) = site.provider.publications()
        was_killed = killed_at(point, when, site.settings, "unpublish", [published])
        left = site.volumes("infrakit-image-")
        assert (site.provider.published([image]) == {image.identity}) == (len(left) == 3)
        assert [outcome.error for outcome in site.provider.unpublish([published])] == [None]
        assert site.volumes("infrakit-image-") == []
        if not was_killed:
            break
    assert point == 4, "a mark and two files are deleted"
