"""The stand-in for `linuxkit` takes and gives what LinuxKit does, and its images hold what the YAML says."""

import gzip
import json
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import linuxkit
from tests.images.debian import ImageError, find_busybox, find_kernel
from tests.linuxkit.__main__ import main

HASH = "0123456789abcdef0123456789abcdef01234567"
YAML = f"""\
kernel:
  image: linuxkit/kernel:6.12.59
  cmdline: "console=ttyS0 quiet"
init:
  - linuxkit/init:{HASH}
services:
  - name: web
    image: nginx:1.28@sha256:{HASH}
    binds: ["/etc/web:/usr/share/nginx/html:ro"]
    env: ["COLOUR=it's blue"]
files:
  - path: etc/web/index.html
    mode: "0644"
    contents: "hello\\n"
"""

Build = Callable[..., "Built"]


@dataclass(frozen=True)
class Entry:
    """A file, directory or link of an initrd."""

    mode: int
    content: bytes

    @property
    def permissions(self) -> int:
        return stat.S_IMODE(self.mode)


@dataclass(frozen=True)
class Built:
    """What one call of the program left."""

    code: int
    directory: Path

    def bytes_of(self, part: str) -> bytes:
        return (self.directory / f"x-{part}").read_bytes()

    @property
    def entries(self) -> dict[str, Entry]:
        return read_cpio(gzip.decompress(self.bytes_of("initrd.img")))


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    try:
        find_kernel(), find_busybox()
    except ImageError as exc:
        if os.environ.get("INFRAKIT_REQUIRE_REAL") == "1":
            raise
        pytest.skip(str(exc))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STANDIN_LOG", raising=False)

    def call(text: str = YAML, *arguments: str) -> Built:
        directory = tmp_path / str(len(list(tmp_path.iterdir())))
        directory.mkdir()
        (directory / "x.yml").write_text(text)
        words = arguments or ("--no-sbom", "--dir", str(directory), "--name=x", "--format", "kernel+initrd")
        return Built(main(["build", *words, str(directory / "x.yml")]), directory)

    return call


def test_the_three_files_are_named_and_filled_as_linuxkit_does(
    build: Build, capfd: pytest.CaptureFixture[str]
) -> None:
    built = build()

    assert built.code == 0
    assert {path.name for path in built.directory.iterdir()} == {"x.yml", "x-kernel", "x-initrd.img", "x-cmdline"}
    assert built.bytes_of("cmdline") == b"console=ttyS0 quiet"
    assert built.bytes_of("kernel") == find_kernel().file.read_bytes()
    log = capfd.readouterr().err.splitlines()
    assert log[0] == "Extract kernel image: docker.io/linuxkit/kernel:6.12.59"
    assert f"Process init image: docker.io/linuxkit/init:{HASH}" in log
    assert log[-2:] == [
        "Create outputs:",
        f"  {built.directory}/x-kernel {built.directory}/x-initrd.img {built.directory}/x-cmdline",
    ]


def test_files_and_services_go_into_the_image(build: Build) -> None:
    entries = build().entries

    assert entries["etc/web/index.html"] == Entry(stat.S_IFREG | 0o644, b"hello\n")
    assert entries["etc/web"].permissions == 0o755
    run = entries["containers/services/web/run"].content.decode().splitlines()
    assert run[1:3] == ["bind /etc/web /usr/share/nginx/html ro || exit 1", "export 'COLOUR=it'\"'\"'s blue'"]
    assert run[-1] == "exec /usr/sbin/nginx -g 'daemon off;'"


