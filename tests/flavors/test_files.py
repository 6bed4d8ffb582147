"""The vanilla flavor's files: the JSON that LinuxKit's metadata package takes, and what is refused beforehand."""

import json
import re
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from infrakit_groups.flavors.linuxkit_files import Entry, names_of, user_data_of
from infrakit_groups.flavors.vanilla import Vanilla, plugin
from infrakit_providers.libvirt.iso import user_data_iso
from infrakit_py.errors import SpecError
from infrakit_py.images.identity import read_image
from infrakit_py.loading import load
from infrakit_py.model.fingerprint import canonical
from infrakit_py.plugins import InstalledPlugins
from infrakit_py.spi.flavor import MemberIdentity
from tests.libvirt.test_iso import read

WEB_0 = MemberIdentity("shop", "web", 2, "web-0", None, 0)
WEB_1 = MemberIdentity("shop", "web", 2, "web-1", None, 1)
ROOT = Path(__file__).parents[2]
CLUSTER = """\
apiVersion: infrakit-py/v1alpha1
kind: Cluster
metadata: {name: shop}
providers: {sim: {plugin: simulated}}
images: {a: {reference: a}}
groups:
  web:
    provider: sim
    image: a
    size: 2
    flavor:
      user_data:
        files:
"""


def dump(files: Any, directory: Path = Path()) -> dict[str, Any]:
    """Return what the loader hands on of what the user wrote."""
    options = plugin.options.model_validate({"user_data": {"files": files}}, context={"directory": directory})
    return options.model_dump(mode="json", exclude_unset=True, by_alias=True)


def flavor(files: Any) -> Vanilla:
    return plugin.open(dump(files), cluster="shop", group="web")


def told(files: Any, member: MemberIdentity = WEB_0) -> Any:
    """Return what a member is told, as LinuxKit reads it."""
    return json.loads(flavor(files).user_data(member) or b"")


def laid_out(node: Any, path: str = "/run/config") -> dict[str, tuple[str | None, int]]:
    """Lay entries out as LinuxKit's `writeConfigFiles` does: path to content (None: a directory) and mode.

    Its own rules: an entry with both or neither of content and entries is invalid; a perm is parsed as octal text.
    """
    found: dict[str, tuple[str | None, int]] = {}
    for name, entry in node.items():
        assert set(entry) <= {"content", "entries", "perm"}
        assert ("content" in entry) != ("entries" in entry), "content XOR entries"
        assert isinstance(entry.get("perm", ""), str)
        where = f"{path}/{name}"
        if "content" in entry:
            assert isinstance(entry["content"], str)
            found[where] = (entry["content"], int(entry.get("perm", "0644"), 8))
        else:
            found[where] = (None, int(entry.get("perm", "0755"), 8))
            found |= laid_out(entry["entries"], where)
    return found


def test_files_become_linuxkit_s_json_to_the_byte() -> None:
    files = {
        "app/tls/key.pem": {"text": "{{ as it is }}\n", "perm": "0600"},
        "app/config.toml": 'name = "{{ instance.name }}"\n',
        "app/tls/": {"perm": "0700"},
        "/run/config/motd": {"content": "é", "perm": "444"},
    }
    assert (
        flavor(files).user_data(WEB_0)
        == (
            '{"app":{"entries":{"config.toml":{"content":"name = \\"web-0\\"\\n"},'
            '"tls":{"entries":{"key.pem":{"content":"{{ as it is }}\\n","perm":"0600"}},"perm":"0700"}}},'
            '"hostname":{"content":"web-0"},"motd":{"content":"é","perm":"444"}}'
        ).encode()
    )


def test_linuxkit_lays_them_out_where_they_were_declared() -> None:
    files = {"a/b/c": "deep", "a/b/": {"perm": "0711"}, "empty/": {}, "nothing": {"text": ""}}
    assert laid_out(told(files)) == {
        "/run/config/a": (None, 0o755),
        "/run/config/a/b": (None, 0o711),
        "/run/config/a/b/c": ("deep", 0o644),
        "/run/config/empty": (None, 0o755),
        "/run/config/nothing": ("", 0o644),
        "/run/config/hostname": ("web-0", 0o644),
    }


def test_a_machine_has_its_name_unless_another_was_written() -> None:
    assert told({}, WEB_1) == {"hostname": {"content": "web-1"}}
    assert told({"hostname": "{{ cluster.name }}-{{ instance.name }}"}) == {"hostname": {"content": "shop-web-0"}}
    assert told({"/run/config/hostname": {"text": "own"}}) == {"hostname": {"content": "own"}}
    assert "hostname" in told({"etc/hostname": "another file"}), "only the one below /run/config names the machine"


