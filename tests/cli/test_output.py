"""Output for programs, for closed pipes, for poor terminals, and with --debug."""

import os
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from tests.cli.shell import INFRA, Shell, cluster, db, web


def test_a_plan_as_json(converged: Shell) -> None:
    converged.write(cluster(web=web(image="a2"), db=db()))
    plan = converged.infra("plan", "--json").json
    (shop,) = plan["clusters"]
    assert plan["changes"] is True
    assert (shop["cluster"], shop["summary"]) == ("shop", "+3 create  -3 replace")
    groups = {group["group"]: group for group in shop["groups"]}
    assert groups["web"]["bounds"] == {"count": 3, "max_surge": 1, "max_unavailable": 0, "floor": 3}
    assert groups["web"]["waves"][0]["actions"][0]["action"] == "create"
    assert groups["db"]["waves"] == []


def test_a_plan_as_json_says_what_blocks_it(converged: Shell) -> None:
    converged.write(cluster(web=web(1), db=db()))
    result = converged.infra("plan", "--json")
    assert result.code == 1
    assert "would shrink from 3 to 1" in result.json["clusters"][0]["groups"][0]["block"]


def test_a_status_as_json(converged: Shell) -> None:
    (shop,) = converged.infra("status", "--json").json["clusters"]
    assert shop["converged"] is True
    machines = [machine for group in shop["groups"] for machine in group["machines"]]
    assert sorted(machine["instance"] for machine in machines) == sorted(converged.ids())
    assert {machine["condition"] for machine in machines} == {"ready"}


def test_applying_tells_a_json_object_a_line(shell: Shell) -> None:
    shell.write(cluster(web=web(1)))
    result = shell.infra("apply", "--auto-approve", "--json")
    assert result.code == 0
    plan, *events, end = result.json_lines
    assert plan["summary"] == "+1 create"
    assert [event["event"] for event in events] == ["creating", "created", "waiting", "ready", "converged"]
    assert all(datetime.fromisoformat(event["at"]).tzinfo for event in events)
    assert end == {
        "cluster": "shop",
        "end": "converged",
        "groups": {"web": {"phase": "converged", "reason": "", "hint": ""}},
    }


def test_destroying_tells_a_json_object_a_line(converged: Shell) -> None:
    lines = converged.infra("destroy", "--auto-approve", "--json").json_lines
    told = {(line["event"], line["text"]) for line in lines if "event" in line}
    assert {("destroyed", "web-0"), ("swept", "data disk db-1")} <= told
    assert lines[-1]["end"] == "destroyed"


@pytest.mark.parametrize("command", ["validate", "plan", "apply", "status", "destroy"])
def test_mistakes_as_json_have_their_places(command: str, shell: Shell) -> None:
    text = shell.write(cluster(web={**web(), "sise": 3})).read_text()
    (line,) = [number for number, written in enumerate(text.splitlines(), 1) if "sise" in written]
    result = shell.infra(command, "--json")
    assert result.code == 64
    (error,) = result.json["errors"]
    assert error["file"] == "cluster.yml"
    assert (error["line"], error["column"]) == (line, 5)
    assert "did you mean 'size'?" in error["message"]
    assert result.err == ""


def test_wrong_usage_as_json(shell: Shell) -> None:
    for arguments in (["plan", "--json", "--nope"], ["plan", "--json"], ["plna", "--json"]):
        result = shell.infra(*arguments)
        assert result.code == 64
        assert result.json["errors"][0]["message"]


def test_a_missing_approval_as_json(shell: Shell) -> None:
    shell.write(cluster(web=web()))
    result = shell.infra("apply", "--json")
    assert result.code == 64
    assert "--auto-approve" in result.json_lines[-1]["errors"][0]["hint"]


@pytest.mark.parametrize(
    "command",
    ["plan --full", "schema", "status", "plan --json", "apply --auto-approve", "apply --auto-approve --json"],
)
def test_a_reader_that_goes_away_is_no_accident(command: str, shell: Shell) -> None:
    shell.write(cluster(web=web(400)))
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*INFRA, *command.split()],
        cwd=shell.work,
        env=shell.environment(),
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    os.read(reader, 10)
    os.close(reader)
    _, err = process.communicate(timeout=30)
    assert err == ""
    if "apply" in command:
        assert len(shell.machines()) == 400, "what was approved was not done"


def test_a_log_that_nobody_reads_any_more_does_not_stop_what_was_approved(shell: Shell) -> None:
    shell.write(cluster(web=web(), provider={"boot_time": "500ms"}))
    process = subprocess.Popen(
        [*INFRA, "apply", "--auto-approve", "--debug"],
        cwd=shell.work,
        env=shell.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    process.stderr.close()
    assert process.wait(30) == 0
    assert len(shell.machines()) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_below_the_output_does_not_stop_what_was_approved(shell: Shell) -> None:
    shell.write(cluster(web=web()))
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(
            [*INFRA, "apply", "--auto-approve"],
            cwd=shell.work,
            env={**shell.environment(), "PYTHONUNBUFFERED": ""},
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Traceback" not in err


def test_an_encoding_that_lacks_a_character_shows_another(shell: Shell) -> None:
    shell.write(cluster(web=web()))
    result = shell.infra("plan", environment={"PYTHONIOENCODING": "koi8-r"})
    assert result.code == 0
    assert "3 ? a1" in result.out


def test_there_are_no_colours_where_there_is_no_terminal(converged: Shell) -> None:
    converged.write(cluster(web=web(1), db=db()))
    for command in ("plan", "status", "apply", "doctor"):
        result = converged.infra(command)
        assert "\x1b" not in result.out + result.err


def test_an_error_is_one_line_and_with_debug_a_traceback_too(converged: Shell) -> None:
    plain = converged.infra("plan", "--group", "nope")
    assert plain.err == "error: no group 'nope' in cluster shop (there are web, db)\n"
    debug = converged.infra("plan", "--group", "nope", "--debug")
    assert debug.code == plain.code
    assert "Traceback (most recent call last)" in debug.err
    assert debug.err.endswith(plain.err)
    assert converged.infra("plan", "--group", "nope", environment={"INFRAKIT_DEBUG": "1"}).err == debug.err


def test_with_debug_what_was_changed_is_logged(shell: Shell) -> None:
    shell.write(cluster(web=web(1)))
    err = shell.infra("apply", "--auto-approve", "--debug").err
    assert 'level=info event=created cluster=shop group=web machine=web-0 why="0 of 1 wanted"' in err
