"""Disks that are made of images: the right bytes, the same bytes, made once, and refused where they cannot be."""

import gzip
import json
import struct
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from infrakit_py.errors import ProviderError
from infrakit_py.images import read_image
from infrakit_py.images.cache import Cache
from infrakit_py.images.disks import GIB, DiskMaker
from infrakit_py.model.spec import ARM64, ImageForm
from infrakit_py.spi.images import DiskFormat
from tests.images_room.material import CMDLINE, disk_image, kernel_image

pytestmark = pytest.mark.disks

MIB = 2**20


def maker(directory: Path) -> DiskMaker:
    return DiskMaker(Cache(directory))


def test_a_raw_disk_holds_the_images_own_files_in_an_active_partition(tmp_path: Path) -> None:
    image = kernel_image(tmp_path)
    disk = Path(maker(tmp_path / "cache").disk(image, DiskFormat.RAW).path)
    content = disk.read_bytes()
    active, kind, first, count = struct.unpack("<B3xB3xII", content[446:462])
    assert (active, kind, first) == (0x80, 0x0C, 2048) and content[510:512] == b"\x55\xaa"
    assert len(content) == MIB + count * 512
    partition = tmp_path / "partition"
    partition.write_bytes(content[MIB:])
    for name, part in (("kernel", "kernel"), ("initrd.img", "initrd")):
        copied = tmp_path / name
        subprocess.run(["mcopy", "-i", str(partition), f"::/{name}", str(copied)], check=True)
        assert sha256(copied.read_bytes()).hexdigest() == image.files[part].sha256
    config = subprocess.run(
        ["mtype", "-i", str(partition), "::/syslinux.cfg"], check=True, capture_output=True, text=True
    ).stdout
    assert f"APPEND {CMDLINE}" in config


@pytest.mark.parametrize("form", [DiskFormat.RAW, DiskFormat.QCOW2])
def test_the_same_image_gives_the_same_bytes_whatever_it_is_called(tmp_path: Path, form: DiskFormat) -> None:
    one = maker(tmp_path / "one").disk(kernel_image(tmp_path / "a", "web"), form)
    other = maker(tmp_path / "other").disk(kernel_image(tmp_path / "b", "shop"), form)
    assert one.path != other.path and one.sha256 == other.sha256


def test_images_that_differ_only_in_the_command_line_give_different_disks(tmp_path: Path) -> None:
    disks = maker(tmp_path / "cache")
    one = disks.disk(kernel_image(tmp_path / "a"), DiskFormat.RAW)
    other = disks.disk(kernel_image(tmp_path / "b", cmdline="console=ttyS1"), DiskFormat.RAW)
    assert one.sha256 != other.sha256


def test_a_disk_is_at_least_as_large_as_asked_for(tmp_path: Path) -> None:
    image = replace(kernel_image(tmp_path), disk_size=64 * MIB)
    disk = maker(tmp_path / "cache").disk(image, DiskFormat.RAW)
    assert disk.size == 64 * MIB
    assert Path(disk.path).stat().st_blocks * 512 < 8 * MIB  # what is empty takes no room


def test_a_qcow2_disk_holds_what_the_raw_one_holds(tmp_path: Path) -> None:
    disks, image = maker(tmp_path / "cache"), kernel_image(tmp_path)
    raw, qcow2 = (disks.disk(image, form).path for form in (DiskFormat.RAW, DiskFormat.QCOW2))
    subprocess.run(["qemu-img", "compare", "-q", raw, qcow2], check=True)


@pytest.mark.slow
def test_an_archive_for_compute_engine_holds_the_raw_disk_in_whole_gibibytes(tmp_path: Path) -> None:
    disks, image = maker(tmp_path / "cache"), kernel_image(tmp_path)
    raw = Path(disks.disk(image, DiskFormat.RAW).path)
    archive = Path(disks.disk(image, DiskFormat.GCP).path)
    with gzip.open(archive) as packed, tarfile.open(fileobj=packed, mode="r:") as tar:
        (entry,) = tar.getmembers()
        assert (entry.name, entry.size, entry.type) == ("disk.raw", GIB, tarfile.REGTYPE)
        assert tar.format == tarfile.DEFAULT_FORMAT or tar.pax_headers == {}
        held = tar.extractfile(entry)
        assert held is not None
        assert held.read(raw.stat().st_size) == raw.read_bytes()
        assert not held.read(MIB).strip(b"\0")
    given = disk_image(archive, "gcp")
    back = maker(tmp_path / "other").disk(given, DiskFormat.RAW)
    assert back.size == GIB
    with Path(back.path).open("rb") as file:
        assert file.read(raw.stat().st_size) == raw.read_bytes()


