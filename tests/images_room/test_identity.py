"""An image is its bytes: what makes two images the same, and which files make none."""

import hashlib
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from infrakit_py.images import ImageError, read_image
from infrakit_py.model.fingerprint import spec_digest
from infrakit_py.model.spec import ClusterSpec, Image, ImageForm


def kernel_image(directory: Path, name: str = "web", **contents: str) -> Image:
    """Write the three files and read them."""
    directory.mkdir(exist_ok=True)
    written = {"kernel": "k", "initrd": "i", "cmdline": "console=ttyS0\n", **contents}
    paths = {part: directory / f"{name}-{part}" for part in written}
    for part, path in paths.items():
        path.write_text(written[part])
    return read_image(name, ImageForm.KERNEL, paths)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_identity_of_a_kernel_image_is_the_hash_of_its_digests(tmp_path: Path) -> None:
    image = kernel_image(tmp_path)
    lines = f"kernel {sha256('k')}\ninitrd {sha256('i')}\ncmdline {sha256('console=ttyS0' + chr(10))}\n"
    assert image.identity == sha256(lines)
    assert image.files["kernel"].sha256 == sha256("k")
    assert image.size == 16


def test_a_disk_s_identity_holds_its_format(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_text("d")
    raw = read_image("a", ImageForm.DISK, {"disk": disk})
    qcow2 = read_image("a", ImageForm.DISK, {"disk": disk}, disk_format="qcow2")
    assert raw.identity == sha256(f"disk raw {sha256('d')}\n")
    assert qcow2.identity == sha256(f"disk qcow2 {sha256('d')}\n")


def test_a_reference_is_its_own_identity() -> None:
    assert read_image("a", ImageForm.REFERENCE, {}, reference="ami-1").identity == sha256("reference ami-1\n")


def test_the_same_bytes_under_another_name_are_the_same_image(tmp_path: Path) -> None:
    assert kernel_image(tmp_path / "a").identity == kernel_image(tmp_path / "b", "other").identity


@pytest.mark.parametrize("part", ["kernel", "initrd", "cmdline"])
def test_another_byte_anywhere_is_another_image(tmp_path: Path, part: str) -> None:
    assert kernel_image(tmp_path / "a").identity != kernel_image(tmp_path / "b", **{part: "other"}).identity


def test_swapped_files_are_another_image(tmp_path: Path) -> None:
    swapped = kernel_image(tmp_path / "b", kernel="i", initrd="k")
    assert kernel_image(tmp_path / "a").identity != swapped.identity


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert kernel_image(Path()).files["kernel"].path == str(tmp_path / "web-kernel")


def test_all_files_that_cannot_be_used_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as raised:
        read_image("web", ImageForm.KERNEL, {part: tmp_path / part for part in ("kernel", "initrd", "cmdline")})
    assert [complaint.path for complaint in raised.value.complaints] == [("kernel",), ("initrd",), ("cmdline",)]


def test_an_empty_file_is_the_trace_of_a_failed_build(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="web-initrd is empty: a `linuxkit build` that fails leaves such a file"):
        kernel_image(tmp_path, initrd="")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a\nb\n", "a single line"),
        (b"a\rb", "a single line"),
        (b"a\0b", "a single line"),
        (b"\xff", r"not text \(byte 1\)"),
        (b"x" * 70_000, "70000 bytes"),
    ],
    ids=["two lines", "carriage return", "NUL", "not UTF-8", "too long"],
)
def test_a_command_line_is_one_line_of_text(tmp_path: Path, content: bytes, reason: str) -> None:
    paths = {part: tmp_path / part for part in ("kernel", "initrd", "cmdline")}
    for path in paths.values():
        path.write_bytes(content if path.name == "cmdline" else b"x")
    with pytest.raises(ImageError, match=reason):
        read_image("web", ImageForm.KERNEL, paths)


def test_the_text_of_the_command_line_is_part_of_the_image(tmp_path: Path) -> None:
    image = kernel_image(tmp_path, cmdline="console=ttyS0 name=\N{SNOWMAN} \n")
    Path(image.files["cmdline"].path).write_text("of the next build")
    assert image.cmdline == "console=ttyS0 name=\N{SNOWMAN}"


def test_other_forms_have_no_command_line(tmp_path: Path) -> None:
    disk = tmp_path / "cmdline"
    disk.write_text("a disk")
    assert read_image("a", ImageForm.DISK, {"disk": disk}).cmdline == ""
    assert read_image("a", ImageForm.REFERENCE, {}, reference="cmdline").cmdline == ""


def test_the_digest_of_a_spec_knows_the_command_line_by_the_identity_alone(tmp_path: Path) -> None:
    """A release that remembers the text must not take every spec for a new one."""
    image = kernel_image(tmp_path)
    spec = ClusterSpec("shop", "shop.yaml", {}, {"web": image}, {})
    assert image.cmdline
    assert spec_digest(spec) == spec_digest(replace(spec, images={"web": replace(image, cmdline="")}))


def test_a_command_line_needs_no_line_end(tmp_path: Path) -> None:
    assert kernel_image(tmp_path, cmdline="console=ttyS0").files["cmdline"].size == 13


@pytest.mark.parametrize("name", ["directory", "pipe", "nothing", "n\0l", "x" * 300, "loop"])
def test_what_is_no_file_is_no_image(tmp_path: Path, name: str) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ImageError):
        read_image("web", ImageForm.DISK, {"disk": tmp_path / name})


@pytest.mark.disks
@pytest.mark.parametrize("options", [("-b", "other.raw", "-F", "raw"), ("-o", "data_file=data.raw,data_file_raw=on")])
def test_a_disk_that_lies_over_another_file_is_no_image(
    tmp_path: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.raw").write_bytes(bytes(2**20))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, "disk.qcow2", "1M"], check=True)
    with pytest.raises(ImageError, match="lies over another file"):
        read_image("web", ImageForm.DISK, {"disk": tmp_path / "disk.qcow2"}, disk_format="qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "whole.qcow2", "1M"], check=True)
    assert read_image("web", ImageForm.DISK, {"disk": tmp_path / "whole.qcow2"}, disk_format="qcow2").is_built
