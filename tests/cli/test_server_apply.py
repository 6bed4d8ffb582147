"""Files of one machine, declared at a controller on another: what is sent, checked, refused and waited for."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.controlled import Controlled, controlled
from tests.cli.shell import eventually, web


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controlled]:
    with controlled(tmp_path_factory.mktemp("site")) as found:
        yield found


def with_user_data(file: str) -> dict[str, Any]:
    return web(1, flavor={"kind": "vanilla", "user_data": {"file": file}})


def test_files_become_a_numbered_revision_that_is_waited_for(site: Controlled) -> None:
    site.here.write(site.cluster("first", web=web(2)), site.cluster("twin", web=web(1)), file="both.yml")
    result = site.infra("apply", "both.yml", "--wait", "--timeout", "60s")
    assert result.code == 0, result
    assert result.out.splitlines()[:2] == ["first: revision 1 is in force", "twin: revision 1 is in force"]
    assert result.out.splitlines()[-1] == "converged"
    assert any(line.split()[1:3] == ["first/web", "created"] for line in result.out.splitlines())
    assert (site.machines("first"), site.machines("twin")) == (["web-0", "web-1"], ["web-0"])
    again = site.infra("apply", "both.yml", "--wait", "--timeout", "60s").out.splitlines()
    assert again[0] == "first: revision 1, as it is in force already"
    assert again[-1] == "converged"


def test_a_revision_is_waited_for_though_the_one_before_had_converged(site: Controlled) -> None:
    site.declare("replaced", web=web(2))
    before = {machine.id for machine in site.there.machines() if machine.tags["infrakit.cluster"] == "replaced"}
    site.declare("replaced", web=web(2, image="a2"))
    after = {machine.id for machine in site.there.machines() if machine.tags["infrakit.cluster"] == "replaced"}
    assert len(after) == 2
    assert not before & after


def test_what_files_refer_to_is_sent_with_them(site: Controlled) -> None:
    (site.here.work / "data").mkdir(exist_ok=True)
    (site.here.work / "data" / "hello.txt").write_text("hello from afar")
    site.here.write(site.cluster("sent", web=with_user_data("../data/hello.txt")), file="clusters/sent.yml")
    result = site.infra("apply", "clusters", "--wait", "--timeout", "60s")
    assert result.code == 0, result
    assert "hello from afar" not in result.out + result.err
    (before,) = (m.id for m in site.there.machines() if m.tags["infrakit.cluster"] == "sent")
    (site.here.work / "data" / "hello.txt").write_text("hello again")
    assert site.infra("apply", "clusters", "--wait", "--timeout", "60s").code == 0
    (after,) = (m.id for m in site.there.machines() if m.tags["infrakit.cluster"] == "sent")
    assert before != after, "other user data makes another machine"


def test_a_dry_run_says_what_would_be_and_changes_nothing(site: Controlled) -> None:
    site.here.write(site.cluster("dry", web=web(1)), file="dry.yml")
    assert site.infra("apply", "dry.yml", "--dry-run").out == "dry: would be revision 1\n"
    assert site.infra("apply", "dry.yml", "--dry-run", "--json").json == {
        "clusters": [{"cluster": "dry", "revision": 1, "changed": True}],
        "dry_run": True,
    }
    assert "dry" not in [one["cluster"] for one in site.infra("status", "--json").json["clusters"]]


@pytest.mark.parametrize("where", [[], ["--no-check"]], ids=["here", "there"])
def test_mistakes_are_found_with_the_places_that_they_have_here(where: list[str], site: Controlled) -> None:
    wrong = site.cluster("wrong", web={**web(1), "sise": 3})
    text = site.here.write(wrong, file="some/where/wrong.yml").read_text()
    (line,) = [number for number, written in enumerate(text.splitlines(), 1) if "sise" in written]
    result = site.infra("apply", "some/where/wrong.yml", *where)
    assert result.code == 64
    assert result.err.startswith(f"some/where/wrong.yml:{line}:5: groups.web: unknown key 'sise'")
    assert "1 mistake; nothing was touched" in result.err
    error = site.infra("apply", "some/where/wrong.yml", *where, "--json").json["errors"][0]
    assert (error["file"], error["line"]) == ("some/where/wrong.yml", line)


def test_what_cannot_be_sent_is_refused_before_the_server_is_asked(site: Controlled) -> None:
    spec = site.cluster("disk", web=web(1, image="own"))
    spec["images"] = {"own": {"disk": "own.qcow2"}}
    site.here.write(spec, file="disk.yml")
    (site.here.work / "own.qcow2").write_bytes(b"QFI")
    result = site.infra("apply", "disk.yml", environment={"INFRAKIT_SERVER": "http://127.0.0.1:1"})
    assert result.code == 64
    assert "images.own.disk: files of images are not sent" in result.err


def test_images_by_absolute_paths_are_the_server_s_own(site: Controlled) -> None:
    disk = site.there.work / "own.img"
    disk.write_bytes(b"a bootable disk")
    spec = site.cluster("disks", web=web(1, image="own"))
    spec["images"] = {"own": {"disk": str(disk)}}
    site.here.write(spec, file="disks.yml")
    assert site.infra("apply", "disks.yml", "--wait", "--timeout", "60s").code == 0
    spec["images"] = {"own": {"disk": f"{disk}.gone"}}
    site.here.write(spec, file="disks.yml")
    result = site.infra("apply", "disks.yml")
    assert result.code == 64
    assert "own.img.gone does not exist" in result.err


def test_variables_are_the_server_s(site: Controlled) -> None:
    spec = site.cluster("varied", web=web(1))
    text = site.here.write(spec, file="varied.yml").read_text()
    (site.here.work / "varied.yml").write_text(text.replace("size: 1", "size: ${env:WEB_SIZE_OF_THE_SERVER}"))
    result = site.infra("apply", "varied.yml")
    assert result.code == 64, "the controller's environment has no such variable either"
    assert "not checked here, because WEB_SIZE_OF_THE_SERVER is not set here" in result.err
    assert "varied.yml:" in result.err
    (site.here.work / "varied.yml").write_text(text.replace("size: 1", "size: ${env:WEB_SIZE_OF_THE_SERVER:-1}"))
    assert site.infra("apply", "varied.yml").out == "varied: revision 1 is in force\n"


def test_a_cluster_may_come_by_standard_input(site: Controlled) -> None:
    text = site.here.write(site.cluster("piped", web=web(1)), file="piped.yml").read_text()
    result = site.infra("apply", "-", stdin=text)
    assert (result.code, result.out) == (0, "piped: revision 1 is in force\n")
    wrong = site.infra("apply", "-", stdin=text.replace("size", "sise"))
    assert wrong.code == 64
    assert wrong.err.startswith("<stdin>:")


@pytest.mark.long
def test_waiting_ends_with_1_where_the_rollout_stops(site: Controlled) -> None:
    site.declare("sick", web=web(3))
    spec = site.cluster("sick", web=web(3, image="a2", rollout={"failure_limit": 1}))
    spec["providers"]["sim"]["sick_images"] = ["a2"]
    spec["groups"]["web"]["health"]["grace"] = "500ms"
    site.here.write(spec, file="sick.yml")
    result = site.infra("apply", "sick.yml", "--wait", "--timeout", "60s")
    assert result.code == 1, result
    assert "\nfailed\n  sick/web: the rollout is stopped: 1 new machine failed" in f"\n{result.err}"
    assert "hint: change the file, or use infra rollout undo" in result.err


def test_waiting_ends_with_1_where_another_revision_takes_its_place(site: Controlled, tmp_path: Path) -> None:
    slow = web(2, health={"tcp": 80, "interval": "100ms", "healthy_after": 1000, "grace": "1h"})
    site.here.write(site.cluster("raced", web=slow), file="raced.yml")
    out = tmp_path / "out"
    with site.started("apply", "raced.yml", "--wait", "--json", out=out) as waiting:
        eventually(lambda: "created" in out.read_text(), "the first one is under way")
        assert site.infra("scale", "web=3", "--cluster", "raced").code == 0
        assert waiting.wait(30) == 1
    end = json.loads(out.read_text().splitlines()[-1])
    assert end["end"] == "failed"
    assert end["troubles"] == [{"of": "raced", "reason": "revision 2 has taken the place of 1", "hint": ""}]


def test_waiting_gives_up_after_its_time(site: Controlled) -> None:
    slow = web(1, health={"tcp": 80, "interval": "100ms", "healthy_after": 1000, "grace": "1h"})
    site.here.write(site.cluster("slow", web=slow), file="slow.yml")
    late = site.infra("apply", "slow.yml", "--wait", "--timeout", "1s")
    assert late.code == 1
    assert late.err.startswith("timed out\n  slow")


def test_waiting_can_be_interrupted_and_the_controller_goes_on(site: Controlled, tmp_path: Path) -> None:
    slow = web(1, health={"tcp": 80, "interval": "100ms", "healthy_after": 30, "grace": "1h"})
    site.here.write(site.cluster("left", web=slow), file="left.yml")
    out = tmp_path / "out"
    with site.started("apply", "left.yml", "--wait", out=out) as waiting:
        eventually(lambda: "created" in out.read_text(), "it waits")
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(20) == 130
    assert out.read_text().splitlines()[-1] == "nobody waits here any more; the controller goes on"
    assert site.infra("wait", "--cluster", "left", "--timeout", "60s").code == 0
