"""The libvirt provider with machines that really boot, and hypervisors that really fail."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from infrakit_groups.flavors.vanilla import plugin as plugin_of_flavor
from infrakit_providers.libvirt import plugin
from infrakit_providers.libvirt.wire import parse_domain
from infrakit_py.clock import SystemClock
from infrakit_py.errors import NotOurs, ProviderError, Transient
from infrakit_py.model.instance import InstanceId, InstanceState
from infrakit_py.model.spec import Image, ImageFile
from infrakit_py.spi.flavor import MemberIdentity
from infrakit_py.spi.provider import DestroyRequest, TagRequest
from infrakit_py.testing.conformance import ConformanceTarget, ProviderConformance
from tests.hosts import PrivateLibvirtd
from tests.images import BuiltImage, build_disk
from tests.libvirt.interference import Interference
from tests.libvirt.killed_midway import killed_at
from tests.libvirt.material import image_of, image_of_disk, request_for
from tests.real.libvirt_site import SMALL, Site, wait_until

pytestmark = pytest.mark.real

FOREIGN_XML = """\
<domain type='qemu'><name>{}</name><memory unit='MiB'>16</memory><os><type machine='pc'>hvm</type></os></domain>
"""
NEVER = 0


@dataclass(frozen=True, slots=True)
class AheadClock:
    """A clock that is ahead of everybody else's."""

    seconds: float

    def now(self) -> float:
        return time.time() + self.seconds

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@pytest.fixture
def site(host: PrivateLibvirtd, tmp_path: Path) -> Iterator[Site]:
    opened = Site(host, tmp_path)
    yield opened
    opened.provider.close()
    opened.clean_up()


@pytest.fixture
def v1(site: Site, images: Mapping[str, BuiltImage]) -> Image:
    image = image_of("v1", images["v1"])
    site.provider.publish(image, lambda done, total: None)
    return image


def test_machines_boot_with_their_own_names_and_user_data(site: Site, v1: Image) -> None:
    """LinuxKit takes a host name from its own files only; a plain text leaves it to what is attached beside it."""
    files = plugin_of_flavor.options.model_validate({"user_data": {"files": {"app/greeting": "I am 1"}}})
    flavor = plugin_of_flavor.open(files.model_dump(mode="json", exclude_unset=True), cluster="demo", group="web")
    told = [b"I am 0", flavor.user_data(MemberIdentity("demo", "web", 2, "flavored-1", None, 1))]
    requests = [request_for(v1, "demo", slot, machine=SMALL, user_data=told[int(slot)]) for slot in "01"]
    ids = site.boot(*requests)
    assert site.boot(*requests) == ids, "the same tokens give the same machines"
    pages = [site.page(id_) for id_ in ids]
    assert [(page["name"], page["user_data"], page["version"]) for page in pages] == [
        ("web-0", "I am 0", "v1"),
        ("flavored-1", (told[1] or b"").decode(), "v1"),
    ]
    assert json.loads(pages[1]["user_data"])["app"]["entries"]["greeting"]["content"] == "I am 1"
    listed = {one.id: one for one in site.provider.describe("demo")}
    assert [listed[id_].tags for id_ in ids] == [request.tags for request in requests]
    assert [listed[id_].state for id_ in ids] == [InstanceState.RUNNING] * 2
    consoles = [Path(listed[id_].facts["console log"]).read_text() for id_ in ids]
    assert ["web-0" in consoles[0], "flavored-1" in consoles[1]] == [True, True]


def test_destroy_leaves_no_domain_and_no_volume(site: Site, v1: Image) -> None:
    machine = {**SMALL, "root_disk": "8MiB"}
    ids = site.boot(*(request_for(v1, "demo", slot, machine=machine) for slot in "012"))
    assert len(site.volumes()) == 9
    for id_ in ids[:1]:
        site.page(id_)
    with ThreadPoolExecutor(3) as together:
        list(together.map(site.destroy, ids))
    assert (site.domains(), site.volumes()) == ([], [])
    assert list(site.provider.describe("demo")) == []
    assert set(site.provider.lookup(ids).values()) == {None}


@pytest.mark.long
def test_machines_are_made_in_parallel(site: Site, v1: Image) -> None:
    requests = [request_for(v1, "demo", slot, machine=SMALL) for slot in "0123"]
    with ThreadPoolExecutor(4) as together:
        ids = [id_ for (id_,) in together.map(site.boot, requests)]
    assert {one.id for one in site.provider.describe("demo")} == set(ids)
    assert len({site.page(id_)["name"] for id_ in ids}) == 4


