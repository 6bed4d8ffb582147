"""Names of domains and volumes, and MAC addresses."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_providers.libvirt import names
from infrakit_py.errors import ProviderError
from infrakit_py.model.spec import Image, ImageForm

parts = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
DISK = Image("a", "ab" * 32, ImageForm.DISK)
KERNEL = Image("a", "ab" * 32, ImageForm.KERNEL)
AS_RAW, AS_QCOW2 = replace(KERNEL, as_disk="raw"), replace(KERNEL, as_disk="qcow2")
LARGER = replace(AS_QCOW2, disk_size=2**30)


@given(cluster=parts, group=parts, slot=parts)
def test_a_volume_tells_whose_it_is(cluster: str, group: str, slot: str) -> None:
    domain = names.domain_name(cluster, group, slot)
    for part in (names.ROOT, names.SEED, names.CONSOLE, f"{names.CONSOLE}.0"):
        volume = names.parse_volume(names.own_volume(domain, part))
        assert volume == names.MemberVolume(cluster, group, slot, part)
        assert names.belongs_to_domain(names.own_volume(domain, part), domain)


@given(cluster=parts, group=parts, slot=parts)
def test_a_data_disk_never_dies_with_a_domain(cluster: str, group: str, slot: str) -> None:
    name = names.data_volume(cluster, group, slot)
    volume = names.parse_volume(name)
    assert volume is not None
    assert volume.holds_data
    assert not names.belongs_to_domain(name, names.domain_name(cluster, group, slot))


@pytest.mark.parametrize(
    "name",
    ["debian.qcow2", "infrakit.demo.web.0.root.raw", "infrakit.demo.web.root.qcow2", "xinfrakit.a.b.0.root.qcow2",
     "infrakit.a.b.0.1.root.qcow2", "infrakit-image-ab.kernel"],
)  # fmt: skip
def test_other_volumes_are_nobody_s(name: str) -> None:
    assert names.parse_volume(name) is None
    assert names.parse_image_volume(name) is None


@pytest.mark.parametrize("image", [DISK, AS_RAW, AS_QCOW2, LARGER], ids=["itself", "as raw", "as qcow2", "larger"])
@pytest.mark.parametrize("part", ["kernel", "initrd", "raw", "qcow2", "iso", "ok"])
def test_an_image_s_volumes_tell_what_they_are_of(image: Image, part: str) -> None:
    name = names.published_name(image)
    assert names.parse_image_volume(f"{name}.{part}") == names.ImageVolume(name, part)
    assert names.identity_digits(name) == "ab" * 12


def test_a_kernel_and_the_disks_made_of_it_have_volumes_of_their_own() -> None:
    ways = [names.published_name(image) for image in (KERNEL, AS_RAW, AS_QCOW2, LARGER)]
    assert ways == [
        "infrakit-image-" + "ab" * 12,
        "infrakit-image-" + "ab" * 12 + "-disk-raw-0",
        "infrakit-image-" + "ab" * 12 + "-disk-qcow2-0",
        "infrakit-image-" + "ab" * 12 + "-disk-qcow2-1073741824",
    ]
    for way in ways:
        text = f"<source file='/pool/{way}.qcow2'/><instance image=\"{way}\"/>"
        assert names.images_named_in(text) == {way}, "one that begins as another does is not that one"


@pytest.mark.parametrize("name", ["infrakit-image-ab", "infrakit-image-" + "ab" * 12 + ".ok", "debian", ""])
def test_other_names_are_no_published_image_s(name: str) -> None:
    assert names.identity_digits(name) is None


@pytest.mark.parametrize("part", ["", "a.b", "a/b", "../x", "-a", "a b"])
def test_names_that_could_not_be_taken_apart_are_refused(part: str) -> None:
    with pytest.raises(ProviderError):
        names.domain_name("demo", part, "0")


def test_a_slot_keeps_its_mac_address() -> None:
    """DHCP gives the same address again only to the same MAC; the recipe may therefore never change."""
    assert names.mac_address("demo.web.0") == "52:f3:df:65:ba:ac"


@given(domain=st.text())
def test_mac_addresses_are_local_and_unicast(domain: str) -> None:
    first = int(names.mac_address(domain).split(":")[0], 16)
    assert first & 0b11 == 0b10
    assert first != 0xFE, "libvirt keeps that one for the host's end"


def test_slots_have_mac_addresses_of_their_own() -> None:
    assert len({names.mac_address(f"demo.web.{slot}") for slot in range(5000)}) == 5000