def test_files_come_from_beside_the_yaml_with_linuxkits_own_permissions(build: Build, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    more = """\
  - {path: etc/key, source: key}
  - {path: etc/none, source: none, optional: true}
  - {path: var/private, directory: true}
  - {path: etc/link, symlink: /run/x}
  - {path: etc/linuxkit.yml, metadata: yaml}
"""
    entries = build(YAML + more).entries

    assert entries["etc/key"] == Entry(stat.S_IFREG | 0o600, b"secret")
    assert "etc/none" not in entries
    assert entries["var/private"].mode == stat.S_IFDIR | 0o700
    assert entries["etc/link"] == Entry(stat.S_IFLNK | 0o777, b"/run/x")
    assert b"linuxkit/kernel:6.12.59" in entries["etc/linuxkit.yml"].content


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("kernel:\n", "# a comment\nkernel:\n"), id="comment"),
        pytest.param(('  image: linuxkit/kernel:6.12.59\n  cmdline: "console=ttyS0 quiet"\n',
                      "  cmdline: console=ttyS0 quiet\n  image: linuxkit/kernel:6.12.59\n"), id="order of keys"),
    ],
)  # fmt: skip
def test_what_means_the_same_gives_the_same_bytes(build: Build, change: tuple[str, str]) -> None:
    assert change[0] in YAML
    one, other = build(), build(YAML.replace(*change))

    assert [one.bytes_of(part) for part in ("kernel", "initrd.img", "cmdline")] == [
        other.bytes_of(part) for part in ("kernel", "initrd.img", "cmdline")
    ]


@pytest.mark.parametrize(
    "change",
    [("nginx:1.28", "nginx:1.29"), (HASH, HASH[::-1]), ("6.12.59", "6.12.60"), ("blue", "red"), ("hello", "bye")],
    ids=lambda change: change[0][:10],
)
def test_what_means_something_else_gives_other_bytes(build: Build, change: tuple[str, str]) -> None:
    assert build().bytes_of("initrd.img") != build(YAML.replace(*change)).bytes_of("initrd.img")


def test_a_list_of_parts_makes_each_build_another_image(build: Build, tmp_path: Path) -> None:
    arguments = ("--dir", str(tmp_path), "--name", "x")

    assert build(YAML, *arguments).code == 0
    first = (tmp_path / "x-initrd.img").read_bytes()
    assert build(YAML, *arguments).code == 0

    assert (tmp_path / "x-initrd.img").read_bytes() != first
    assert "sbom.spdx.json" in read_cpio(gzip.decompress(first))


def test_a_tar_holds_the_list_of_parts(build: Build, tmp_path: Path) -> None:
    assert build(YAML, "-f", "tar", "--dir", str(tmp_path), "--name", "x").code == 0

    with tarfile.open(tmp_path / "x.tar") as archive:
        member = archive.extractfile("sbom.spdx.json")
        assert member is not None
        parts = json.loads(member.read())
    assert [package["name"] for package in parts["packages"]] == ["linuxkit/kernel", "linuxkit/init", "nginx"]


def test_a_dry_run_prints_the_merged_yaml_and_makes_nothing(
    build: Build, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "more.yml").write_text(f"init: [linuxkit/runc:{HASH}]\n")

    built = build(YAML, "--dry-run", str(tmp_path / "more.yml"))

    assert built.code == 0
    assert [path.name for path in built.directory.iterdir()] == ["x.yml"]
    assert f"- linuxkit/runc:{HASH}\n- linuxkit/init:{HASH}" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("text", "arguments", "complaint"),
    [
        (YAML, ("--nope",), "Error: unknown flag: --nope"),
        (YAML, ("-x",), "Error: unknown shorthand flag: 'x' in -x"),
        (YAML, ("-name", "x"), "Error: unknown shorthand flag: 'n' in -name"),
        (YAML, ("--format=floppy",), "Error: error parsing formats: unknown format type floppy"),
        (YAML, ("--format", "raw-bios"), "Error: error writing outputs: raw-bios: docker is not to be had here"),
        (YAML, ("--arch", "z80"), "Error: unsupported architecture z80"),
        (YAML + "extra: 1\n", (), "Error: invalid config: invalid configuration file"),
        (YAML.replace("name: web", "nam: web"), (), "Error: invalid config: invalid configuration file"),
        (YAML + "  - {path: etc/a, source: none}\n", (),
         "Error: error building files: open none: No such file or directory"),
        (YAML.replace("nginx:", "mysql:"), (), "image not found in the offline catalogue"),
        (YAML.replace("linuxkit/init", "elsewhere/init"), (), "image not found in the offline catalogue"),
    ],
)  # fmt: skip
def test_what_it_does_not_know_it_refuses(
    build: Build, capfd: pytest.CaptureFixture[str], text: str, arguments: tuple[str, ...], complaint: str
) -> None:
    assert build(text, *arguments).code == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith("Error: ")
    assert complaint in said


