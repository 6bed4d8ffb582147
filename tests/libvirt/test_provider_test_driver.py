"""The provider on libvirt's own test driver: real API, domains and volumes in memory, nothing boots.

Volumes have no content there and networks no leases; what needs those is tested with real machines.
"""

import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from infrakit_providers.libvirt import plugin
from infrakit_py.clock import SystemClock
from infrakit_py.errors import ImageMissing, NotOurs, ProviderError, Transient
from infrakit_py.model import tags
from infrakit_py.model.instance import InstanceId, InstanceState
from infrakit_py.model.spec import Image, ImageForm, Json
from infrakit_py.spi.provider import DestroyRequest, Provider, ProviderContext, ProvisionRequest, TagRequest
from infrakit_py.testing.conformance import ConformanceTarget, ProviderConformance
from tests.libvirt.driver import FOREIGN_XML, SETTINGS, open_provider
from tests.libvirt.interference import Interference
from tests.libvirt.material import fake_image, request_for

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")


@pytest.fixture
def interference() -> Iterator[Interference]:
    standing = Interference()
    yield standing
    standing.remove()


@pytest.fixture
def target(hypervisor: Any, tmp_path: Path, interference: Interference) -> Iterator[ConformanceTarget]:
    numbers = count(1)

    def stop(instance_id: InstanceId) -> None:
        hypervisor.lookupByUUIDString(instance_id).destroy()

    def make_foreign() -> InstanceId:
        uuid = str(uuid4())
        hypervisor.defineXML(FOREIGN_XML.format(f"foreign-{uuid}", uuid)).create()
        return InstanceId(uuid)

    with ConformanceTarget(
        provider=open_provider(tmp_path),
        open_another=lambda: open_provider(tmp_path),
        machine={"memory": "16MiB"},
        other_machine={"memory": "32MiB"},
        machine_with_disk={"memory": "16MiB", "data_disk": "1MiB"},
        image=fake_image(tmp_path, "target"),
        new_image=lambda: fake_image(tmp_path, f"new {next(numbers)}"),
        clock=SystemClock(),
        unknown_id=InstanceId(str(uuid4())),
        within_seconds=5,
        plugin=plugin,
        stop=stop,
        make_foreign=make_foreign,
        lose_reply=interference.lose_reply,
        cut_short=interference.cut_short,
    ) as ready:
        yield ready


class TestConformance(ProviderConformance):
    """Every sentence of the SPI."""


def test_it_is_transient_that_the_slot_is_still_taken(provider: Provider, image: Image) -> None:
    provider.provision([request_for(image, "demo", "0")])
    (outcome,) = provider.provision([request_for(image, "demo", "0", incarnation=1)])
    assert isinstance(outcome.error, Transient)
    assert "still taken" in str(outcome.error)


def test_a_name_taken_by_somebody_else_is_not_ours(provider: Provider, image: Image, hypervisor: Any) -> None:
    foreign = hypervisor.defineXML(FOREIGN_XML.format("demo.web.0", uuid4()))
    (outcome,) = provider.provision([request_for(image, "demo", "0")])
    assert isinstance(outcome.error, NotOurs)
    assert foreign.name() == "demo.web.0"


def test_machines_that_lack_the_tag_never_match(provider: Provider, image: Image, hypervisor: Any) -> None:
    """A filter that takes a missing key for a match counts foreign machines, and destroys them."""
    hypervisor.defineXML(FOREIGN_XML.format("demo.web.9", uuid4())).create()
    provider.provision([request_for(image, "demo", "0")])
    assert [one.tags[tags.SLOT] for one in provider.describe("demo")] == ["0"]
    assert list(provider.describe("")) == []


