"""What was published in a pool, whose it is not to delete, and what its deletion leaves. On libvirt's test driver."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infrakit_py.errors import ImageMissing, NotOurs, ProviderError
from infrakit_py.model.instance import InstanceState
from infrakit_py.model.spec import Image, ImageForm
from infrakit_py.spi.images import Publication
from infrakit_py.spi.provider import DestroyRequest, Provider
from tests.libvirt.driver import POOL, open_provider
from tests.libvirt.material import fake_image, request_for

pytestmark = pytest.mark.disks


def base(image: Image) -> str:
    return f"infrakit-image-{image.identity[:24]}"


def boot(provider: Provider, image: Image, cluster: str = "demo") -> None:
    (outcome,) = provider.provision([request_for(image, cluster, "0")])
    assert outcome.error is None, outcome.error


def errors(provider: Provider, *publications: Publication) -> list[type]:
    return [type(outcome.error) for outcome in provider.unpublish(publications)]


def test_an_image_is_listed_with_what_it_is(provider: Provider, image: Image) -> None:
    (found,) = provider.publications()
    assert (found.id, found.identity, found.complete, found.in_use) == (
        base(image), image.identity[:24], True, False,
    )  # fmt: skip
    assert found.size == sum(image.files[part].size for part in ("kernel", "initrd"))


def test_other_volumes_and_references_are_not_listed(provider: Provider, hypervisor: Any) -> None:
    pool = hypervisor.storagePoolLookupByName(POOL)
    for name in ("debian.raw", "infrakit.demo.web.0.root.qcow2", "infrakit-image-short.raw"):
        pool.createXML(f"<volume><name>{name}</name><capacity>1048576</capacity></volume>", 0)
    provider.publish(Image("d", "cd" * 32, ImageForm.REFERENCE, reference="debian.raw"), lambda done, total: None)
    assert list(provider.publications()) == []


@pytest.mark.parametrize("lost", ["kernel", "initrd", "ok"])
def test_half_an_image_is_listed_as_not_complete_and_may_go(
    provider: Provider, image: Image, hypervisor: Any, lost: str
) -> None:
    pool = hypervisor.storagePoolLookupByName(POOL)
    pool.storageVolLookupByName(f"{base(image)}.{lost}").delete(0)
    (half,) = provider.publications()
    assert not half.complete
    assert errors(provider, half) == [type(None)]
    assert pool.listVolumes() == []


def test_an_image_that_any_cluster_s_machine_uses_stays(provider: Provider, image: Image, hypervisor: Any) -> None:
    boot(provider, image, "other")
    hypervisor.lookupByName("other.web.0").destroy()
    (used,) = provider.publications()
    assert used.in_use, "a machine that is shut off may be started again"
    (outcome,) = provider.unpublish([used])
    assert "used by other.web.0" in str(outcome.error)
    assert provider.published([image]) == {image.identity}
    (machine,) = provider.describe("other")
    provider.destroy([DestroyRequest(machine.id, "other", "web")])
    assert [one.in_use for one in provider.publications()] == [False]
    assert errors(provider, used, used) == [type(None), type(None)], "gone already is fine"
    assert provider.published([image]) == frozenset()
    assert list(provider.publications()) == []


def test_a_disk_below_an_overlay_without_a_domain_stays(provider: Provider, tmp_path: Path, hypervisor: Any) -> None:
    """Who undefined the domain may want its disk."""
    image = replace(fake_image(tmp_path, "v1"), as_disk="raw")
    provider.publish(image, lambda done, total: None)
    boot(provider, image)
    hypervisor.lookupByName("demo.web.0").destroy()
    hypervisor.lookupByName("demo.web.0").undefine()
    (used,) = provider.publications()
    assert used.in_use
    (outcome,) = provider.unpublish([used])
    assert "used by infrakit.demo.web.0.root.qcow2" in str(outcome.error)
    assert [one.kind for one in provider.leftovers("another")] == []
    left = provider.leftovers("demo")
    assert [one.kind for one in left][-1] == "image", "what lies over it goes first"
    assert [outcome.error for outcome in provider.sweep("demo", left)] == [None] * len(left)
    assert list(provider.publications()) == []


def test_only_what_is_used_of_an_image_stays(provider: Provider, image: Image) -> None:
    disk = replace(image, as_disk="qcow2")
    provider.publish(disk, lambda done, total: None)
    boot(provider, disk)
    assert {one.id: one.in_use for one in provider.publications()} == {
        base(image): False,
        f"{base(image)}-disk-qcow2-0": True,
    }


@pytest.mark.parametrize("name", ["debian.raw", "infrakit.demo.web.0.root.qcow2", "infrakit-image-", ""])
def test_what_is_no_publication_is_never_deleted(provider: Provider, hypervisor: Any, name: str) -> None:
    pool = hypervisor.storagePoolLookupByName(POOL)
    if name:
        pool.createXML(f"<volume><name>{name}</name><capacity>1048576</capacity></volume>", 0)
    assert errors(provider, Publication(name, "ab" * 12, name)) == [NotOurs]
    assert pool.listVolumes() == ([name] if name else [])


def test_one_that_is_in_use_keeps_no_other_from_going(provider: Provider, image: Image, tmp_path: Path) -> None:
    unused = fake_image(tmp_path, "v0")
    provider.publish(unused, lambda done, total: None)
    boot(provider, image)
    by_id = {one.id: one for one in provider.publications()}
    assert errors(provider, by_id[base(image)], by_id[base(unused)]) == [ProviderError, type(None)]
    assert provider.published([image, unused]) == {image.identity}


def between(monkeypatch: pytest.MonkeyPatch, kind: Any, call: str, act: Callable[[], object]) -> None:
    """Let something happen once, just before a call of libvirt's."""
    original = getattr(kind, call)
    waiting = [act]

    def interrupted(*given: Any) -> Any:
        if waiting:
            waiting.pop()()
        return original(*given)

    monkeypatch.setattr(kind, call, interrupted)