def test_a_foreign_domain_is_neither_seen_nor_touched(site: Site, v1: Image, tmp_path: Path) -> None:
    """Machines that lack the tag never match, even under a name that could be ours."""
    definition = tmp_path / "foreign.xml"
    definition.write_text(FOREIGN_XML.format("demo.web.0"))
    site.virsh("define", str(definition))
    site.virsh("start", "demo.web.0")
    foreign = InstanceId(site.virsh("domuuid", "demo.web.0").strip())
    assert list(site.provider.describe("demo")) == []
    outcomes = [
        *site.provider.destroy([DestroyRequest(foreign, "demo", "web")]),
        *site.provider.tag([TagRequest(foreign, "demo", {"infrakit.cluster": "demo", "infrakit.group": "web"})]),
        *site.provider.provision([request_for(v1, "demo", "0", machine=SMALL)]),
    ]
    assert [type(outcome.error) for outcome in outcomes] == [NotOurs] * 3
    assert site.virsh("domstate", "demo.web.0").strip() == "running"
    assert "infrakit" not in site.virsh("dumpxml", "demo.web.0")


@pytest.mark.long
def test_a_data_disk_survives_the_replacement_of_its_machine(site: Site, v1: Image) -> None:
    machine = {**SMALL, "data_disk": "8MiB", "root_disk": "8MiB"}
    requests = [request_for(v1, "demo", "etcd-1", incarnation=n, machine=machine, named=True) for n in (0, 1)]
    pages = []
    for request in requests:
        (id_,) = site.boot(request)
        pages.append(site.page(id_))
        site.destroy(id_)
    assert pages[0]["data"].startswith("infrakit-data etcd-1 ")
    assert pages[0]["data"] == pages[1]["data"]
    (disk,) = [one for one in site.provider.leftovers("demo") if one.holds_data]
    assert site.volumes() == [disk.id] == ["infrakit.demo.web.etcd-1.data.qcow2"]
    assert [outcome.error for outcome in site.provider.sweep("demo", [disk])] == [None]
    assert site.volumes() == []


@pytest.mark.long
@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_disk_images_boot_under_an_overlay_of_each_machine(
    site: Site, images: Mapping[str, BuiltImage], disk_format: Any, tmp_path: Path, disks_possible: None
) -> None:
    """One disk shared by all machines of a group would be written by all of them."""
    image = image_of_disk("disk", build_disk(images["v1"], tmp_path / "disk", format=disk_format), disk_format)
    site.provider.publish(image, lambda done, total: None)
    machines = [SMALL, {**SMALL, "root_disk": "200MiB"}]
    ids = site.boot(*(request_for(image, "demo", str(n), machine=machine) for n, machine in enumerate(machines)))
    assert [site.page(id_)["name"] for id_ in ids] == ["web-0", "web-1"]
    overlays = [site.host.pool_directory / f"infrakit.demo.web.{n}.root.qcow2" for n in (0, 1)]
    backing = site.host.pool_directory / f"infrakit-image-{image.identity[:24]}.{disk_format}"
    infos = [_qemu_img_info(overlay) for overlay in overlays]
    assert [info["full-backing-filename"] for info in infos] == [str(backing)] * 2
    assert infos[1]["virtual-size"] == 200 * 2**20
    assert hashlib.sha256(backing.read_bytes()).hexdigest() == image.files["disk"].sha256
    used = [one for one in site.provider.leftovers("another") if one.kind == "image"]
    assert used == [], "an image below an overlay is in use, though the domain only names the overlay as its disk"


def test_a_machine_that_powers_off_is_stopped_and_wakes_us(site: Site, v1: Image) -> None:
    request = request_for(v1, "demo", "0", machine=SMALL)
    (id_,) = site.boot(request)
    site.page(id_)
    woken = threading.Event()
    site.provider.watch(woken.set)
    site.virsh("shutdown", "demo.web.0")

    def stopped() -> bool:
        one = site.instance(id_)
        return one is not None and (one.state, one.detail) == (
            InstanceState.STOPPED,
            "shut off: shut down by the guest",
        )

    wait_until(stopped, "the machine to power off")
    assert woken.is_set()
    assert site.boot(request) == [id_], "what was started once is not started again"
    assert [one.state for one in site.provider.describe("demo")] == [InstanceState.STOPPED]


