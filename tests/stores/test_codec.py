"""Versions and specs come back as they were, from any release's hand, or not at all."""

import copy
import json
import shutil
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from infrakit_py.app import App
from infrakit_py.errors import SpecError
from infrakit_py.images import read_image
from infrakit_py.loading import load
from infrakit_py.model.declared import Occurrence, Origin, Refusal, SourceStatus
from infrakit_py.model.fingerprint import spec_digest
from infrakit_py.model.quantities import Amount
from infrakit_py.model.revision import GroupVersion
from infrakit_py.model.spec import ClusterSpec, HealingSpec, HealthCheck, HttpCheck, RolloutSpec, Strategy, Window
from infrakit_py.stores.codec import Unreadable, decoded, encoded, read_value, read_version, value_json, version_json
from tests.loading.documents import EVERY_KEY
from tests.loading.stubs import StubCatalog
from tests.stores.material import occurrence_of, origin_of, source_of, spec_of, specs, version_of, versions

EXAMPLES: Final = sorted((Path(__file__).parents[2] / "examples").rglob("cluster.yml"))
DOCUMENT: Final = yaml.safe_load(EVERY_KEY)
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


@settings(deadline=None)
@given(spec=specs)
def test_every_spec_comes_back_equal(spec: ClusterSpec) -> None:
    text = value_json(spec)
    assert read_value(ClusterSpec, text) == spec
    assert text.isascii()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_specs_of_the_examples_come_back_equal_and_are_the_same_revision(path: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(path.parent, tmp_path / "example"))
    images = yaml.safe_load((place / path.name).read_text()).get("images", {}).values()
    for part in (image[key] for image in images for key in ("kernel", "initrd", "cmdline") if key in image):
        (place / part).parent.mkdir(exist_ok=True)
        (place / part).write_text(part)
    (spec,) = App(environment={"HOME": str(tmp_path)}).load([place / path.name])
    read = read_value(ClusterSpec, value_json(spec))
    assert read == spec
    assert spec_digest(read) == spec_digest(spec)


def _paths(value: Any, *path: str) -> list[tuple[str, ...]]:
    """Return where everything is in a document, each thing after what it is part of."""
    inside = value.items() if isinstance(value, dict) else ()
    return [place for key, item in inside for place in ((*path, key), *_paths(item, *path, key))]


@settings(max_examples=200, deadline=None)
@given(
    left_out=st.lists(st.sampled_from(_paths(DOCUMENT["groups"]["web"])), max_size=8),
    tags=st.dictionaries(st.text("ab-", min_size=1), st.text(max_size=5), max_size=2),
    user_data=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="{}"), max_size=20),
)
def test_whatever_the_loader_makes_of_a_file_comes_back_equal(
    tmp_path_factory: pytest.TempPathFactory, left_out: list[tuple[str, ...]], tags: dict[str, str], user_data: str
) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["groups"]["web"]["flavor"] = {"user_data": user_data, "tags": tags}
    for *path, key in left_out:
        place = document["groups"]["web"]
        for step in path:
            place = place.get(step, {})
        place.pop(key, None)
    file = tmp_path_factory.getbasetemp() / "parts-left-out.yml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    try:
        found = load([file], StubCatalog(), {}, read_image)
    except SpecError:
        return
    for spec in found:
        read = read_value(ClusterSpec, value_json(spec))
        assert read == spec
        assert spec_digest(read) == spec_digest(spec)


@pytest.mark.parametrize(
    "value",
    [origin_of(), replace(source_of(shop="ab"), refusal=Refusal(origin_of(), 1.0, "no")), occurrence_of(1)],
    ids=lambda value: type(value).__name__,
)
def test_what_is_remembered_of_sources_and_events_comes_back_equal(value: Origin | SourceStatus | Occurrence) -> None:
    assert read_value(type(value), value_json(value)) == value


@pytest.mark.parametrize("value", [True, None, ["a"], {"a": 1}], ids=str)
def test_a_plain_value_of_another_type_is_refused_where_several_are_allowed(value: Any) -> None:
    stored: Any = {"at": 1.0, "cluster": "shop", "group": "-", "kind": "k", "text": "t", "fields": {"a": value}}
    with pytest.raises(Unreadable):
        decoded(Occurrence, stored)


def test_what_cannot_be_read_is_found_by_its_path() -> None:
    stored: Any = encoded(spec_of())
    stored["groups"]["web"]["rollout"]["steps"] = [{"value": 1}, {"value": "x"}]
    with pytest.raises(Unreadable) as caught:
        decoded(ClusterSpec, stored)
    assert caught.value.path == ("groups", "web", "rollout", "steps", 1, "value")
