"""What is read from a LinuxKit YAML: mistakes at their places, components, and the files that go into a build."""

import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from infrakit_py.errors import SpecError
from infrakit_py.loading.linuxkit_document import LinuxKitDocument, Pin, read_linuxkit
from infrakit_py.loading.linuxkit_scalars import resolve_as_linuxkit
from infrakit_py.loading.yaml_scalars import Scalar

DOCUMENTS = Path(__file__).parent / "linuxkit"
TREE = "b5506cc74a6812dc40982cacfd2f4328f8a4b12a"
DIGEST = "@sha256:" + "0123456789abcdef" * 4
KERNEL = f"kernel: {{image: 'linuxkit/kernel:{TREE}'}}\n"

Read = Callable[[str], LinuxKitDocument]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Read a text as the file `node.yml` of the working directory."""
    monkeypatch.chdir(tmp_path)

    def read_text(text: str) -> LinuxKitDocument:
        Path("node.yml").write_text(text)
        return read_linuxkit(Path("node.yml"))

    return read_text


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "home"
    directory.mkdir()
    monkeypatch.setenv("HOME", str(directory))
    return directory


def refused(read: Read, text: str) -> list[str]:
    with pytest.raises(SpecError) as raised:
        read(text)
    return str(raised.value).splitlines()


def test_every_mistake_is_told_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCUMENTS)
    with pytest.raises(SpecError) as raised:
        read_linuxkit(Path("broken.yml"))
    assert str(raised.value).splitlines() == Path("broken.expected").read_text().splitlines()


def test_all_that_linuxkit_knows_may_be_said(home: Path) -> None:
    document = read_linuxkit(DOCUMENTS / "every-key.yml")
    assert document.file == str(DOCUMENTS / "every-key.yml")
    assert document.text == (DOCUMENTS / "every-key.yml").read_text()
    assert document.uses_metadata
    assert document.unpinned == (
        "localhost:5000/team/first:1",
        "[::1]:5000/team/first",
        "docker.io/library/nginx:1.27",
        "alpine:3.22",
    )
    assert [source.name for source in document.sources] == ["source.txt", "@pkg:package"]


def test_nothing_is_filled_in() -> None:
    document = read_linuxkit(DOCUMENTS / "every-key.yml")
    assert document.data["kernel"]["cmdline"] == "console=ttyS0 ${env:NOT_FILLED_IN}"  # type: ignore[index, call-overload]
    assert document.data["files"][2]["contents"] == "${env:SECRET}"  # type: ignore[index, call-overload]


def test_neither_contents_nor_environments_are_in_what_a_debugger_prints() -> None:
    shown = repr(read_linuxkit(DOCUMENTS / "every-key.yml"))
    assert "hunter2" not in shown and "SECRET" not in shown


def test_a_message_shows_what_was_written_but_no_secret(read: Read) -> None:
    text = "services: [{name: a, image: a, cwd: 4711, env: [4712]}]\nfiles: [{path: a, contents: 4713}]\n"
    assert refused(read, KERNEL + text) == [
        "node.yml:2:37: services[0].cwd: must be text; put quotes around it (got 4711)",
        "node.yml:2:49: services[0].env[0]: must be text; put quotes around it",
        "node.yml:3:29: files[0].contents: must be text; put quotes around it",
    ]


def test_components_are_named_with_their_places() -> None:
    document = read_linuxkit(DOCUMENTS / "every-key.yml")
    assert [reference.place for reference in document.references] == [
        "kernel.image", "init[0]", "init[1]", "onboot[first]", "onboot[first]", "onshutdown[last]", "services[web]",
        "services[web-2]", "services[all]", "volumes[shared_1-a]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "pin"),
    [
        (f"linuxkit/init:{TREE}", Pin.TREE_HASH),
        (f"linuxkit/init:{TREE}-amd64", Pin.TREE_HASH),
        (f"linuxkit/kernel:6.12.59-{TREE}", Pin.TREE_HASH),
        (f"linuxkit/kernel:6.12.59-rt-{TREE}-arm64", Pin.TREE_HASH),
        (f"linuxkit/init:{TREE}-dirty", Pin.TAG),
        (f"linuxkit/init:{TREE[:-1]}", Pin.TAG),
        (f"nginx:1.27{DIGEST}", Pin.DIGEST),
        (f"nginx{DIGEST}", Pin.DIGEST),
        ("nginx:1.27", Pin.TAG),
        ("nginx", Pin.TAG),
        ("localhost:5000/nginx", Pin.TAG),
    ],
)
def test_a_component_is_pinned_by_a_digest_or_a_tree_hash(text: str, pin: Pin, read: Read) -> None:
    document = read(f"{KERNEL}init: ['{text}']\n")
    assert document.references[1].pin is pin
    assert document.references[1].is_pinned == (pin is not Pin.TAG)
    assert document.unpinned == ((text,) if pin is Pin.TAG else ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nginx 1.27",
        "Nginx",
        "Linuxkit/nginx",
        "nginx:",
        f"nginx{DIGEST[:-1]}",
        "http://a/b",
        "@pkg:",
        "@x:y",
    ],
)
def test_what_no_registry_could_have_is_no_reference(text: str, read: Read) -> None:
    assert refused(read, f"{KERNEL}init: ['{text}']\n")[0].startswith("node.yml:2:8: init[0]: must be ")


class TestSources:
    def test_a_file_counts_by_its_bytes_and_starts_at_the_yaml_file(self, read: Read, tmp_path: Path) -> None:
        (tmp_path / "conf").mkdir()
        (tmp_path / "conf/web").write_bytes(b"listen 80\n")
        text = f"{KERNEL}files: [{{path: a, source: conf/web}}]\n"
        (source,) = read(text).sources
        assert source.name == "conf/web" and source.path == str(tmp_path / "conf/web")
        assert source.sha256 == sha256(b"listen 80\n").hexdigest() and source.size == 10
        os.chdir("/")  # `read` brings the test back to where it was
        (again,) = read_linuxkit(tmp_path / "node.yml").sources
        assert again == source

    def test_a_tilde_is_the_home_directory(self, read: Read, home: Path) -> None:
        (home / "key.pub").write_text("ssh-ed25519 AAAA")
        (source,) = read(f"{KERNEL}files: [{{path: a, source: ~/key.pub}}]\n").sources
        assert source.path == str(home / "key.pub") and source.name == "~/key.pub"

    @pytest.mark.parametrize("name", ["missing", "missing/deeper", "node.yml/deeper"])
    def test_what_cannot_be_looked_at_may_only_be_optional(self, name: str, read: Read) -> None:
        file = f"{{path: a, source: {name}"
        (problem,) = refused(read, f"{KERNEL}files: [{file}}}]\n")
        assert problem.startswith(f"node.yml:2:27: files[0].source: {name} cannot be read: ")
        assert not read(f"{KERNEL}files: [{file}, optional: true}}]\n").sources

    @pytest.mark.parametrize("optional", ["true", "false"])
    def test_a_directory_is_no_source_of_a_file(self, optional: str, read: Read, tmp_path: Path) -> None:
        (tmp_path / "conf").mkdir()
        (problem,) = refused(read, f"{KERNEL}files: [{{path: a, source: conf, optional: {optional}}}]\n")
        assert problem == "node.yml:2:27: files[0].source: conf is no file"

    def test_a_pipe_is_not_waited_for(self, read: Read, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        (problem,) = refused(read, f"{KERNEL}files: [{{path: a, source: pipe}}]\n")
        assert problem.endswith("pipe is no file")

    def test_a_name_that_no_file_can_have_is_a_mistake_like_others(self, read: Read) -> None:
        (problem,) = refused(read, f'{KERNEL}files: [{{path: a, source: "a\\0b"}}]\n')
        assert problem == r"node.yml:2:27: files[0].source: 'a\x00b' cannot be read: embedded null byte"

    @pytest.mark.parametrize(
        "change",
        [
            lambda package: (package / "run.sh").write_text("echo two"),
            lambda package: (package / "run.sh").chmod(0o755),
            lambda package: (package / "run.sh").rename(package / "go.sh"),
            lambda package: (package / "more").write_text(""),
            lambda package: (package / "deep/down").unlink(),
            lambda package: ((package / "link").unlink(), (package / "link").symlink_to("deep")),
        ],
        ids=["contents", "may be run", "a name", "one more", "one less", "a link"],
    )
    def test_a_package_counts_by_all_that_is_in_it(
        self, change: Callable[[Path], object], read: Read, tmp_path: Path
    ) -> None:
        package = tmp_path / "pkg"
        (package / "deep").mkdir(parents=True)
        (package / "run.sh").write_text("echo one")
        (package / "deep/down").write_text("x")
        (package / "link").symlink_to("run.sh")
        text = f"{KERNEL}init: ['@pkg:./pkg']\nservices: [{{name: a, image: '@pkg:./pkg'}}]\n"
        (before,) = read(text).sources
        assert before.path == str(package) and before.size == 9
        assert read(text).sources == (before,)
        change(package)
        (after,) = read(text).sources
        assert after.sha256 != before.sha256

    def test_a_package_that_is_not_there_is_told_at_its_name(self, read: Read) -> None:
        (problem,) = refused(read, f"{KERNEL}init: ['@pkg:./pkg']\n")
        assert problem == "node.yml:2:8: init[0]: pkg does not exist"
        Path("pkg").write_text("")
        (problem,) = refused(read, f"{KERNEL}init: ['@pkg:./pkg']\n")
        assert problem == "node.yml:2:8: init[0]: pkg is no directory"


class TestTheFileAsAWhole:
    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n"])
    def test_it_must_hold_something(self, text: str, read: Read) -> None:
        (problem,) = refused(read, text)
        assert problem.startswith("node.yml: is empty; a LinuxKit file is a mapping")

    @pytest.mark.parametrize("text", ["[]", "kernel", "12"])
    def test_it_must_be_a_mapping(self, text: str, read: Read) -> None:
        (problem,) = refused(read, text)
        assert problem.startswith("node.yml:1:1: a LinuxKit file is a mapping")

    def test_a_second_document_is_refused_where_it_begins(self, read: Read) -> None:
        (problem,) = refused(read, f"{KERNEL}---\n# two\ninit: []\n")
        assert problem == "node.yml:4:1: another YAML document; LinuxKit reads one"

    def test_a_key_twice_is_refused(self, read: Read) -> None:
        (problem,) = refused(read, f"{KERNEL}init: []\ninit: []\n")
        assert problem == "node.yml:3:1: duplicate key 'init', first on line 2"

    def test_without_a_kernel_nothing_boots(self, read: Read) -> None:
        assert refused(read, "init: []\n") == ["node.yml:1:1: missing key 'kernel'"]

    def test_a_file_that_is_not_there_is_told_by_its_name(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match=f"{re.escape(str(tmp_path))}/no.yml: cannot be read: No such file"):
            read_linuxkit(tmp_path / "no.yml")

    def test_a_file_called_dash_is_not_standard_input(self, read: Read, tmp_path: Path) -> None:
        (tmp_path / "-").write_text(KERNEL)
        assert read(KERNEL).data == read_linuxkit(Path("-")).data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0644", 420), ("-0644", -420), ("0o644", 420), ("0b101", 5), ("0x1F", 31), ("1_000", 1000), ("+12", 12),
        ("0899", 899.0), ("1e3", 1000.0), (".5", 0.5), ("1_0.5", 10.5), ("1" + 40 * "0", 1e40),
        ("yes", "yes"), ("on", "on"), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("v1", "v1"), ("-", "-"),
        ("1.2.3", "1.2.3"), ("0x", "0x"), ("", None), ("~", None), ("true", True), ("False", False), ("_1", "_1"),
        ("1e999", "1e999"), (TREE, TREE), ("08:00", "08:00"),
    ],
)  # fmt: skip
def test_a_plain_scalar_is_what_linuxkit_takes_it_for(text: str, value: Scalar) -> None:
    found = resolve_as_linuxkit(text)
    assert found == value and type(found) is type(value)


@given(st.text("+-._0123456789abcdefxobEyesno", max_size=30))
def test_whatever_is_written_is_some_scalar(text: str) -> None:
    assert isinstance(resolve_as_linuxkit(text), bool | int | float | str | None)


KEYS = st.sampled_from(
    ["kernel", "init", "onboot", "services", "files", "volumes", "image", "name", "env", "mounts", "path", "uid",
     "binds", "source", "contents", "runtime", "resources", "memory", "capabilities", "additionalGids"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("@pkg:x")
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_no_data_whatever_ends_in_anything_but_a_document_or_problems(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, object]
) -> None:
    file = tmp_path_factory.getbasetemp() / f"any-{threading.get_ident()}.yml"
    file.write_text(yaml.safe_dump(data, allow_unicode=True))
    with suppress(SpecError):
        assert read_linuxkit(file).references