def test_a_machine_that_is_destroyed_from_outside_wakes_us_within_a_second(site: Site, v1: Image) -> None:
    site.boot(request_for(v1, "demo", "0", machine=SMALL))
    woken = threading.Event()
    site.provider.watch(woken.set)
    woken.clear()
    began = time.monotonic()
    killer = subprocess.Popen(["virsh", "-q", "-c", site.host.uri, "destroy", "demo.web.0"])
    killer.wait(30)
    assert woken.wait(1), f"no event {time.monotonic() - began:.1f} s after virsh destroy began"


def test_tags_are_changed_on_the_running_and_the_stored_domain(site: Site, v1: Image) -> None:
    request = request_for(v1, "demo", "0", machine=SMALL)
    (id_,) = site.boot(request)
    (outcome,) = site.provider.tag([TagRequest(id_, "demo", {"note": "<&>\n'\""}, ("infrakit.image",))])
    assert outcome.error is None
    wanted = {key: value for key, value in request.tags.items() if key != "infrakit.image"} | {"note": "<&>\n'\""}
    assert [one.tags for one in site.provider.describe("demo")] == [wanted]
    assert "note" in site.virsh("dumpxml", "demo.web.0")
    site.virsh("destroy", "demo.web.0")
    assert [one.tags for one in site.provider.describe("demo")] == [wanted]


def test_a_machine_without_an_address_is_explained(site: Site, v1: Image) -> None:
    site.boot(request_for(v1, "nowhere", "0", machine=SMALL))
    with contextlib.closing(site.open(AheadClock(100))) as later:
        (instance,) = later.describe("nowhere")
    assert (instance.state, instance.addresses) == (InstanceState.RUNNING, ())
    assert "s without an address" in instance.detail
    assert instance.facts["console log"] in instance.detail
    assert "virt_type: kvm" in instance.detail


def test_a_start_that_kvm_cannot_do_names_the_other_setting(site: Site, v1: Image) -> None:
    with contextlib.closing(site.open(virt_type="kvm")) as provider:
        (outcome,) = provider.provision([request_for(v1, "demo", "0", machine=SMALL)])
    assert isinstance(outcome.error, ProviderError)
    assert "virt_type: qemu" in (outcome.error.hint or "")


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.long), "after"])
def test_a_creation_killed_anywhere_is_finished_by_repeating_it(site: Site, v1: Image, when: str) -> None:
    machine = {**SMALL, "root_disk": "8MiB", "data_disk": "8MiB"}
    request = request_for(v1, "demo", "etcd-1", machine=machine, named=True, user_data=b"hello")
    states = []
    for point in range(1, 50):
        if not killed_at(point, when, site.settings, "provision", [request]):
            break
        left = site.provider.describe("demo")
        assert all(one.tags == request.tags for one in left), "nothing is ever there without its tags"
        assert [name for name in site.domains() if not left] == [], "every domain is reported"
        states.append(left[0].state if left else None)
        (id_,) = site.boot(request)
        assert left == [] or left[0].id == id_
        assert [one.state for one in site.provider.describe("demo")] == [InstanceState.RUNNING]
        seed = (site.host.pool_directory / "infrakit.demo.web.etcd-1.seed.iso").read_bytes()
        assert b"hello" in seed
        site.destroy(id_)
        assert (site.domains(), site.volumes()) == ([], ["infrakit.demo.web.etcd-1.data.qcow2"])
        site.provider.sweep("demo", [one for one in site.provider.leftovers("demo") if one.holds_data])
    assert point > 9, "there are that many steps to be killed at"
    assert {InstanceState.INCOMPLETE, InstanceState.RUNNING} <= set(states)


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.long), "after"])
def test_a_destruction_killed_anywhere_leaves_nothing_once_repeated(site: Site, v1: Image, when: str) -> None:
    request = request_for(v1, "demo", "0", machine={**SMALL, "root_disk": "8MiB"})
    for point in range(1, 50):
        (id_,) = site.boot(request)
        destroy = [DestroyRequest(id_, "demo", "web")]
        was_killed = killed_at(point, when, site.settings, "destroy", destroy)
        if not site.provider.describe("demo"):
            assert site.volumes() == [], "what no longer shows has left nothing behind"
        site.destroy(id_)
        assert (site.domains(), site.volumes()) == ([], [])
        if not was_killed:
            break
    assert point > 5, "there are that many steps to be killed at"


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.long), "after"])
def test_a_publication_killed_anywhere_is_repaired_by_repeating_it(site: Site, v1: Image, when: str) -> None:
    for point in range(1, 500, 7):
        site.clean_up()
        if not killed_at(point, when, site.settings, "publish", v1):
            break
        assert site.provider.leftovers("demo") or point == 1, "half an image shows"
        site.provider.publish(v1, lambda done, total: None)
        assert site.provider.published([v1]) == {v1.identity}
        for part in ("kernel", "initrd"):
            volume = site.host.pool_directory / f"infrakit-image-{v1.identity[:24]}.{part}"
            assert hashlib.sha256(volume.read_bytes()).hexdigest() == v1.files[part].sha256
    assert point > 7