names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/"), min_size=1, max_size=9
)
paths = st.lists(names.filter(lambda name: name not in (".", "..", "hostname", "userdata", "provider")), min_size=1)
contents = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    st.dictionaries(paths.map(lambda parts: "/".join(["top", *parts])), contents, max_size=6),
    st.randoms(use_true_random=False),
)
def test_any_files_arrive_as_they_were_declared_in_whichever_order(files: dict[str, str], chance: Any) -> None:
    apart = {p: c for p, c in files.items() if not any(other.startswith(f"{p}/") for other in files)}
    first = user_data_of({path: Entry(content) for path, content in apart.items()}, hostname="web-0")
    shuffled = list(apart.items())
    chance.shuffle(shuffled)
    assert user_data_of({path: Entry(content) for path, content in shuffled}, hostname="web-0") == first
    found = laid_out(json.loads(first))
    assert {path for path, (content, _) in found.items() if content is not None} == {
        "/run/config/hostname", *(f"/run/config/{path}" for path in apart),
    }  # fmt: skip
    assert all(found[f"/run/config/{path}"] == (content, 0o644) for path, content in apart.items())


def test_the_order_in_which_files_are_written_replaces_no_machine() -> None:
    one, other = flavor({"a": "1", "b": "2"}), flavor({"b": "2", "a": "1"})
    assert one.user_data(WEB_0) == other.user_data(WEB_0)
    assert canonical(one.material()) == canonical(other.material())


@pytest.mark.parametrize(
    "change", [{"a": "2"}, {"a": {"text": "1"}}, {"a": {"content": "1", "perm": "0600"}}, {"b": "1"}, {}]
)
def test_other_files_are_other_material(change: dict[str, Any]) -> None:
    assert flavor({"a": "1"}).material() != flavor(change).material()


def test_material_holds_the_template_and_nothing_of_a_member() -> None:
    assert flavor({"a": "{{ instance.name }}"}).material() == {
        "user_data": {"files": {"a": {"content": "{{ instance.name }}"}}},
        "cluster": "shop",
        "group": "web",
    }


@pytest.mark.parametrize(
    ("written", "material"),
    [
        ("{{ instance.name }}", {"template": "{{ instance.name }}"}),
        ({"text": "#cloud-config\n"}, {"text": "#cloud-config\n"}),
        ({"template": "a"}, {"template": "a"}),
    ],
    ids=["plain text", "literal", "template"],
)
def test_what_could_be_written_before_is_the_same_material(written: Any, material: dict[str, str]) -> None:
    """Otherwise a new release would replace every fleet."""
    options = plugin.options.model_validate({"user_data": written}).model_dump(mode="json", exclude_unset=True)
    opened = plugin.open(options, cluster="shop", group="web")
    assert opened.material() == {"user_data": material, "cluster": "shop", "group": "web"}


