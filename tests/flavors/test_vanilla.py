"""The vanilla flavor: user data, what of it forces a replacement, and how a machine leaves service."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from infrakit_groups.flavors.vanilla import Vanilla, plugin
from infrakit_py.errors import ProviderError, SpecError, Transient
from infrakit_py.model.instance import Instance, InstanceId, InstanceState
from infrakit_py.spi.complaint import Complaint
from infrakit_py.spi.flavor import MemberIdentity

WEB_0 = MemberIdentity("shop", "web", 3, "web-0", None, 0)
DB_1 = MemberIdentity("shop", "db", 3, "db-1", "db-1", 0)
ALL_NAMES = "{{ cluster.name }} {{ group.name }} {{ group.size }} {{ instance.name }} {{ instance.index }}"


def dump(written: dict[str, Any], directory: Path = Path()) -> dict[str, Any]:
    """Return what the loader hands on of what the user wrote."""
    options = plugin.options.model_validate(written, context={"directory": directory})
    return options.model_dump(mode="json", exclude_unset=True, by_alias=True)


def flavor(user_data: Any, **further: Any) -> Vanilla:
    return plugin.open(dump({"user_data": user_data, **further}), cluster="shop", group="web")


def test_a_plain_text_is_a_template_for_each_member() -> None:
    assert flavor(ALL_NAMES).user_data(WEB_0) == b"shop web 3 web-0 0"
    assert flavor("{{ instance.logical_id }}").user_data(DB_1) == b"db-1"
    assert flavor("{{ 'a number' if instance.logical_id is none else 'a name' }}").user_data(WEB_0) == b"a number"


def test_a_template_s_text_stays_as_it_is() -> None:
    assert flavor("<a & 'b'>\n\n{# gone #}\n").user_data(WEB_0) == b"<a & 'b'>\n\n\n"
    assert flavor({"template": "é{{ instance.name }}\n"}).user_data(WEB_0) == "éweb-0\n".encode()


def test_a_literal_text_is_no_template() -> None:
    assert flavor({"text": "{{ nobody }}"}).user_data(WEB_0) == b"{{ nobody }}"


def test_no_user_data_is_none() -> None:
    opened = plugin.open({}, cluster="shop", group="web")
    assert opened.user_data(WEB_0) is None
    assert opened.material() == {}
    assert not opened.drains
    assert list(opened.review([WEB_0])) == []


def test_a_machine_is_as_well_as_its_other_checks_say() -> None:
    machine = Instance(InstanceId("i-1"), {}, InstanceState.RUNNING, 0.0)
    assert plugin.open({}, cluster="shop", group="web").healthy(machine) is None


def test_files_are_read_when_the_options_are_validated(tmp_path: Path) -> None:
    (tmp_path / "a.tmpl").write_text("{{ instance.name }}\n")
    template = dump({"user_data": {"template_file": "a.tmpl"}}, tmp_path)
    text = dump({"user_data": {"file": "a.tmpl"}}, tmp_path)
    (tmp_path / "a.tmpl").unlink()
    assert template == {"user_data": {"template": "{{ instance.name }}\n"}}
    assert text == {"user_data": {"text": "{{ instance.name }}\n"}}


@pytest.mark.parametrize("name", ["nothing", "directory", "binary", "large", "n\0l"])
def test_files_that_cannot_be_read_are_refused_at_their_key(tmp_path: Path, name: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "large").write_bytes(b"x" * (1024 * 1024 + 1))
    with pytest.raises(ValidationError) as raised:
        dump({"user_data": {"file": name}}, tmp_path)
    assert [details["loc"] for details in raised.value.errors()] == [("user_data", "file")]


@pytest.mark.parametrize(
    "user_data",
    [5, {}, {"text": "a", "template": "b"}, {"text": None}, {"txt": "a"}, ["a"]],
    ids=["number", "nothing", "two", "null", "unknown key", "list"],
)
def test_user_data_is_exactly_one_text(user_data: Any) -> None:
    with pytest.raises(ValidationError):
        dump({"user_data": user_data})


def test_what_is_dumped_can_be_opened_again() -> None:
    dumped = dump({"user_data": "a", "drain": {"port": 80}})
    assert dump(dumped) == dumped == {"user_data": {"template": "a"}, "drain": {"port": 80}}


@pytest.mark.parametrize(
    ("template", "message", "line_offset"),
    [
        ("a\nb\n{{ nobody }}", "`nobody` is undefined (defined are", 2),
        ("{{ instance.nam }}", "`instance.nam` is undefined", 0),
        ("\n{% if %}", "unexpected end of block", 1),
        ("{{ 1 / 0 }}", "unable to calculate 1 / 0", 0),
        ("{{ debug() }}", "debug is unknown", 0),
        ("{% include '/etc/passwd' %}", "non-existing template", 0),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "too many steps", 0),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "recursion", 0),
        ("{{ " + "(" * 9999 + ")" * 9999 + " }}", "recursion", 0),
    ],
    ids=["unknown", "attribute", "syntax", "arithmetic", "debug", "include", "for ever", "recursion", "nesting"],
)
def test_a_wrong_template_is_a_complaint_at_its_line(template: str, message: str, line_offset: int) -> None:
    (complaint,) = flavor(template).review([WEB_0, DB_1])
    assert (complaint.path, complaint.line_offset) == (("user_data", "template"), line_offset)
    assert message in complaint.message


def test_a_template_that_fails_for_one_member_only_is_found() -> None:
    template = "{% if instance.index == 1 %}{{ nobody }}{% endif %}"
    last = MemberIdentity("shop", "web", 3, "web-1", None, 1)
    assert [type(complaint) for complaint in flavor(template).review([WEB_0, last])] == [Complaint]


def test_user_data_that_cannot_be_made_is_an_error_of_the_spec() -> None:
    with pytest.raises(SpecError, match="user data of shop/web/web-0:2:1: `nobody` is undefined"):
        flavor("\n{{ nobody }}").user_data(WEB_0)


def test_user_data_is_in_no_repr_and_no_message() -> None:
    options = plugin.options.model_validate({"user_data": "password {{ nobody }}"})
    opened = flavor("password {{ nobody }}")
    (complaint,) = opened.review([WEB_0])
    with pytest.raises(SpecError) as raised:
        opened.user_data(WEB_0)
    with pytest.raises(ValidationError) as invalid:
        dump({"user_data": {"text": "password", "template": "password"}})
    for shown in (repr(options), repr(opened), repr(complaint), repr(raised.value), str(invalid.value)):
        assert "password" not in shown


def test_material_is_the_template_and_the_group_s_names_and_nothing_of_a_member() -> None:
    assert flavor("{{ instance.name }}", drain={"port": 80}).material() == {
        "user_data": {"template": "{{ instance.name }}"},
        "cluster": "shop",
        "group": "web",
    }


def test_another_way_to_drain_replaces_nothing() -> None:
    assert flavor("a").material() == flavor("a", drain={"port": 80}).material()


def test_a_text_and_a_template_of_the_same_letters_are_different_material() -> None:
    assert flavor("a").material() != flavor({"text": "a"}).material()


class _Machine(http.server.BaseHTTPRequestHandler):
    """Answers with the status that the path names, and remembers what it was asked."""

    asked: list[str]

    def do_POST(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.send_response(int(self.path.rpartition("/")[2]))
        self.send_header("Location", "/200")
        self.end_headers()

    def log_message(self, *_message: object) -> None:
        """Stay quiet."""


@pytest.fixture
def machine() -> Iterator[tuple[int, list[str]]]:
    """Yield the port of a listening machine and the list of what it was asked."""
    asked: list[str] = []
    server = http.server.HTTPServer(("127.0.0.1", 0), type("Machine", (_Machine,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port, asked
    server.shutdown()
    thread.join()
    server.server_close()


def instance(*addresses: str) -> Instance:
    return Instance(InstanceId("i-1"), {}, InstanceState.RUNNING, 0.0, addresses)


def draining(port: int, path: str) -> Vanilla:
    return flavor("a", drain={"port": port, "path": path})


@pytest.mark.parametrize(
    ("status", "drained"), [(200, True), (204, True), (202, False), (503, False)], ids=["200", "204", "202", "503"]
)
def test_the_answer_says_whether_a_machine_is_drained(
    machine: tuple[int, list[str]], status: int, drained: bool
) -> None:
    port, asked = machine
    assert draining(port, f"/drain/{status}").drain(instance("127.0.0.1", "192.0.2.1")) is drained
    assert asked == [f"POST /drain/{status}"]


@pytest.mark.parametrize("status", [404, 500, 302, 307])
def test_any_other_answer_is_an_error_and_no_other_address_is_asked(
    machine: tuple[int, list[str]], status: int
) -> None:
    port, asked = machine
    with pytest.raises(ProviderError, match=f"cannot drain i-1: it answered {status}"):
        draining(port, f"/{status}").drain(instance("127.0.0.1"))
    assert len(asked) == 1


def test_a_proxy_is_never_asked(machine: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert draining(machine[0], "/200").drain(instance("127.0.0.1"))


def test_a_machine_that_cannot_be_asked_is_asked_again_later() -> None:
    with pytest.raises(Transient, match="cannot drain i-1: it has no address"):
        draining(80, "/").drain(instance())
    with pytest.raises(Transient, match="Connection refused"):
        draining(1, "/").drain(instance("127.0.0.1"))
    with pytest.raises(Transient, match=r"POST http://\[::1\]:1/"):
        draining(1, "/").drain(instance("::1"))


def test_a_flavor_without_drain_has_nothing_to_wait_for() -> None:
    assert flavor("a").drain(instance())
    assert not flavor("a").drains
    assert draining(80, "/").drains


@pytest.mark.parametrize("path", ["drain", "/a b", "/a\nHost: x", "/ä"])
def test_a_path_is_one_word_from_the_root(path: str) -> None:
    with pytest.raises(ValidationError):
        draining(80, path)