def test_half_an_image_is_a_leftover_and_no_image(site: Site, v1: Image) -> None:
    site.clean_up()
    assert killed_at(3, "after", site.settings, "publish", v1)
    assert site.provider.published([v1]) == frozenset()
    (half,) = site.provider.leftovers("demo")
    assert [outcome.error for outcome in site.provider.sweep("demo", [half])] == [None]
    assert site.volumes("infrakit-image-") == []


def test_nothing_goes_past_libvirt_s_api(site: Site, v1: Image, tmp_path: Path) -> None:
    """What works without a look into the pool's directory works with a hypervisor far away."""
    site.clean_up()
    hidden = f'mount -t tmpfs none "{site.host.pool_directory}" && exec "$@"'
    elsewhere = ["unshare", "--mount", "sh", "-ec", hidden, "sh"]
    disk = {**SMALL, "root_disk": "8MiB"}
    requests = [request_for(v1, "demo", "0", machine=disk)]
    assert not killed_at(NEVER, "after", site.settings, "publish", v1, within=elsewhere)
    assert not killed_at(NEVER, "after", site.settings, "provision", requests, within=elsewhere)
    (instance,) = site.provider.describe("demo")
    assert site.page(instance.id)["name"] == "web-0"
    destroy = [DestroyRequest(instance.id, "demo", "web")]
    assert not killed_at(NEVER, "after", site.settings, "destroy", destroy, within=elsewhere)
    assert (site.domains(), site.volumes()) == ([], [])


def test_publishing_twice_uploads_once(site: Site, v1: Image) -> None:
    before = {path: path.stat().st_mtime_ns for path in site.host.pool_directory.iterdir()}
    progress: list[tuple[int, int]] = []
    site.provider.publish(v1, lambda done, total: progress.append((done, total)))
    assert {path: path.stat().st_mtime_ns for path in site.host.pool_directory.iterdir()} == before
    assert progress == [(v1.size, v1.size)]


def test_a_published_image_boots_after_the_next_build_overwrote_its_files(
    site: Site, v1: Image, tmp_path: Path
) -> None:
    """That is what a roll-back does."""
    paths = {part: tmp_path / part for part in v1.files}
    for part, path in paths.items():
        path.write_bytes(Path(v1.files[part].path).read_bytes())
    image = image_of("v1", BuiltImage(tmp_path / "v1", **paths))
    assert image.identity == v1.identity
    for path in paths.values():
        path.write_text("of the next build")
    site.provider.publish(image, lambda done, total: None)
    (id_,) = site.boot(request_for(image, "demo", "0", machine=SMALL))
    assert site.page(id_)["name"] == "web-0"
    assert [one.host for one in site.provider.describe("demo")] == [site.virsh("hostname").strip()]


def test_an_image_file_that_changed_is_not_published(site: Site, v1: Image, tmp_path: Path) -> None:
    kernel = v1.files["kernel"]
    other = tmp_path / "kernel"
    other.write_bytes(bytes(kernel.size))
    files = {**v1.files, "kernel": ImageFile(str(other), kernel.sha256, kernel.size)}
    changed = replace(v1, identity="cd" * 32, files=files)
    with pytest.raises(ProviderError, match="was changed"):
        site.provider.publish(changed, lambda done, total: None)
    assert site.provider.published([changed]) == frozenset()


@pytest.mark.crash
def test_what_ran_without_being_marked_as_started_is_stopped_and_not_begun_again(site: Site, v1: Image) -> None:
    request = request_for(v1, "demo", "0", machine=SMALL)
    mark = 8
    assert killed_at(mark, "before", site.settings, "provision", [request])
    (running,) = site.provider.describe("demo")
    assert running.state is InstanceState.RUNNING
    assert "started" not in site.virsh("dumpxml", "--inactive", "demo.web.0")
    wait_until(lambda: Path(running.facts["console log"]).read_text(), "the machine to say something")
    site.virsh("destroy", "demo.web.0")
    assert [one.state for one in site.provider.describe("demo")] == [InstanceState.STOPPED]
    assert site.boot(request) == [running.id]
    assert [one.state for one in site.provider.describe("demo")] == [InstanceState.STOPPED]