def test_tags_are_in_the_call_that_creates(provider: Provider, image: Image, hypervisor: Any) -> None:
    """Tags written after the creation would be lost by a crash between the two, and the machine with them."""
    request = request_for(image, "demo", "0", machine={"network": "default"})
    domain_seen: list[str] = []

    def note(connection: Any, domain: Any, event: int, detail: int, opaque: object) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_DEFINED:
            domain_seen.append(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

    callback = hypervisor.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, note, None)
    try:
        provider.provision([request])
        _until(lambda: bool(domain_seen))
    finally:
        hypervisor.domainEventDeregisterAny(callback)
    assert request.token in domain_seen[0]
    assert 'key="infrakit.cluster" value="demo"' in domain_seen[0]


def test_one_failing_request_blocks_no_other(provider: Provider, image: Image) -> None:
    """One protected machine in a batch once kept all others of the batch from being destroyed."""
    provider.provision([request_for(image, "demo", slot) for slot in "012"])
    ids = {one.tags[tags.SLOT]: one.id for one in provider.describe("demo")}
    wrong = DestroyRequest(ids["1"], "demo", "another-group")
    first, last = (DestroyRequest(ids[slot], "demo", "web") for slot in "02")
    outcomes = provider.destroy([first, wrong, last])
    assert [type(outcome.error) for outcome in outcomes] == [type(None), NotOurs, type(None)]
    assert [one.tags[tags.SLOT] for one in provider.describe("demo")] == ["1"]


def test_machines_share_no_disk_and_no_device(provider: Provider, image: Image, hypervisor: Any) -> None:
    """Two volumes on one device name, and one disk for all machines of a group, have both been seen elsewhere."""
    machine: dict[str, Json] = {"root_disk": "1MiB", "data_disk": "1MiB"}
    provider.provision([request_for(image, "demo", slot, machine=machine, named=True) for slot in ("a", "b")])
    xml = [hypervisor.lookupByName(f"demo.web.{slot}").XMLDesc() for slot in ("a", "b")]
    sources, devices = zip(*(_disks(text) for text in xml), strict=True)
    assert not set(sources[0]) & set(sources[1])
    assert devices == (["vda", "vdb", "vdc"], ["vda", "vdb", "vdc"])


def test_a_defined_domain_that_never_ran_is_incomplete_and_is_finished(
    provider: Provider, image: Image, hypervisor: Any
) -> None:
    request = request_for(image, "demo", "0")
    _leave_as_if_killed_before_the_start(provider, request, hypervisor)
    (half,) = provider.describe("demo")
    assert (half.state, half.tags) == (InstanceState.INCOMPLETE, request.tags)
    assert _booted(provider, request) == half.id
    assert [one.state for one in provider.describe("demo")] == [InstanceState.RUNNING]


def test_a_stopped_machine_is_not_started_again(provider: Provider, image: Image, hypervisor: Any) -> None:
    request = request_for(image, "demo", "0")
    id_ = _booted(provider, request)
    hypervisor.lookupByUUIDString(id_).destroy()
    assert _booted(provider, request) == id_
    assert [one.state for one in provider.describe("demo")] == [InstanceState.STOPPED]


def test_an_old_disk_does_not_come_back_to_life(provider: Provider, image: Image, hypervisor: Any) -> None:
    pool = hypervisor.storagePoolLookupByName("default-pool")
    name = "infrakit.demo.web.0.root.qcow2"
    pool.createXML(f"<volume><name>{name}</name><capacity>12345678</capacity></volume>", 0)
    provider.provision([request_for(image, "demo", "0", machine={"root_disk": "1MiB"})])
    assert pool.storageVolLookupByName(name).info()[1] == 2**20


def test_tags_survive_while_the_machine_is_marked_as_started(provider: Provider, image: Image) -> None:
    request = request_for(image, "demo", "0")
    change = TagRequest(_booted(provider, request), "demo", {"note": "<&>"}, (tags.CONFIG_HASH,))
    for _ in range(2):
        (outcome,) = provider.tag([change])
        assert outcome.error is None
    (instance,) = provider.describe("demo")
    wanted = {key: value for key, value in request.tags.items() if key != tags.CONFIG_HASH} | {"note": "<&>"}
    assert (instance.tags, instance.state) == (wanted, InstanceState.RUNNING)