def test_a_disk_that_was_given_is_converted_and_one_that_fits_is_used_as_it_is(tmp_path: Path) -> None:
    disks = maker(tmp_path / "cache")
    raw = Path(disks.disk(kernel_image(tmp_path), DiskFormat.RAW).path)
    given = disk_image(raw, "raw")
    assert disks.disk(given, DiskFormat.RAW) == given.files["disk"]
    qcow2 = disks.disk(given, DiskFormat.QCOW2)
    back = disks.disk(disk_image(Path(qcow2.path), "qcow2"), DiskFormat.RAW)
    assert back.sha256 == given.files["disk"].sha256


def test_a_disk_is_made_once_however_many_ask_for_it(tmp_path: Path) -> None:
    image = kernel_image(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: maker(tmp_path / "cache").disk(image, DiskFormat.RAW), range(8)))
    assert len({disk.sha256 for disk in made}) == 1
    kept = Path(made[0].path)
    before = kept.stat().st_mtime_ns
    assert maker(tmp_path / "cache").disk(image, DiskFormat.RAW) == made[0]
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["cut", "no note", "note of nonsense"])
def test_a_kept_disk_that_is_damaged_is_made_again(tmp_path: Path, damage: str) -> None:
    image, disks = kernel_image(tmp_path), maker(tmp_path / "cache")
    disk = disks.disk(image, DiskFormat.RAW)
    note = Path(f"{disk.path}.json")
    match damage:
        case "cut":
            Path(disk.path).write_bytes(b"short")
        case "no note":
            note.unlink()
        case _:
            note.write_text(json.dumps([1]))
    again = disks.disk(image, DiskFormat.RAW)
    assert again == disk and sha256(Path(again.path).read_bytes()).hexdigest() == disk.sha256


def test_a_file_that_has_changed_since_it_was_read_is_no_part_of_a_disk(tmp_path: Path) -> None:
    image = kernel_image(tmp_path)
    Path(image.files["initrd"].path).write_bytes(b"something else")
    with pytest.raises(ProviderError, match="has changed since it was read"):
        maker(tmp_path / "cache").disk(image, DiskFormat.RAW)
    assert not list((tmp_path / "cache").glob("disks/*")) and not list((tmp_path / "cache").glob(".scratch-*"))


def test_what_no_disk_can_be_made_of_is_refused_with_what_to_do(tmp_path: Path) -> None:
    disks, image = maker(tmp_path / "cache"), kernel_image(tmp_path)
    with pytest.raises(ProviderError, match="is for arm64") as arm:
        disks.disk(replace(image, architecture=ARM64), DiskFormat.RAW)
    assert arm.value.hint is not None
    with pytest.raises(ProviderError, match="not built yet"):
        disks.disk(replace(image, files={}), DiskFormat.RAW)
    with pytest.raises(ProviderError, match="is there already"):
        disks.disk(read_image("ami", ImageForm.REFERENCE, {}, reference="ami-1"), DiskFormat.RAW)
    (tmp_path / "cd.iso").write_bytes(b"no matter")
    with pytest.raises(ProviderError, match="of format iso"):
        disks.disk(disk_image(tmp_path / "cd.iso", "iso"), DiskFormat.RAW)
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ProviderError, match=r"no archive of disk\.raw"):
        disks.disk(disk_image(tmp_path / "x.tar.gz", "gcp"), DiskFormat.RAW)
    with pytest.raises(ProviderError, match="command line has 3000 characters"):
        disks.disk(kernel_image(tmp_path / "long", cmdline="a" * 3000), DiskFormat.RAW)


def test_a_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrakit_py.images.tools.shutil.which", lambda *_, **__: None)
    with pytest.raises(ProviderError, match=r"mkfs\.vfat is needed") as missing:
        maker(tmp_path / "cache").disk(kernel_image(tmp_path), DiskFormat.RAW)
    assert missing.value.hint == "Debian: apt-get install dosfstools"


def test_a_cache_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProviderError, match="cannot keep images in") as refused:
        maker(tmp_path / "file").disk(kernel_image(tmp_path), DiskFormat.RAW)
    assert refused.value.hint is not None and "INFRAKIT_CACHE_DIR" in refused.value.hint