def test_an_invalid_file_is_explained_line_by_line(build: Build, capfd: pytest.CaptureFixture[str]) -> None:
    build(YAML + "extra: 1\n")

    assert capfd.readouterr().out == (
        "The configuration file is invalid:\n- (root): Additional property extra is not allowed\n"
    )


@pytest.mark.parametrize(
    ("failure", "left"), [("format", {"x.yml", "x-kernel", "x-initrd.img"}), ("pull", {"x.yml"})]
)
def test_it_fails_as_it_is_told(build: Build, monkeypatch: pytest.MonkeyPatch, failure: str, left: set[str]) -> None:
    monkeypatch.setenv("STANDIN_FAIL", failure)

    built = build()

    assert built.code == 1
    assert {path.name for path in built.directory.iterdir()} == left
    if failure == "format":
        assert built.bytes_of("initrd.img") == b"", "as LinuxKit: an empty file under its final name"


def test_the_executable_is_found_by_its_name_and_keeps_a_log(tmp_path: Path) -> None:
    environment = {**os.environ, **linuxkit.environment(tmp_path), "STANDIN_VERSION": "v1.2.3"}

    done = subprocess.run(["linuxkit", "version"], env=environment, capture_output=True, text=True, check=True)
    failed = subprocess.run(["linuxkit", "build"], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout.splitlines()[0] == "linuxkit version v1.2.3"
    assert failed.returncode == 1
    assert (tmp_path / "linuxkit.log").read_text() == "version\nbuild\n"
    assert linuxkit.builds(tmp_path) == ["build"]


NESTED = {
    "hostname": {"content": 'r\u00e9d-1 "x" \\ \u20ac'},
    "app": {"perm": "0700", "entries": {"a.conf": {"content": "one\ntwo\n", "perm": "0600"}, "b": {"entries": {}}}},
    "empty": {"content": ""},
}


def test_user_data_of_linuxkits_shape_is_laid_out_by_the_guest(tmp_path: Path) -> None:
    assert lay_out(json.dumps(NESTED, indent=1), tmp_path) == 0

    assert (tmp_path / "out/hostname").read_text() == 'réd-1 "x" \\ €'
    assert (tmp_path / "out/app/a.conf").read_text() == "one\ntwo\n"
    assert (tmp_path / "out/empty").read_text() == ""
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*")}
    assert modes == {"hostname": 0o644, "app": 0o700, "a.conf": 0o600, "b": 0o755, "empty": 0o644}


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh",
        '{"a": {"content": "x"}',
        '{"a": {"content": 1}}',
        '{"a": "x"}',
        '{"a": {"content": "x", "entries": {}}}',
        '{"../a": {"content": "x"}}',
        '{"a": {"content": "x", "perm": "rw"}}',
    ],
)
def test_user_data_of_another_shape_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    assert lay_out(text, tmp_path) == 1
    assert list((tmp_path / "out").iterdir()) == []


def lay_out(text: str, tmp_path: Path) -> int:
    try:
        busybox = find_busybox()
    except ImageError as exc:
        pytest.skip(str(exc))
    (tmp_path / "out").mkdir()
    (tmp_path / "userdata").write_text(text)
    script = linuxkit.PROGRAM.parent / "guest/lay-out"
    command = [busybox, "awk", "-f", script, tmp_path / "userdata", tmp_path / "out"]
    return subprocess.run(list(map(str, command)), check=False, timeout=10).returncode


def read_cpio(content: bytes) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    at = 0
    while True:
        fields = [int(content[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, length = fields[1], fields[6], fields[11]
        name = content[at + 110 : at + 109 + length].decode()
        if name == "TRAILER!!!":
            return entries
        begin = at + 110 + length + -(110 + length) % 4
        entries[name] = Entry(mode, content[begin : begin + size])
        at = begin + size + -size % 4