def test_files_beside_the_yaml_are_read_when_the_options_are_validated(tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text("{{ instance.name }}\n")
    dumped = dump({"a": {"template_file": "site.conf"}, "b": {"file": "site.conf", "perm": "0600"}}, tmp_path)
    (tmp_path / "site.conf").unlink()
    assert dumped["user_data"]["files"] == {
        "a": {"content": "{{ instance.name }}\n"},
        "b": {"text": "{{ instance.name }}\n", "perm": "0600"},
    }
    assert plugin.options.model_validate(dumped).model_dump(mode="json", exclude_unset=True) == dumped
    opened = plugin.open(dumped, cluster="shop", group="web")
    contents = {name: entry["content"] for name, entry in json.loads(opened.user_data(WEB_1) or b"").items()}
    assert contents == {"a": "web-1\n", "b": "{{ instance.name }}\n", "hostname": "web-1"}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../etc/passwd", "names . and .."),
        ("a/./b", "names . and .."),
        ("a//b", "empty names"),
        ("", "empty names"),
        ("/", "must lie below /run/config/"),
        ("/etc/passwd", "must lie below /run/config/"),
        ("/run/config", "must lie below /run/config/"),
        ("/run/config/", "empty names"),
        ("/run/config/../x", "names . and .."),
        ("/run/config//etc/x", "must lie below /run/config/"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("x" * 256, "more than 255 bytes"),
        ("é" * 128, "more than 255 bytes"),
        ("userdata", "LinuxKit itself writes /run/config/userdata"),
        ("/run/config/provider", "LinuxKit itself writes"),
        ("hostname/", "must be a file"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused(path: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        names_of(path)
    with pytest.raises(ValidationError) as raised:
        dump({path: "a"})
    assert reason in str(raised.value)


@pytest.mark.parametrize("perm", ["600", "0600", "0777", "000"])
def test_perms_are_octal_text(perm: str) -> None:
    assert told({"a": {"content": "x", "perm": perm}})["a"] == {"content": "x", "perm": perm}


@pytest.mark.parametrize("perm", [600, 384, "60", "0800", "4755", "00600", "rw-", "", None, "0600\n", True])
def test_other_perms_are_refused_with_how_to_write_them(perm: Any) -> None:
    with pytest.raises(ValidationError) as raised:
        dump({"a": {"content": "x", "perm": perm}})
    assert 'such as "0600"' in str(raised.value)


@pytest.mark.parametrize(
    "entry",
    [{"content": "a", "text": "b"}, {"content": None}, {"contents": "a"}, 5, ["a"], None],
    ids=["two", "null", "unknown key", "number", "list", "nothing"],
)
def test_an_entry_is_one_text(entry: Any) -> None:
    with pytest.raises(ValidationError):
        dump({"a": entry})


@pytest.mark.parametrize("beside", ["text", "template", "file", "template_file"])
def test_files_stand_alone(beside: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    written = {"user_data": {"files": {}, beside: "x"}}
    with pytest.raises(ValidationError, match="exactly one of template, text, template_file, file and files"):
        plugin.options.model_validate(written, context={"directory": tmp_path})


@pytest.mark.parametrize(
    ("files", "at", "message"),
    [
        ({"a": "x", "a/b": "y"}, "a/b", "lies below 'a', which is a file"),
        ({"a/b/c": "y", "a": "x"}, "a/b/c", "lies below 'a', which is a file"),
        ({"a": "x", "a/": {}}, "a/", "is declared twice ('a')"),
        ({"a": "x", "/run/config/a": "y"}, "/run/config/a", "is declared twice ('a')"),
        ({"a/": {"text": "x"}}, "a/", "is a directory: it takes nothing but a perm"),
        ({"a": {"perm": "0600"}}, "a", "must hold exactly one of content"),
        ({"a": {}}, "a", "must hold exactly one of content"),
    ],
    ids=["below a file", "above a file", "file and directory", "twice", "content of a directory", "no content", "{}"],
)
def test_files_that_cannot_be_there_are_told_at_their_path(files: Any, at: str, message: str) -> None:
    opened = flavor(files)
    (complaint,) = opened.review([WEB_0, WEB_1])
    assert complaint.path == ("user_data", "files", at)
    assert message in complaint.message
    with pytest.raises(SpecError, match=re.escape(message)):
        opened.user_data(WEB_0)


def test_every_file_s_first_mistake_is_told_at_its_line() -> None:
    files = {"good": "{{ instance.name }}", "a": "1\n{{ nobody }}", "b": {"content": "\n\n{% if %}"}}
    found = {complaint.path[2:]: complaint.line_offset for complaint in flavor(files).review([WEB_0, WEB_1])}
    assert found == {("a", "content"): 1, ("b", "content"): 2}


def test_a_template_that_fails_for_one_member_only_is_found() -> None:
    files = {"a": "{% if instance.index == 1 %}{{ nobody }}{% endif %}"}
    assert list(flavor(files).review([WEB_0])) == []
    assert [complaint.path for complaint in flavor(files).review(iter([WEB_0, WEB_1]))] == [
        ("user_data", "files", "a", "content")
    ]
    with pytest.raises(SpecError, match=r"user data of shop/web/web-1, file a:1:1: `nobody` is undefined"):
        flavor(files).user_data(WEB_1)


def test_files_that_are_too_large_together_are_told() -> None:
    half = "x" * (512 * 1024)
    assert list(flavor({"a": half, "b": {"text": half}}).review([WEB_0])) == []
    (complaint,) = flavor({"a": half, "b": {"text": half + "y"}}).review([WEB_0])
    assert (complaint.path, complaint.message) == (
        ("user_data", "files"),
        "the files hold more than 1024 KiB together",
    )


def test_what_a_file_holds_is_in_no_repr_and_no_message() -> None:
    files = {"a": "password {{ nobody }}", "b": {"text": "password"}}
    options = plugin.options.model_validate({"user_data": {"files": files}})
    opened = flavor(files)
    (complaint,) = opened.review([WEB_0])
    with pytest.raises(SpecError) as raised:
        opened.user_data(WEB_0)
    with pytest.raises(ValidationError) as invalid:
        dump({"a": {"text": "password", "content": "password"}, "../b": "password"})
    for shown in (
        repr(options),
        repr(opened),
        repr(complaint),
        repr(raised.value),
        str(invalid.value),
        Entry("password"),
    ):
        assert "password" not in str(shown)


def problems(tmp_path: Path, files: str) -> list[str]:
    """Return what loading a cluster with these files (ten columns in) finds wrong."""
    file = tmp_path / "cluster.yml"
    file.write_text(CLUSTER + files)
    with pytest.raises(SpecError) as raised:
        load([file], InstalledPlugins(), {}, read_image)
    return [line.replace(f"{tmp_path}/", "") for line in str(raised.value).splitlines()]


@pytest.mark.parametrize(
    ("files", "where", "message"),
    [
        ("          a: |\n            1\n            {{ nobody }}\n", "16:", "`nobody` is undefined"),
        ("          b: x\n          a:\n            content: |\n\n              {% if %}\n", "18:", "end of block"),
        ("          a: {content: x, perm: 600}\n", "14:33", 'such as "0600" (in quotes)'),
        ("          a: x\n          a/b: x\n", "15:16", "lies below 'a', which is a file"),
        ("          ok: x\n          ../a: x\n", "15:11", "must not hold the names . and .."),
        ("          a: {conten: x}\n", "14:15", "did you mean 'content'"),
        ("          a: {content: x, text: y}\n", "14:", "must hold exactly one of content, text"),
    ],
    ids=["line of a text", "line of a content", "perm", "conflict", "path", "key", "two"],
)
def test_mistakes_are_told_at_their_line(tmp_path: Path, files: str, where: str, message: str) -> None:
    (problem,) = problems(tmp_path, files)
    assert problem.startswith(f"cluster.yml:{where}"), problem
    assert message in problem


def test_a_cluster_with_files_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("welcome\n")
    file = tmp_path / "cluster.yml"
    file.write_text(
        CLUSTER + "          app/name: '{{ instance.name }}'\n          motd: {file: motd, perm: '0444'}\n"
    )
    (spec,) = load([file], InstalledPlugins(), {}, read_image)
    opened = plugin.open(spec.groups["web"].flavor.options, cluster="shop", group="web")
    assert laid_out(json.loads(opened.user_data(WEB_1) or b"")) == {
        "/run/config/app": (None, 0o755),
        "/run/config/app/name": ("web-1", 0o644),
        "/run/config/motd": ("welcome\n", 0o444),
        "/run/config/hostname": ("web-1", 0o644),
    }


def test_the_documented_files_are_what_they_say(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(flavor:.*?)```", (ROOT / "docs" / "flavors.md").read_text(), re.DOTALL)
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "key.pem").write_text("secret\n")
    file = tmp_path / "cluster.yml"
    file.write_text(CLUSTER.partition("    flavor:")[0] + indent(block, "    "))
    (spec,) = load([file], InstalledPlugins(), {}, read_image)
    opened = plugin.open(spec.groups["web"].flavor.options, cluster="shop", group="web")
    assert laid_out(json.loads(opened.user_data(WEB_1) or b"")) == {
        "/run/config/app": (None, 0o755),
        "/run/config/app/config.toml": ('name = "web-1"\n', 0o644),
        "/run/config/app/tls": (None, 0o700),
        "/run/config/app/tls/key.pem": ("secret\n", 0o600),
        "/run/config/motd": ("{{ not a template }}", 0o644),
        "/run/config/hostname": ("web-1", 0o644),
    }


@pytest.mark.parametrize(
    "text",
    ["hello\n", "#cloud-config\nhostname: x\nruncmd: [[echo, é]]\n", "#!/bin/sh\necho '{}'\n", '{"not": "linuxkit"}'],
    ids=["plain", "cloud-init", "script", "other JSON"],
)
def test_other_user_data_arrives_byte_for_byte(text: str) -> None:
    options = plugin.options.model_validate({"user_data": {"text": text}}).model_dump(mode="json", exclude_unset=True)
    user_data = plugin.open(options, cluster="shop", group="web").user_data(WEB_0)
    label, files = read(user_data_iso(user_data, instance_id="6f3d7c52", host_name="web-0"))
    assert (label, files["user-data"]) == ("CIDATA", text.encode())


def test_files_arrive_byte_for_byte() -> None:
    user_data = flavor({"app/é": "é\n" * 3000}).user_data(WEB_0)
    _, files = read(user_data_iso(user_data, instance_id="6f3d7c52", host_name="web-0"))
    assert files["user-data"] == user_data