def test_an_image_is_missing_before_anything_is_made(provider: Provider, tmp_path: Path) -> None:
    (outcome,) = provider.provision([request_for(fake_image(tmp_path, "unpublished"), "demo", "0")])
    assert isinstance(outcome.error, ImageMissing)
    assert list(provider.describe("demo")) == []


def test_half_an_image_is_not_published_and_is_repaired(provider: Provider, image: Image, hypervisor: Any) -> None:
    pool = hypervisor.storagePoolLookupByName("default-pool")
    pool.storageVolLookupByName(f"infrakit-image-{image.identity[:24]}.initrd").delete(0)
    assert provider.published([image]) == frozenset()
    provider.publish(image, lambda done, total: None)
    assert provider.published([image]) == {image.identity}


def test_a_reference_is_published_when_the_volume_is_there(provider: Provider, hypervisor: Any) -> None:
    image = Image("debian", "ab" * 32, ImageForm.REFERENCE, reference="debian.raw")
    assert provider.published([image]) == frozenset()
    with pytest.raises(ProviderError, match=r"debian\.raw"):
        provider.publish(image, lambda done, total: None)
    pool = hypervisor.storagePoolLookupByName("default-pool")
    pool.createXML("<volume><name>debian.raw</name><capacity>1048576</capacity></volume>", 0)
    assert provider.published([image]) == {image.identity}