@pytest.mark.slow
class TestConformance(ProviderConformance):
    """Every sentence of the SPI, with machines that are really started."""

    @pytest.fixture
    def target(self, site: Site, v1: Image, tmp_path: Path) -> Iterator[ConformanceTarget]:
        numbers = count(1)
        interference = Interference()

        def new_image() -> Image:
            cmdline = tmp_path / f"cmdline-{next(numbers)}"
            cmdline.write_text(f"console=ttyS0 panic=10 unique={tmp_path.name}-{cmdline.name}")
            prefix, kernel, initrd = tmp_path / "v1", *(Path(v1.files[part].path) for part in ("kernel", "initrd"))
            return image_of("new", BuiltImage(prefix, kernel, initrd, cmdline))

        def make_foreign() -> InstanceId:
            definition, name = tmp_path / "foreign.xml", f"foreign-{next(numbers)}"
            definition.write_text(FOREIGN_XML.format(name))
            site.virsh("define", str(definition))
            return InstanceId(site.virsh("domuuid", name).strip())

        def stop(id_: InstanceId) -> None:
            site.virsh("destroy", id_)

        def all_tags() -> Iterator[Mapping[str, str]]:
            for name in site.domains():
                with contextlib.suppress(subprocess.CalledProcessError):
                    own = parse_domain(site.virsh("dumpxml", "--inactive", name))
                    yield own.record.tags if own else {}

        with ConformanceTarget(
            provider=site.open(),
            open_another=site.open,
            machine={"memory": "64MiB"},
            other_machine={"memory": "96MiB"},
            machine_with_disk={"memory": "64MiB", "data_disk": "1MiB"},
            image=v1,
            new_image=new_image,
            clock=SystemClock(),
            unknown_id=InstanceId("00000000-0000-4000-8000-000000000000"),
            plugin=plugin,
            stop=stop,
            make_foreign=make_foreign,
            all_tags=lambda: list(all_tags()),
            lose_reply=interference.lose_reply,
            cut_short=interference.cut_short,
        ) as ready:
            yield ready
        interference.remove()


def test_a_daemon_that_restarts_is_found_again(
    real_machines_possible: None, images: Mapping[str, BuiltImage], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with PrivateLibvirtd(tmp_path_factory.mktemp("restarted")) as host, _restartable(host) as (kill, start):
        site = Site(host, tmp_path_factory.mktemp("spec"))
        image = image_of("v1", images["v1"])
        site.provider.publish(image, lambda done, total: None)
        (id_,) = site.boot(request_for(image, "demo", "0", machine=SMALL))
        woken = threading.Event()
        site.provider.watch(woken.set)
        kill()
        assert woken.wait(5), "a lost connection is worth a look"
        with pytest.raises(Transient, match="cannot connect"):
            site.provider.describe("demo")
        start()
        assert [one.id for one in site.provider.describe("demo")] == [id_], "the machine lived on"
        woken.clear()
        site.virsh("destroy", "demo.web.0")
        assert woken.wait(1), "the new connection has events too"
        site.provider.close()


@contextlib.contextmanager
def _restartable(host: PrivateLibvirtd) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Return how to kill the host's daemon, and how to start another in its place."""
    pid_file = host.directory / "run" / "libvirtd.pid"
    pid = int(pid_file.read_text())
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)

    def kill() -> None:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not _answers(host), "the daemon's end")

    def start() -> None:
        (host.directory / "run" / "libvirt-sock").unlink(missing_ok=True)
        inside = ["nsenter", f"--mount=/proc/self/fd/{namespace}", f"--net=/run/netns/{host.namespace}"]
        daemon = ["libvirtd", "-d", "-p", str(pid_file)]
        subprocess.run([*inside, *daemon], check=True, pass_fds=[namespace], timeout=30)
        wait_until(lambda: _answers(host), "the new daemon")

    try:
        yield kill, start
    finally:
        os.close(namespace)


def _answers(host: PrivateLibvirtd) -> bool:
    argv: Sequence[str] = ["virsh", "-q", "-c", host.uri, "version"]
    return subprocess.run(argv, capture_output=True, timeout=30).returncode == 0


def _qemu_img_info(path: Path) -> dict[str, Any]:
    argv = ["qemu-img", "info", "--force-share", "--output=json", str(path)]
    info: dict[str, Any] = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return info