def test_an_image_that_goes_while_a_machine_is_defined_is_missed_and_no_machine_starts(
    provider: Provider, image: Image, hypervisor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libvirt = pytest.importorskip("libvirt")
    other = open_provider(tmp_path)
    between(monkeypatch, libvirt.virConnect, "defineXML", lambda: errors(other, *other.publications()))
    (outcome,) = provider.provision([request_for(image, "demo", "0")])
    assert isinstance(outcome.error, ImageMissing)
    assert [one.state for one in provider.describe("demo")] == [InstanceState.INCOMPLETE]
    provider.publish(image, lambda done, total: None)
    boot(provider, image)
    assert [one.state for one in provider.describe("demo")] == [InstanceState.RUNNING]
    other.close()


def test_a_machine_that_is_defined_while_its_image_goes_keeps_it(
    provider: Provider, image: Image, hypervisor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look at the domains comes again once the mark is gone, and the mark comes back."""
    libvirt = pytest.importorskip("libvirt")
    other = open_provider(tmp_path)
    (publication,) = provider.publications()
    between(monkeypatch, libvirt.virStorageVol, "delete", lambda: boot(other, image))
    (outcome,) = provider.unpublish([publication])
    assert "still used by demo.web.0" in str(outcome.error)
    assert provider.published([image]) == {image.identity}
    other.close()


def test_images_are_listed_while_others_come_and_go(provider: Provider, tmp_path: Path) -> None:
    images = [fake_image(tmp_path, f"v{number}") for number in range(6)]
    kept, passing = images[:3], images[3:]
    for image in kept:
        provider.publish(image, lambda done, total: None)

    def come_and_go() -> None:
        for image in passing * 3:
            provider.publish(image, lambda done, total: None)
            (own,) = [one for one in provider.publications() if one.id == base(image)]
            assert errors(provider, own) == [type(None)]

    with ThreadPoolExecutor(1) as beside:
        going = beside.submit(come_and_go)
        while not going.done():
            assert {base(image) for image in kept} <= {one.id for one in provider.publications() if one.complete}
        going.result()