def test_leftovers_are_disks_strays_and_images_that_no_other_cluster_uses(
    provider: Provider, image: Image, hypervisor: Any
) -> None:
    machine: dict[str, Json] = {"data_disk": "1MiB"}
    for cluster in ("demo", "other"):
        provider.provision([request_for(image, cluster, "a", machine=machine, named=True)])
    hypervisor.lookupByName("demo.web.a").destroy()
    hypervisor.lookupByName("demo.web.a").undefine()
    left = provider.leftovers("demo")
    assert {(one.kind, one.id) for one in left} == {
        ("data disk", "infrakit.demo.web.a.data.qcow2"),
        ("volume", "infrakit.demo.web.a.seed.iso"),
        ("volume", "infrakit.demo.web.a.console.log"),
    }
    assert [outcome.error for outcome in provider.sweep("demo", left)] == [None] * 3
    assert list(provider.leftovers("demo")) == []
    assert [one.kind for one in provider.leftovers("other")] == ["data disk", "image"]


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"pool": "nope"}, r"no storage pool nope \(there: default-pool\)", "pool-define-as"),
        ({"uri": "qemu+unix:///system?socket=/nonexistent"}, "/nonexistent", "is libvirtd running"),
        ({"uri": "nonsense:///x?socket=/nonexistent"}, "nonsense", "libvirtd"),
    ],
    ids=["pool", "daemon", "driver"],
)
def test_what_cannot_be_opened_is_explained(
    settings: dict[str, Json], message: str, hint: str, hypervisor: Any, tmp_path: Path
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        plugin.open({**SETTINGS, **settings}, ProviderContext(SystemClock(), tmp_path))
    assert hint in (caught.value.hint or "")


def test_a_network_that_is_not_there_is_told_before_anything_is_made(provider: Provider, image: Image) -> None:
    (outcome,) = provider.provision([request_for(image, "demo", "0", machine={"network": "nope"})])
    assert "(there: default)" in str(outcome.error)
    assert list(provider.describe("demo")) == []


@pytest.mark.parametrize("lost", ["overwritten", "deleted"])
def test_a_published_image_boots_without_the_files_that_it_was_made_of(
    provider: Provider, tmp_path: Path, hypervisor: Any, lost: str
) -> None:
    """The next build overwrites them, and a roll-back goes to the image of the one before."""
    image = fake_image(tmp_path, "soon overwritten")
    provider.publish(image, lambda done, total: None)
    for file in image.files.values():
        Path(file.path).unlink() if lost == "deleted" else Path(file.path).write_text("of the next build")
    provider.publish(image, lambda done, total: None)
    assert provider.published([image]) == {image.identity}
    _booted(provider, request_for(image, "demo", "0"))
    assert "<cmdline>cmdline of soon overwritten</cmdline>" in hypervisor.lookupByName("demo.web.0").XMLDesc()


def test_a_machine_names_the_host_that_it_runs_on(provider: Provider, image: Image, hypervisor: Any) -> None:
    id_ = _booted(provider, request_for(image, "demo", "0"))
    (described,) = provider.describe("demo")
    assert described.host == hypervisor.getHostname()
    assert provider.lookup([id_]) == {id_: described}


def test_a_hypervisor_is_asked_for_its_name_once_a_connection(
    hypervisor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = count()
    ask = libvirt.virConnect.getHostname

    def counted(line: object) -> object:
        next(asked)
        return ask(line)

    monkeypatch.setattr(libvirt.virConnect, "getHostname", counted)
    opened = open_provider(tmp_path)
    try:
        for _ in range(5):
            opened.describe("demo")
    finally:
        opened.close()
    assert next(asked) == 1


def test_a_hypervisor_without_a_name_leaves_the_host_open(
    hypervisor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless(_: object) -> str:
        raise libvirt.libvirtError("this function is not supported by the connection driver: virConnectGetHostname")

    monkeypatch.setattr(libvirt.virConnect, "getHostname", nameless)
    opened = open_provider(tmp_path)
    try:
        image = fake_image(tmp_path, "v1")
        opened.publish(image, lambda done, total: None)
        opened.provision([request_for(image, "demo", "0")])
        assert [one.host for one in opened.describe("demo")] == [""]
    finally:
        opened.close()


def test_a_healthy_machine_is_not_impaired_and_one_that_a_person_paused_neither(
    provider: Provider, image: Image, hypervisor: Any
) -> None:
    _booted(provider, request_for(image, "demo", "0"))
    assert [one.impaired for one in provider.describe("demo")] == [""]
    hypervisor.lookupByName("demo.web.0").suspend()
    assert [(one.state, one.impaired) for one in provider.describe("demo")] == [(InstanceState.RUNNING, "")]


def test_closing_ends_all_threads(provider: Provider, tmp_path: Path) -> None:
    names = {"libvirt-events", "libvirt-open"}
    assert names & {thread.name for thread in threading.enumerate()}
    provider.close()
    _until(lambda: not names & {thread.name for thread in threading.enumerate()})


def test_a_lifecycle_event_wakes(provider: Provider, image: Image, hypervisor: Any) -> None:
    id_ = _booted(provider, request_for(image, "demo", "0"))
    woken = threading.Event()
    provider.watch(woken.set)
    hypervisor.lookupByUUIDString(id_).destroy()
    assert woken.wait(1)


def _booted(provider: Provider, request: ProvisionRequest) -> InstanceId:
    (outcome,) = provider.provision([request])
    assert outcome.error is None
    assert outcome.instance_id is not None
    return outcome.instance_id


def _leave_as_if_killed_before_the_start(provider: Provider, request: ProvisionRequest, hypervisor: Any) -> None:
    """Make the domain, then take away all that comes after its definition."""
    domain = hypervisor.lookupByUUIDString(_booted(provider, request))
    domain.destroy()
    element, config = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_CONFIG
    domain.setMetadata(element, None, None, "https://infrakit-py.dev/xmlns/started/1", config)
    pool = hypervisor.storagePoolLookupByName("default-pool")
    for volume in pool.listAllVolumes():
        if volume.name().startswith("infrakit.demo.web.0."):
            volume.delete(0)


def _disks(xml: str) -> tuple[list[str], list[str]]:
    from xml.etree import ElementTree as ET

    found = ET.fromstring(xml).findall("devices/disk")
    sources = [source.get("file", "") for disk in found if (source := disk.find("source")) is not None]
    return sources, [target.get("dev", "") for disk in found if (target := disk.find("target")) is not None]


def _until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        deadline.wait(0.01)
    raise AssertionError("it never came to that")
