"""The course of a rehearsal on paper: short enough to read, exact where asked, safe to embed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import click
import pytest

from infrakit_py.engine.converge import End
from infrakit_py.engine.engine import GroupStatus, Phase
from infrakit_py.engine.rehearse import Counts, GroupCourse, Moment, Origin, Rehearsal, Sample, Script
from infrakit_py.model.plan import Bounds
from infrakit_py.model.spec import ClusterSpec, GroupSpec, ProviderSpec
from infrakit_py.render.timeline import Timeline, timeline_json, timeline_text
from infrakit_py.render.timeline_entries import instant
from infrakit_py.render.timeline_html import page
from infrakit_py.render.timeline_svg import picture
from infrakit_py.spi.provider import Pace

SVG = "{http://www.w3.org/2000/svg}"
STEADY = (Sample(0.0, Counts(ready_new=3)),)
EVIL = '<script>alert("a & b")</script>\x00\x1b[31m'


def course(samples: Sequence[Sample] = STEADY, seconds: float | None = 60.0, group: str = "web") -> GroupCourse:
    status = GroupStatus(Phase.CONVERGED) if seconds is not None else GroupStatus(Phase.WORKING)
    return GroupCourse(group, Bounds(3, surge=1, unavailable=0, floor=3), tuple(samples), status, seconds)


def timeline(*moments: Moment, seconds: float = 60.0, web: GroupCourse | None = None) -> Timeline:
    chosen = web or course()
    spec = ClusterSpec(
        "shop",
        "cluster.yml",
        {"sim": ProviderSpec("sim", "simulated")},
        {},
        {chosen.group: GroupSpec(chosen.group, "sim", "a1", size=3)},
    )
    return Timeline(
        spec=spec,
        origin=Origin.NOTHING,
        seed=0,
        script=Script(),
        paces={"sim": Pace()},
        limited=frozenset(),
        began=0.0,
        notes=(),
        images=(),
        rehearsal=Rehearsal(End.CONVERGED, seconds, moments, {chosen.group: chosen}),
    )


def body(text: str) -> list[str]:
    """Return the lines between header and groups."""
    return click.unstyle(text).split("\n\n")[1].splitlines()


def test_what_was_begun_and_done_at_one_instant_is_one_line_with_its_reason() -> None:
    text = timeline_text(
        timeline(
            Moment(30.0, "creating", "web", "web-3: to replace web-0"),
            Moment(30.0, "creating", "web", "web-4: to replace web-1"),
            Moment(30.0, "created", "web", "web-3"),
            Moment(30.0, "created", "web", "web-4"),
        )
    )
    assert body(text) == ["  +30s  web  created  web-3, web-4: to replace web-0"]


def test_all_of_it_has_a_line_each_to_the_millisecond() -> None:
    moments = [Moment(30.02, kind, "web", "web-3: why") for kind in ("creating", "created", "ready")]
    assert [line.split()[0] for line in body(timeline_text(timeline(*moments), full=True))] == [
        "+30s20ms",
        "web",
        "web",
    ]


def test_what_comes_again_and_again_is_told_once() -> None:
    moments = [Moment(10.0 * n, "retry", "web", "web-3: no machine left") for n in range(5)]
    assert body(timeline_text(timeline(*moments))) == [
        "  +0s  web  retry  web-3: no machine left, and 4 times more until +40s"
    ]


def test_the_middle_of_a_long_run_is_counted_and_nothing_of_note_is_left_out() -> None:
    moments = [Moment(float(n), kind, "web", f"web-{n}") for n in range(200) for kind in ("ready", "destroyed")]
    moments.insert(200, Moment(100.0, "fault", "web", "kill@web"))
    lines = body(timeline_text(timeline(*moments, seconds=300.0)))
    assert len(lines) < 30
    assert sum(" fault " in line for line in lines) == 1
    assert sum("9" in line and "ready" in line and "destroyed" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("seconds", "options", "written"),
    [
        (0.0, {}, "+0s"),
        (90.4, {}, "+1m30s"),
        (2.34, {"fine": True}, "+2.3s"),
        (2.0, {"fine": True}, "+2s"),
        (2.345, {"exact": True}, "+2s345ms"),
    ],
)
def test_instants_are_as_fine_as_is_asked_for(seconds: float, options: dict[str, bool], written: str) -> None:
    assert instant(seconds, **options) == written


def test_a_group_that_never_had_its_floor_is_not_said_to_have_lost_it() -> None:
    filling = [Sample(0.0, Counts(starting=3)), Sample(30.0, Counts(ready_new=2, starting=1))]
    assert "never 3 ready, which is its floor" in click.unstyle(timeline_text(timeline(web=course(filling, None))))
    full = [*filling, Sample(40.0, Counts(ready_new=3))]
    assert "lowest ready 3 from +40s on (floor 3)" in timeline_text(timeline(web=course(full)))


def test_machines_that_are_leaving_are_none_too_many() -> None:
    web = course([Sample(0.0, Counts(ready_old=1, ready_new=3, leaving=2))])
    assert web.most_machines == 4


def test_pictures_of_anything_are_well_formed_and_hold_no_markup_of_others() -> None:
    evil = timeline(
        Moment(1.0, "fault", "-", EVIL), Moment(2.0, "stopped", EVIL, EVIL), web=course(group=EVIL, seconds=60.0)
    )
    svg = ElementTree.fromstring(picture([evil]))
    assert not list(svg.iter(f"{SVG}script"))
    html = ElementTree.fromstring(page([evil]).replace("<!DOCTYPE html>", ""))
    assert not list(html.iter("script"))


@pytest.mark.parametrize("seconds", [0.0, 0.05, 7.0, 3600.0, 86_400.0, 1e7])
@pytest.mark.parametrize("machines", [0, 1, 7, 5000])
def test_a_picture_of_any_size_has_few_ticks(seconds: float, machines: int) -> None:
    web = replace(course([Sample(0.0, Counts(ready_new=machines))]), seconds=seconds)
    svg = ElementTree.fromstring(picture([timeline(seconds=seconds, web=web)]))
    ticks = [line for line in svg.iter(f"{SVG}line") if line.get("class") in ("tl-grid", "tl-axis")]
    assert 4 <= len(ticks) <= 20


def test_layers_are_stacked_from_the_axis_to_the_number_of_machines() -> None:
    samples = [Sample(0.0, Counts(ready_old=3)), Sample(30.0, Counts(ready_old=2, ready_new=1, starting=1))]
    svg = ElementTree.fromstring(picture([timeline(web=course(samples))]))
    paths = {(path.get("class") or "").split()[0]: path.get("d") for path in svg.iter(f"{SVG}path")}
    assert list(paths) == ["tl-ready_old", "tl-ready_new", "tl-starting"]
    old, new = paths["tl-ready_old"], paths["tl-ready_new"]
    assert old is not None
    assert new is not None
    upper_of_old = [point.split()[1] for point in old.strip("MZ").split("L")][:4]
    lower_of_new = [point.split()[1] for point in new.strip("MZ").split("L")][:-5:-1]
    assert upper_of_old == lower_of_new


def test_two_clusters_stand_below_each_other_in_one_picture() -> None:
    one = ElementTree.fromstring(picture([timeline()]))
    two = ElementTree.fromstring(picture([timeline(), timeline()]))
    assert int(two.get("height", "0")) == 2 * int(one.get("height", "0"))
    assert [element.text for element in two.iter(f"{SVG}text")].count("Rehearsal of cluster shop") == 2


def test_programs_get_every_moment_and_sample() -> None:
    document: Any = timeline_json(timeline(Moment(30.0, "ready", "web", "web-0")))
    assert document["events"] == [{"at": 30.0, "event": "ready", "group": "web", "text": "web-0"}]
    assert document["summary"]["converged"]
    assert [sample["ready_new"] for sample in document["samples"]] == [3]
