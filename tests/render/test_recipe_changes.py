"""What is said of two LinuxKit files, and what never is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrakit_py.render.recipe_changes import differences

KERNEL = {"image": "linuxkit/kernel:6.12.1", "cmdline": "console=ttyS0"}
WEB: dict[str, Any] = {"name": "web", "image": "nginx:1.27", "command": ["nginx"], "env": ["A=1", "PASSWORD=hunter2"]}
OLD: dict[str, Any] = {
    "kernel": KERNEL,
    "init": ["linuxkit/init:aaa", "linuxkit/runc:bbb"],
    "onboot": [{"name": "dhcpcd", "image": "x"}, {"name": "format", "image": "y"}],
    "services": [WEB],
    "files": [{"path": "etc/a", "contents": "secret one", "mode": "0600"}],
}


def changed(**parts: Any) -> list[str]:
    return list(differences(OLD, {**OLD, **parts}))


def test_nothing_is_said_of_files_that_are_equal() -> None:
    assert changed() == []


@pytest.mark.parametrize(
    ("parts", "lines"),
    [
        (
            {"kernel": {**KERNEL, "image": "linuxkit/kernel:6.12.59"}},
            ["kernel.image: linuxkit/kernel:6.12.1 → linuxkit/kernel:6.12.59"],
        ),
        (
            {"init": ["linuxkit/init:ccc", "linuxkit/runc:bbb"]},
            ["init[linuxkit/init]: linuxkit/init:aaa → linuxkit/init:ccc"],
        ),
        ({"init": ["linuxkit/init:aaa"]}, ["init[linuxkit/runc]: removed"]),
        ({"services": [WEB, {"name": "getty", "image": "g"}]}, ["services[getty]: added"]),
        ({"services": [{**WEB, "command": ["nginx", "-q"]}]}, ["services[web].command: [nginx] → [nginx, -q]"]),
        ({"services": [{**WEB, "net": "host"}]}, ["services[web].net: (none) → host"]),
        ({"onboot": OLD["onboot"][::-1]}, ["onboot: in another order"]),
        ({"services": []}, ["services[web]: removed"]),
        ({"volumes": [{"name": "data"}]}, ["volumes[data]: added"]),
        ({"files": [{**OLD["files"][0], "mode": "0644"}]}, ["files[etc/a].mode: 0600 → 0644"]),
        ({"trust": {"org": ["linuxkit"]}}, ["trust: (none) → {org: [linuxkit]}"]),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[0].split(":")[0],
)
def test_each_change_is_said_at_its_place(parts: dict[str, Any], lines: list[str]) -> None:
    assert changed(**parts) == lines


def test_neither_contents_nor_environments_are_shown() -> None:
    web = {**WEB, "env": ["A=1", "PASSWORD=correct horse", "NEW=x"]}
    lines = changed(services=[web], files=[{**OLD["files"][0], "contents": "secret two"}])
    assert lines == ["services[web].env: PASSWORD changed, NEW added", "files[etc/a].contents: changed"]


def test_what_a_whole_item_held_is_not_shown_when_it_comes_or_goes() -> None:
    lines = changed(services=[], files=[])
    assert lines == ["services[web]: removed", "files[etc/a]: removed"]
    assert list(differences({}, OLD))[1:] == [
        "init[linuxkit/init]: added", "init[linuxkit/runc]: added", "onboot[dhcpcd]: added", "onboot[format]: added",
        "services[web]: added", "files[etc/a]: added",
    ]  # fmt: skip


def test_an_environment_in_another_order_is_a_change_without_values() -> None:
    assert changed(services=[{**WEB, "env": WEB["env"][::-1]}]) == ["services[web].env: in another order"]


def test_items_of_one_name_are_told_apart() -> None:
    twice = [{"path": "etc/a", "contents": "x"}, {"path": "etc/a", "contents": "y"}]
    assert changed(files=twice)[-1] == "files[etc/a#2]: added"


def test_long_values_are_cut() -> None:
    (line,) = changed(kernel={**KERNEL, "cmdline": "x" * 500})
    assert len(line) < 120 and line.endswith("…")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (["a, b"], ["a", "b"], 'services[web].command: ["a, b"] → [a, b]'),
        (["nginx", "-g", "daemon off;"], ["nginx"], 'services[web].command: [nginx, -g, "daemon off;"] → [nginx]'),
        (["1"], [1], "services[web].command: changed"),
        (["\x1b[2J"], ["ls"], 'services[web].command: ["\\u001b[2J"] → [ls]'),
    ],
    ids=["one argument or two", "an argument with spaces", "only of another type", "what would clear the screen"],
)
def test_arguments_are_told_apart(old: list[Any], new: list[Any], line: str) -> None:
    before, after = ({"services": [{**WEB, "command": command}]} for command in (old, new))
    assert list(differences(before, after)) == [line]


def test_where_long_values_differ_is_shown() -> None:
    script = "set -e; " * 30
    before, after = ({"kernel": {"cmdline": f"{script}{last}"}} for last in ("old", "new"))
    (line,) = differences(before, after)
    assert line == "kernel.cmdline: …-e; set -e; old → …-e; set -e; new"


def test_a_text_that_differs_in_spaces_alone_is_shown_with_them() -> None:
    before, after = ({"kernel": {"cmdline": text}} for text in ("a b", "a  b"))
    assert list(differences(before, after)) == ['kernel.cmdline: "a b" → "a  b"']


def test_a_file_is_the_same_with_and_without_its_slash() -> None:
    (line,) = changed(files=[{**OLD["files"][0], "path": "/etc/a"}])
    assert line == "files[etc/a].path: etc/a → /etc/a"


def test_a_reference_with_a_registry_s_port_keeps_its_name() -> None:
    before, after = ({"init": [f"localhost:5000/init:{tag}"]} for tag in "ab")
    (line,) = differences(before, after)
    assert line == "init[localhost:5000/init]: localhost:5000/init:a → localhost:5000/init:b"


@pytest.mark.parametrize("part", ["init", "onboot", "services"])
def test_an_order_is_a_change_of_its_own(part: str) -> None:
    items: list[Any] = [*OLD[part], {"name": "last", "image": "x"}]
    assert list(differences({part: items}, {part: items[::-1]})) == [f"{part}: in another order"]


NAMES = st.sampled_from(["web", "db", "etc/a"])
SECRETS = st.text("0123456789", min_size=8, max_size=8).map(lambda digits: f"s3cret{digits}")
ENVIRONMENTS = st.lists(st.builds("{}={}".format, st.sampled_from(["A", "B"]), SECRETS), max_size=3)
SERVICES = st.fixed_dictionaries({"name": NAMES}, optional={"env": ENVIRONMENTS, "net": st.just("host")})
FILES = st.fixed_dictionaries({"path": NAMES}, optional={"contents": SECRETS, "mode": st.just("0600")})
RECIPES = st.fixed_dictionaries({"services": st.lists(SERVICES, max_size=3), "files": st.lists(FILES, max_size=3)})


@given(RECIPES, RECIPES)
def test_no_two_recipes_give_a_secret_away(old: dict[str, Any], new: dict[str, Any]) -> None:
    lines = differences(old, new)
    assert "s3cret" not in "\n".join(lines)
    assert all(line.isprintable() for line in lines)


@given(RECIPES, RECIPES)
def test_something_is_said_of_recipes_exactly_when_they_differ(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert bool(differences(old, new)) == (old != new)
    assert not differences(old, old)
