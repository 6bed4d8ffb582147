"""Between our words and libvirt's XML, without libvirt."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_providers.libvirt import volume_xml, wire
from infrakit_py.errors import ProviderError
from infrakit_py.model.instance import InstanceState

CMDLINE = "console=ttyS0 quiet"
DEFINITION = wire.Definition(
    name="demo.web.0",
    uuid="6f3d7c52-36ab-5a5d-9a0c-2f9f6c1c9d57",
    record=wire.Record(
        {"infrakit.cluster": "demo"}, created=1_750_000_000.125, pool="default", image="infrakit-image-0"
    ),
    virt_type="qemu",
    vcpus=2,
    memory=192 * 2**20,
    network="default",
    mac="52:01:02:03:04:05",
    console_log="/pool/infrakit.demo.web.0.console.log",
    disks=(wire.Disk("/pool/root", "root", boots=True), wire.Disk("/pool/seed", "seed", format="raw", readonly=True)),
    kernel=wire.KernelBoot("/pool/kernel", "/pool/initrd", CMDLINE),
)
HOSTILE = {
    "quotes": "'\"",
    "markup": "</tag><tag key='infrakit.cluster' value='other'/>&amp;<![CDATA[",
    "lines": " a\r\nb\t ",
    "controls": "\x00\x01\x1f\x7f",
    "unicode": "ä€😀\ufffe\uffff\ud800",
    "backslash": "\\n\\x41\\",
    "empty": "",
    "key=\n<": "v",
}
tag_texts = st.text(st.characters(codec=None), max_size=30)


def parsed(xml: str) -> wire.OwnDomain:
    own = wire.parse_domain(xml)
    assert own is not None
    return own


def foreign_xml(metadata: str = "") -> str:
    return f"<domain type='qemu'><name>demo.web.0</name><uuid>u</uuid><metadata>{metadata}</metadata></domain>"


@given(tags=st.dictionaries(tag_texts, tag_texts, max_size=8))
def test_tags_come_back_exactly(tags: dict[str, str]) -> None:
    record = replace(DEFINITION.record, tags=tags)
    assert parsed(wire.domain_xml(replace(DEFINITION, record=record))).record == record


@pytest.mark.parametrize("key", HOSTILE)
def test_no_tag_breaks_out_of_its_place(key: str) -> None:
    record = replace(DEFINITION.record, tags={key: HOSTILE[key], "infrakit.cluster": "demo"})
    assert parsed(wire.domain_xml(replace(DEFINITION, record=record))).record.tags == record.tags


def test_what_is_defined_is_what_is_read() -> None:
    own = parsed(wire.domain_xml(DEFINITION))
    assert (own.name, own.uuid, own.record) == (DEFINITION.name, DEFINITION.uuid, DEFINITION.record)
    assert (own.macs, own.networks, own.console_log) == (("52:01:02:03:04:05",), ("default",), DEFINITION.console_log)
    assert own.virt_type == "qemu"
    assert not own.started


def test_tags_written_later_are_read_like_those_of_the_definition() -> None:
    # virDomainSetMetadata puts the element and all below it into the namespace
    later = ET.fromstring(wire.record_xml(DEFINITION.record))
    for element in later.iter():
        element.tag = f"{{{wire.NAMESPACE}}}{element.tag}"
    started = ET.fromstring(wire.started_xml())
    started.tag = f"{{{wire.STARTED_NAMESPACE}}}{started.tag}"
    domain = ET.fromstring(foreign_xml())
    domain.find("metadata").extend([later, started])  # type: ignore[union-attr]  # it is in the text
    own = parsed(ET.tostring(domain, encoding="unicode"))
    assert own.record == DEFINITION.record
    assert own.started


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "<x:instance xmlns:x='https://elsewhere.example/xmlns/instance/1' created='1'/>",
        "<instance created='1'><tag key='infrakit.cluster' value='demo'/></instance>",
    ],
    ids=["none", "another namespace", "no namespace"],
)
def test_a_domain_without_our_metadata_is_nobody_of_ours(metadata: str) -> None:
    """A filter that takes a missing key for a match counts foreign machines, and destroys them."""
    assert wire.parse_domain(foreign_xml(metadata)) is None


def test_damaged_metadata_is_an_error_that_names_the_domain() -> None:
    with pytest.raises(ProviderError, match=r"demo\.web\.0"):
        wire.parse_domain(foreign_xml(f"<i:instance xmlns:i='{wire.NAMESPACE}' created='yesterday'/>"))


@given(cmdline=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=50))
def test_a_command_line_comes_through(cmdline: str) -> None:
    kernel = wire.KernelBoot("/pool/k", "/pool/i", cmdline)
    try:
        xml = wire.domain_xml(replace(DEFINITION, kernel=kernel))
    except ProviderError:
        assert {"\ufffe", "\uffff"} & set(cmdline)
        return
    assert ET.fromstring(xml).findtext("os/cmdline") == cmdline


@pytest.mark.parametrize("cmdline", ["a\nb", "\x00", "\x1b[0m"], ids=["line end", "null", "escape"])
def test_a_command_line_that_xml_cannot_carry_is_refused(cmdline: str) -> None:
    kernel = wire.KernelBoot("/pool/k", "/pool/i", cmdline)
    with pytest.raises(ProviderError, match="command line"):
        wire.domain_xml(replace(DEFINITION, kernel=kernel))


def test_no_two_disks_share_a_device_or_a_serial() -> None:
    disks = tuple(wire.Disk(f"/pool/{serial}", serial) for serial in ("root", "data", "seed"))
    found = ET.fromstring(wire.domain_xml(replace(DEFINITION, disks=disks))).findall("devices/disk")
    devices = [target.get("dev") for disk in found if (target := disk.find("target")) is not None]
    assert devices == ["vda", "vdb", "vdc"]
    assert [disk.findtext("serial") for disk in found] == ["root", "data", "seed"]


def test_a_cd_rom_takes_no_device_name_from_the_disks_and_boots_read_only() -> None:
    """Guests find /dev/vda where it always was, and no guest writes to what all of them share."""
    disks = (wire.Disk("/pool/root", "root"), wire.Disk("/pool/i.iso", "", format="raw", boots=True, cdrom=True))
    seed = wire.Disk("/pool/seed", "seed", format="raw", readonly=True)
    found = ET.fromstring(wire.domain_xml(replace(DEFINITION, disks=(*disks, seed)))).findall("devices/disk")
    targets = [dict(target.attrib) for disk in found if (target := disk.find("target")) is not None]
    assert targets == [
        {"dev": "vda", "bus": "virtio"}, {"dev": "hda", "bus": "ide"}, {"dev": "vdb", "bus": "virtio"},
    ]  # fmt: skip
    assert [disk.get("device") for disk in found] == ["disk", "cdrom", "disk"]
    assert [disk.find("readonly") is not None for disk in found] == [False, True, True]
    assert [disk.find("boot") is not None for disk in found] == [False, True, False]
    assert found[1].find("serial") is None


def test_only_the_seed_is_read_only() -> None:
    found = ET.fromstring(wire.domain_xml(DEFINITION)).findall("devices/disk")
    assert [disk.find("readonly") is not None for disk in found] == [False, True]


@pytest.mark.parametrize(("virt_type", "passes_through"), [("kvm", True), ("qemu", False)])
def test_only_kvm_passes_the_host_cpu_through(virt_type: str, passes_through: bool) -> None:
    domain = ET.fromstring(wire.domain_xml(replace(DEFINITION, virt_type=virt_type)))
    assert (domain.get("type"), domain.find("cpu") is not None) == (virt_type, passes_through)


def test_memory_is_never_rounded_down() -> None:
    domain = ET.fromstring(wire.domain_xml(replace(DEFINITION, memory=64 * 2**20 + 1)))
    assert domain.findtext("memory") == str(64 * 1024 + 1)


def test_removed_tags_go_and_the_others_stay() -> None:
    record = replace(DEFINITION.record, tags={"a": "1", "b": "2", "c": "3"})
    assert wire.retagged(record, {"b": "4", "d": "5"}, ("a", "absent")).tags == {"b": "4", "c": "3", "d": "5"}


@pytest.mark.parametrize(
    ("state", "reason", "was_started", "expected"),
    [
        (1, 1, True, InstanceState.RUNNING),
        (1, 1, False, InstanceState.RUNNING),
        (3, 1, True, InstanceState.RUNNING),
        (3, 2, True, InstanceState.RUNNING),
        (3, 5, True, InstanceState.STOPPED),
        (3, 10, True, InstanceState.STOPPED),
        (3, 11, True, InstanceState.PENDING),
        (4, 1, True, InstanceState.STOPPED),
        (5, 0, False, InstanceState.INCOMPLETE),
        (5, 6, False, InstanceState.INCOMPLETE),
        (5, 0, True, InstanceState.STOPPED),
        (5, 1, True, InstanceState.STOPPED),
        (6, 0, True, InstanceState.STOPPED),
        (7, 0, True, InstanceState.STOPPED),
        (99, 99, True, InstanceState.STOPPED),
    ],
)
def test_states(state: int, reason: int, was_started: bool, expected: InstanceState) -> None:
    translated, detail = wire.instance_state(state, reason, was_started=was_started)
    assert translated is expected
    assert bool(detail) is (state != 1), "whatever is not plainly running is explained"


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        (3, 5, "paused: disk I/O error, is the pool full?"),
        (3, 6, "paused: watchdog"),
        (3, 10, "paused: guest panicked"),
        (3, 1, ""),
        (3, 2, ""),
        (3, 11, ""),
        (3, 99, ""),
        (1, 5, ""),
        (5, 3, ""),
    ],
    ids=["I/O error", "watchdog", "panic", "by a person", "migrating", "starting", "new", "running", "crashed"],
)
def test_what_libvirt_paused_for_good_is_impaired(state: int, reason: int, expected: str) -> None:
    assert wire.impairment(state, reason) == expected


@pytest.mark.parametrize(
    ("xml", "directory"),
    [
        ("<pool type='dir'><target><path>/pool</path></target></pool>", "/pool"),
        ("<pool type='netfs'><target><path>/pool</path></target></pool>", "/pool"),
        ("<pool type='logical'><target><path>/dev/vg</path></target></pool>", None),
    ],
    ids=["dir", "netfs", "logical"],
)
def test_only_pools_of_files_have_a_directory(xml: str, directory: str | None) -> None:
    assert volume_xml.parse_pool_directory(xml) == directory


def test_a_volume_is_read_as_it_was_wanted() -> None:
    backing = volume_xml.Backing("/pool/<image>&.raw", "raw", 2**20)
    xml = volume_xml.volume_xml("v", capacity=2**21, format="qcow2", backing=backing)
    assert volume_xml.parse_volume(xml) == volume_xml.VolumeShape(2**21, "qcow2", "/pool/<image>&.raw")


FILE_XML = """
<volume type='file'><name>infrakit-image-0.qcow2</name><capacity unit='bytes'>67108864</capacity>
<allocation unit='bytes'>300000</allocation>{}
<target><format type='qcow2'/><timestamps><atime>1.5</atime><mtime>1764341933.250000000</mtime></timestamps></target>
<backingStore><path>/pool/below.raw</path></backingStore></volume>"""


def test_a_volume_s_file_has_the_size_of_the_file_and_the_time_of_its_last_write() -> None:
    found = volume_xml.parse_file(FILE_XML.format("<physical unit='bytes'>393216</physical>"))
    assert found == volume_xml.VolumeFile("infrakit-image-0.qcow2", 393216, 1764341933.25, "/pool/below.raw")


def test_a_driver_that_says_less_of_a_file_is_believed_in_what_it_says() -> None:
    bare = "<volume><name>v</name><capacity>4096</capacity><target/></volume>"
    assert volume_xml.parse_file(bare) == volume_xml.VolumeFile("v", 4096, 0.0, "")
