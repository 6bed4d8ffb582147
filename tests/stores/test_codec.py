"""A version comes back as it was, from any release's hand, or not at all."""

import json
import traceback
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from infrakit_py.model.quantities import Amount
from infrakit_py.model.revision import GroupVersion
from infrakit_py.model.spec import HealingSpec, HealthCheck, HttpCheck, RolloutSpec, Strategy, Window
from infrakit_py.stores.codec import Unreadable, read_version, version_json
from tests.stores.material import version_of, versions

VERSION = version_of("v1-a")
RICH = replace(
    VERSION,
    group=replace(
        VERSION.group,
        size=None,
        logical_ids=("a", "b"),
        machine={"memory": "1GiB", "zones": ["a", "b"], "spot": {"price": 0.5, "max": None}},
        health=HealthCheck(http=HttpCheck(80, headers={"X-Key": "k"}, status=((200, 204), (301, 301)))),
        rollout=RolloutSpec(
            strategy=Strategy.BLUE_GREEN,
            max_surge=Amount(25, percent=True),
            steps=(Amount(1), Amount(50, percent=True)),
            windows=(Window(60, 3600.0, (0, 6), "Europe/Berlin"),),
        ),
    ),
)


def changed(version: GroupVersion, *path: str, to: object = ..., drop: bool = False) -> str:
    """Return a version's JSON with the value at a path replaced or dropped."""
    stored = json.loads(version_json(version))
    place: Any = stored["version"]
    for key in path[:-1]:
        place = place[key]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return json.dumps(stored)


@settings(deadline=None)  # the first example resolves all type hints
@given(version=versions)
def test_every_version_comes_back_equal(version: GroupVersion) -> None:
    text = version_json(version)
    assert read_version(text) == version
    assert text.isascii(), "no database refuses what ASCII can say"


def test_the_types_come_back_too() -> None:
    group = read_version(version_json(RICH)).group
    assert group == RICH.group
    assert group.rollout.strategy is Strategy.BLUE_GREEN
    assert isinstance(group.rollout.steps[1], Amount)
    assert isinstance(group.rollout.windows[0], Window)
    assert group.health.http is not None
    assert group.health.http.status == ((200, 204), (301, 301))


@pytest.mark.parametrize(
    ("path", "read"),
    [
        (("group", "healing"), lambda version: version.group.healing == HealingSpec()),
        (("group", "rollout", "steps"), lambda version: version.group.rollout.steps == ()),
        (("group", "health", "http", "https"), lambda version: version.group.health.http.https is False),
        (("image", "cmdline"), lambda version: version.image.cmdline == ""),
    ],
    ids=["a whole part", "in a part", "deep", "of the image"],
)
def test_a_field_that_an_older_release_did_not_know_gets_its_default(path: tuple[str, ...], read: Any) -> None:
    assert read(read_version(changed(RICH, *path, drop=True)))


@pytest.mark.parametrize(
    "path",
    [("colour",), ("group", "colour"), ("group", "health", "http", "colour"), ("image", "files", "kernel", "colour")],
    ids=[".".join(path) for path in (("top",), ("group",), ("deep",), ("mapping",))],
)
def test_a_field_of_a_newer_release_is_passed_over(path: tuple[str, ...]) -> None:
    assert read_version(changed(RICH, *path, to={"red": [1]})) == RICH


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "null",
        "[]",
        '{"format":2,"version":{}}',
        '{"format":1}',
        '{"format":1,"version":{}}',
        changed(RICH, "fingerprint", drop=True),
        changed(RICH, "fingerprint", to=None),
        changed(RICH, "revision", to="1"),
        changed(RICH, "revision", to=True),
        changed(RICH, "group", "prevent_destroy", to=1),
        changed(RICH, "group", "rollout", "strategy", to="sideways"),
        changed(RICH, "group", "rollout", "strategy", to=["rolling"]),
        changed(RICH, "group", "rollout", "steps", to="1"),
        changed(RICH, "group", "rollout", "max_surge", to=1),
        changed(RICH, "group", "health", "http", "status", to=[[200]]),
        changed(RICH, "group", "flavor", "tags", to={"a": 1}),
        changed(RICH, "image", "files", to=["kernel"]),
    ],
    ids=lambda text: text[-12:],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        read_version(text)


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("group", "flavor", "options"), "hunter2"),
        (("group", "health", "http", "headers"), {"X-Key": ["hunter2"]}),
        (("group", "rollout", "strategy"), "hunter2"),
        (("image",), ["hunter2"]),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_an_unreadable_version_is_not_quoted(path: tuple[str, ...], to: object) -> None:
    """Any value may be a secret."""
    with pytest.raises(Unreadable) as caught:
        read_version(changed(RICH, *path, to=to))
    told = "".join(traceback.format_exception(caught.value, chain=True))
    assert "hunter2" not in told
