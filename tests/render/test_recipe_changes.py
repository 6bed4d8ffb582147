"""What is said of two LinuxKit files, and what never is."""

from typing import Any

import pytest

from infrakit_py.render.recipe_changes import differences

KERNEL = {"image": "linuxkit/kernel:6.12.1", "cmdline": "console=ttyS0"}
WEB = {"name": "web", "image": "nginx:1.27", "command": ["nginx"], "env": ["A=1", "PASSWORD=hunter2"]}
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
