"""The test images boot and say what they are; the private libvirtd comes and goes without a trace."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from tests.hosts import HostError, PrivateLibvirtd
from tests.images import BuiltImage, build_disk, build_image
from tests.real.guests import Disk, Guests, guests_on, wait_until

pytestmark = pytest.mark.real

Images = dict[str, BuiltImage]
AWKWARD_TEXT = 'say "hi" \\ twice\n\ttab, ümlaut, \x01 and a last line\n'


@pytest.fixture
def guests(host: PrivateLibvirtd) -> Iterator[Guests]:
    with guests_on(host) as started:
        yield started


def test_a_guest_serves_its_name_version_and_user_data(guests: Guests, images: Images) -> None:
    guest = guests.start("web-1", images["v1"], user_data=AWKWARD_TEXT)

    assert guest.wait_for("/health") == b"ok\n"
    assert guest.page() == {
        "name": "web-1",
        "version": "v1",
        "image": {"version": "v1"},
        "user_data": AWKWARD_TEXT,
        "data": None,
    }
    assert guest.wait_for("/hostname") == b"web-1"
    assert guest.wait_for("/userdata") == AWKWARD_TEXT.encode()
    assert json.loads(guest.wait_for("/image")) == {"version": "v1"}
    assert guest.wait_for("/data", status=404)


def test_a_guest_takes_its_name_from_linuxkit_user_data_and_never_is_never_healthy(
    guests: Guests, images: Images
) -> None:
    user_data = json.dumps(
        {"motd": {"content": "hello"}, "hostname": {"perm": "0644", "content": "etcd-2"}}, indent=2
    )
    guest = guests.start("some-domain", images["never"], user_data=user_data)

    page = guest.page()

    assert (page["name"], page["version"], page["user_data"]) == ("etcd-2", "never", user_data)
    assert guest.wait_for("/health", status=404)


@pytest.mark.long
def test_a_data_disk_survives_the_replacement_of_its_machine(guests: Guests, images: Images, tmp_path: Path) -> None:
    data, root = tmp_path / "data.raw", tmp_path / "root.raw"
    for file in (data, root):
        with file.open("wb") as empty:
            empty.truncate(2**20)
    disks = (Disk(root, serial="root"), Disk(data, serial="data"))

    first = guests.start("db-1-old", images["v1"], disks=disks)
    marker = first.page()["data"]
    first.destroy()
    second = guests.start("db-1-new", images["v2"], disks=disks)

    assert marker.startswith("infrakit-data db-1-old ")
    assert (second.page()["version"], second.page()["data"]) == ("v2", marker)
    assert second.wait_for("/data").decode() == marker
    assert root.read_bytes() == bytes(2**20)


@pytest.mark.long
def test_health_may_come_late_and_end_early(guests: Guests, images: Images, tmp_path: Path) -> None:
    slow_image = build_image(tmp_path / "slow", settings={"version": "slow"}, health="after:3")
    mortal_image = build_image(tmp_path / "mortal", settings={"version": "mortal"}, health="until:3")

    slow, mortal = guests.start("slow", slow_image), guests.start("mortal", mortal_image)

    assert slow.wait_for("/health", status=404)
    assert slow.wait_for("/health") == b"ok\n"
    assert mortal.wait_for("/health", status=404)
    assert [line.split(" (")[0] for line in mortal.console().splitlines() if "healthy" in line] == [
        "guest: healthy",
        "guest: unhealthy",
    ]


def test_the_power_button_turns_a_guest_off(guests: Guests, images: Images) -> None:
    guest = guests.start("short-lived", images["v1"])
    guest.wait_for("/health")

    guest.press_power_button()

    wait_until(lambda: None if guest.is_running() else True, "the guest to power off", guest.console)
    assert "guest: power button" in guest.console()


@pytest.mark.long
@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_a_disk_made_from_an_image_boots(
    disks_possible: None, guests: Guests, images: Images, tmp_path: Path, format: Literal["raw", "qcow2"]
) -> None:
    disk = build_disk(images["v1"], tmp_path / f"disk.{format}", format=format)

    guest = guests.start(f"from-{format}", user_data="from a disk", disks=[Disk(disk, format=format)])

    page = guest.page()
    assert (page["name"], page["version"], page["user_data"]) == (f"from-{format}", "v1", "from a disk")


def test_the_same_input_gives_the_same_bytes(images: Images, tmp_path: Path) -> None:
    again = build_image(tmp_path / "elsewhere" / "again", settings={"version": "v1"})

    assert _bytes(again) == _bytes(images["v1"])


def test_the_same_image_gives_the_same_disk(disks_possible: None, images: Images, tmp_path: Path) -> None:
    again = build_image(tmp_path / "elsewhere" / "again", settings={"version": "v1"})

    assert build_disk(again, tmp_path / "a", format="raw").read_bytes() == (
        build_disk(images["v1"], tmp_path / "b", format="raw").read_bytes()
    )


def test_other_settings_or_health_give_another_image(images: Images, tmp_path: Path) -> None:
    slow = build_image(tmp_path / "slow", settings={"version": "v1"}, health="after:20")

    initrds = {image.initrd.read_bytes() for image in (*images.values(), slow)}

    assert len(initrds) == 4


def test_an_unknown_health_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="never"):
        build_image(tmp_path / "x", settings={}, health="sometimes")


def test_down_leaves_nothing_behind(real_machines_possible: None, images: Images, tmp_path: Path) -> None:
    with PrivateLibvirtd(tmp_path / "host") as host:
        guests = Guests(host)
        guests.start("left-alone", images["v1"]).page()
        running = host.processes()

    assert {"qemu-system-x86_64", "dnsmasq", "libvirtd"} <= {_program(line) for line in running.values()}
    _assert_no_trace(host, running)


def test_a_killed_run_is_cleaned_up_by_the_next_one_in_its_directory(
    real_machines_possible: None, images: Images, tmp_path: Path
) -> None:
    killed = PrivateLibvirtd(tmp_path / "host")
    killed.up()
    guests = Guests(killed)
    guests.start("orphan", images["v1"])
    before = killed.processes()
    for pid, line in before.items():
        if _program(line) == "libvirtd":
            os.kill(pid, signal.SIGKILL)

    with PrivateLibvirtd(tmp_path / "host", "infra-again") as host:
        _assert_no_trace(killed, before)
        with guests_on(host) as fresh:
            assert fresh.start("orphan", images["v2"]).page()["version"] == "v2"


def test_two_hosts_run_side_by_side(host: PrivateLibvirtd, tmp_path: Path) -> None:
    with PrivateLibvirtd(tmp_path / "other") as other:
        assert other.namespace != host.namespace
        assert "192.168.122.1" in other.run(["ip", "-brief", "address", "show", "virbr0"]).stdout
        assert "192.168.122.1" in host.run(["ip", "-brief", "address", "show", "virbr0"]).stdout


def test_a_host_offers_no_kvm(host: PrivateLibvirtd) -> None:
    capabilities = host.run(["virsh", "-c", host.uri, "capabilities"]).stdout

    assert "<domain type='qemu'/>" in capabilities
    assert "<domain type='kvm'/>" not in capabilities


def test_a_directory_with_other_files_is_left_alone(real_machines_possible: None, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()

    with pytest.raises(HostError, match="other files"):
        PrivateLibvirtd(tmp_path).up()

    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_the_command_line_keeps_a_host_between_its_calls(real_machines_possible: None, tmp_path: Path) -> None:
    directory = str(tmp_path / "host")

    uri = _tests_hosts("up", "--dir", directory)
    host = PrivateLibvirtd(tmp_path / "host")
    try:
        assert _tests_hosts("uri", "--dir", directory) == uri == host.uri
        assert "virbr0" in _tests_hosts("exec", "--dir", directory, "--", "ip", "-brief", "link")
        running = host.processes()
    finally:
        _tests_hosts("down", "--dir", directory)
    _assert_no_trace(host, running)


def _tests_hosts(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.hosts", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def _bytes(image: BuiltImage) -> tuple[bytes, ...]:
    return tuple(file.read_bytes() for file in (image.kernel, image.initrd, image.cmdline))


def _program(command_line: str) -> str:
    return Path(command_line.split(" ")[0]).name


def _assert_no_trace(host: PrivateLibvirtd, formerly_running: dict[int, str]) -> None:
    alive = [line for pid, line in formerly_running.items() if _command_line(pid) == line]
    assert alive == []
    assert not Path("/run/netns", host.namespace).exists()
    mounts = Path("/proc/self/mounts").read_text()
    assert host.namespace not in mounts
    assert str(host.directory) not in mounts


def _command_line(pid: int) -> str:
    """Return what the process runs; nothing if it has ended, even if its parent has not noticed yet."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
