"""Images as files for elsewhere."""

import subprocess
from pathlib import Path

import pytest

from infrakit_py.errors import InfrakitError, UsageError
from infrakit_py.images import read_image
from infrakit_py.images.cache import Cache
from infrakit_py.images.exports import export
from infrakit_py.model.spec import ImageForm
from tests.images_room.material import CMDLINE, disk_image, kernel_image

pytestmark = pytest.mark.disks


@pytest.mark.parametrize("form", ["qcow2", "vmdk"])
def test_a_disk_is_of_the_format_that_was_asked_for_and_holds_the_same(tmp_path: Path, form: str) -> None:
    cache, image = Cache(tmp_path / "cache"), kernel_image(tmp_path)
    raw = export(cache, image, "raw", tmp_path / "image.raw")
    out = export(cache, image, form, tmp_path / f"image.{form}")
    info = subprocess.run(["qemu-img", "info", str(out)], check=True, capture_output=True, text=True).stdout
    assert f"file format: {form}" in info
    subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", form, str(raw), str(out)], check=True)
    assert not list((tmp_path / "cache").glob(".scratch-*"))


def test_a_vhd_is_the_raw_disk_with_a_footer_and_of_whole_mebibytes(tmp_path: Path) -> None:
    cache, image = Cache(tmp_path / "cache"), kernel_image(tmp_path)
    raw = export(cache, image, "raw", tmp_path / "image.raw").read_bytes()
    vhd = export(cache, image, "vhd", tmp_path / "image.vhd").read_bytes()
    assert vhd[: len(raw)] == raw and len(raw) % 2**20 == 0
    assert vhd[len(raw) :].startswith(b"conectix") and len(vhd) == len(raw) + 512


def test_an_iso_is_hybrid_and_the_same_each_time_and_holds_the_images_files(tmp_path: Path) -> None:
    image = kernel_image(tmp_path)
    one = export(Cache(tmp_path / "one"), image, "iso", tmp_path / "one.iso").read_bytes()
    other = export(Cache(tmp_path / "other"), image, "iso", tmp_path / "other.iso").read_bytes()
    assert one == other
    assert one[510:512] == b"\x55\xaa"  # it boots from a USB stick, too
    for name, part in (("kernel", "kernel"), ("initrd.img", "initrd")):
        subprocess.run(
            [
                "xorriso",
                "-indev",
                str(tmp_path / "one.iso"),
                "-osirrox",
                "on",
                "-extract",
                f"/{name}",
                str(tmp_path / name),
            ],
            check=True,
            capture_output=True,
        )
        assert (tmp_path / name).read_bytes() == Path(image.files[part].path).read_bytes()
    assert f"APPEND {CMDLINE}".encode() in one


def test_an_iso_that_was_given_is_written_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "given.iso").write_bytes(b"an iso")
    out = export(Cache(tmp_path / "cache"), disk_image(tmp_path / "given.iso", "iso"), "iso", tmp_path / "out.iso")
    assert out.read_bytes() == b"an iso"


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    reference = read_image("ami", ImageForm.REFERENCE, {}, reference="ami-1")
    with pytest.raises(UsageError, match="nothing here to export"):
        export(cache, reference, "raw", tmp_path / "out")
    (tmp_path / "given").write_bytes(b"a disk")
    with pytest.raises(UsageError, match="an ISO is made of kernel"):
        export(cache, disk_image(tmp_path / "given", "raw"), "iso", tmp_path / "out")
    with pytest.raises(InfrakitError, match="cannot write"):
        export(cache, kernel_image(tmp_path), "raw", tmp_path / "no" / "such" / "out")
    assert not (tmp_path / "out").exists()
