"""The state directory: it may be lost, damaged, held or unwritable, and says so clearly where that matters."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import INFRA, Shell, cluster, db, eventually, web

SLOW: dict[str, Any] = {"provider": {"boot_time": "30s"}}


@pytest.fixture
def working(shell: Shell) -> Iterator[Shell]:
    """A terminal beside one where an apply is at work, and will be for a while."""
    shell.write(cluster(web=web(1), **SLOW))
    process = shell.start("apply", "--auto-approve")
    eventually(lambda: len(shell.machines()) == 1, "the other apply creates its machine")
    (shell.root / "pid").write_text(str(process.pid))
    yield shell
    process.kill()
    process.communicate()


@pytest.mark.parametrize("command", ["apply", "destroy"])
def test_a_second_change_of_the_same_cluster_is_refused_with_the_first_one_s_pid(
    command: str, working: Shell
) -> None:
    working.write(cluster(web=web(5), **SLOW))
    before = working.ids()
    result = working.infra(command, "--auto-approve")
    assert result.code == 1
    pid = (working.root / "pid").read_text()
    assert f"cluster shop is being changed by another process (pid {pid})" in result.err
    assert working.ids() == before


def test_looking_and_other_clusters_are_not_held_up_by_a_change(working: Shell) -> None:
    assert working.infra("plan").code == 0
    assert working.infra("status").code == 0
    working.write(cluster("other", web=web(1)), file="other.yml")
    assert working.infra("apply", "--auto-approve", "other.yml").code == 0


def test_trap_8_what_a_killed_process_left_behind_keeps_nobody_out(shell: Shell) -> None:
    shell.write(cluster(web=web(1), **SLOW))
    process = shell.start("apply", "--auto-approve")
    eventually(lambda: len(shell.machines()) == 1, "the apply creates its machine")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (shell.state / "shop.lock").read_text() == f"{process.pid}\n"
    shell.write(cluster(web=web(2)))
    assert shell.infra("plan").code == 0
    with shell.cloud() as cloud:
        cloud.stop(shell.ids()[0])
    result = shell.infra("apply", "--auto-approve")
    assert result.code == 0, result
    assert len(shell.machines()) == 2


def test_trap_5_a_file_with_a_mistake_is_not_stored(converged: Shell) -> None:
    before = converged.tree()
    path = converged.write(cluster(web=web(size=-1), db=db()))
    assert converged.infra("apply", "--auto-approve").code == 64
    after = converged.tree()
    assert {**after, "work/cluster.yml": b""} == {**before, "work/cluster.yml": b""}
    path.write_bytes(before["work/cluster.yml"])
    assert converged.infra("plan", "--detailed-exitcode").code == 0


def test_a_state_directory_that_was_deleted_costs_no_machine(converged: Shell) -> None:
    before = converged.ids()
    shutil.rmtree(converged.state)
    assert converged.infra("apply", "--auto-approve").code == 0
    assert converged.ids() == before


@pytest.mark.parametrize("command", ["plan", "status", "apply --auto-approve", "destroy --auto-approve"])
def test_a_damaged_state_file_is_named_with_a_way_out(command: str, converged: Shell) -> None:
    before = converged.ids()
    (converged.state / "state.db").write_bytes(b"this is no database " * 500)
    result = converged.infra(*command.split())
    assert result.code == 1
    assert f"{converged.state}/state.db: file is not a database" in result.err
    assert "may simply be deleted" in result.err
    assert converged.ids() == before


@pytest.mark.parametrize("content", [b"", None], ids=["empty file", "empty directory"])
def test_a_state_that_was_never_written_is_no_damage(content: bytes | None, converged: Shell) -> None:
    shutil.rmtree(converged.state)
    converged.state.mkdir()
    if content is not None:
        (converged.state / "state.db").write_bytes(content)
    assert converged.infra("plan", "--detailed-exitcode").code == 0
    assert converged.infra("apply", "--auto-approve").code == 0


@pytest.mark.parametrize("directory", ["/proc/state", "cluster.yml/state"], ids=["unwritable", "below a file"])
def test_where_no_state_can_be_written_looking_works_and_changing_says_why(directory: str, converged: Shell) -> None:
    environment = {"INFRAKIT_STATE_DIR": directory}
    assert converged.infra("plan", "--detailed-exitcode", environment=environment).code == 0
    assert converged.infra("status", environment=environment).code == 0
    result = converged.infra("apply", "--auto-approve", environment=environment)
    assert result.code == 1
    assert f"cannot use {directory}/state.db" in result.err
    assert "set INFRAKIT_STATE_DIR" in result.err


def test_a_state_directory_that_cannot_be_read_is_named(converged: Shell) -> None:
    for command in ("plan", "apply"):
        result = converged.infra(command, environment={"INFRAKIT_STATE_DIR": "x" * 300})
        assert result.code == 1
        assert "File name too long" in result.err
        assert "Traceback" not in result.err


def test_a_read_only_state_directory_does_not_hinder_looking(converged: Shell) -> None:
    converged.state.chmod(0o500)
    without = [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
    if not shutil.which("setpriv") or subprocess.run([*without, "true"], capture_output=True).returncode:
        pytest.skip("root cannot give up its right to write everywhere")
    for command in ("plan", "status"):
        command_line = [*without, *INFRA, command]
        done = subprocess.run(command_line, cwd=converged.work, env=converged.environment(), capture_output=True)
        assert done.returncode == 0, done.stderr
    converged.state.chmod(0o700)


def test_state_lives_below_the_home_directory_by_default(shell: Shell) -> None:
    shell.write(cluster(web=web(1)))
    assert shell.infra("apply", "--auto-approve", environment={"INFRAKIT_STATE_DIR": ""}).code == 0
    assert Path(shell.root, "home", ".local", "state", "infrakit-py", "state.db").exists()
    elsewhere = {"INFRAKIT_STATE_DIR": "", "XDG_STATE_HOME": str(shell.root / "xdg")}
    assert shell.infra("apply", "--auto-approve", environment=elsewhere).code == 0
    assert Path(shell.root, "xdg", "infrakit-py", "state.db").exists()
