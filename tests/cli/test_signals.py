"""Interrupted, told to end, out of time: what was done stays done, and repeating goes on from there."""

import signal
import subprocess
import time

import pytest

from tests.cli.shell import Shell, cluster, db, eventually, web


def end(process: "subprocess.Popen[str]", seconds: float = 15.0) -> tuple[int, str]:
    _, err = process.communicate(timeout=seconds)
    return process.returncode, err


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)], ids=lambda number: number.name
)
def test_a_signal_in_mid_rollout_ends_it_and_repeating_converges(number: signal.Signals, converged: Shell) -> None:
    before = set(converged.ids())
    converged.write(cluster(web=web(image="a2"), db=db(image="a2"), provider={"boot_time": "500ms"}))
    process = converged.start("apply", "--auto-approve")
    eventually(lambda: not set(converged.ids()) <= before, "the rollout begins")
    process.send_signal(number)
    code, err = end(process)
    assert code == 130
    assert "stopping at the next safe point; again to stop at once" in err
    assert "shop: interrupted" in err
    assert "of 3 current and ready" in err
    assert "run the same command again to go on from here" in err
    assert "Traceback" not in err
    result = converged.infra("apply", "--auto-approve")
    assert result.code == 0, result
    assert len({machine.image for machine in converged.machines()}) == 1
    assert len(converged.machines()) == 6


def test_a_call_that_was_begun_is_waited_for(shell: Shell) -> None:
    shell.write(cluster(web=web(), provider={"provision_delay": "2s"}))
    process = shell.start("apply", "--auto-approve")
    _wait_for_the_call(process)
    process.send_signal(signal.SIGINT)
    assert end(process)[0] == 130
    assert shell.names() == ["web-0", "web-1", "web-2"]


def test_a_second_signal_ends_it_at_once(shell: Shell) -> None:
    shell.write(cluster(web=web(), provider={"provision_delay": "60s"}))
    process = shell.start("apply", "--auto-approve")
    _wait_for_the_call(process)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert end(process, seconds=3)[0] == 130


def test_waiting_for_a_call_takes_no_processor(shell: Shell) -> None:
    shell.write(cluster(web=web(), provider={"provision_delay": "2s"}))
    process = shell.start("apply", "--auto-approve")
    _wait_for_the_call(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    before = _processor_seconds(process.pid)
    time.sleep(1.0)
    assert _processor_seconds(process.pid) - before < 0.3
    assert end(process)[0] == 130


def test_time_that_runs_out_fails_and_says_what_is_left(shell: Shell) -> None:
    shell.write(cluster(web=web(), provider={"boot_time": "30s"}))
    result = shell.infra("apply", "--auto-approve", "--timeout", "300ms")
    assert result.code == 1
    assert "shop: timed out" in result.err
    assert "web: web-0, web-1, web-2 starting: not running yet (0 of 3 current and ready)" in result.err
    assert "run the same command again to go on from here" in result.err


def test_time_that_runs_out_is_told_as_json(shell: Shell) -> None:
    shell.write(cluster(web=web(), provider={"boot_time": "30s"}))
    result = shell.infra("apply", "--auto-approve", "--json", "--timeout", "300ms")
    assert result.code == 1
    end = result.json_lines[-1]
    assert (end["end"], end["groups"]["web"]["phase"]) == ("timed out", "working")


@pytest.mark.parametrize("written", ["30", "soon", "-1s"])
def test_a_timeout_needs_a_unit(written: str, shell: Shell) -> None:
    shell.write(cluster(web=web()))
    result = shell.infra("apply", "--auto-approve", f"--timeout={written}")
    assert result.code == 64
    assert "--timeout" in result.err
    assert shell.machines() == []


def test_destroying_may_be_interrupted_and_repeated(converged: Shell) -> None:
    converged.write(cluster(web=web(), db=db(), provider={"destroy_time": "2s"}))
    process = converged.start("destroy", "--auto-approve")
    eventually(lambda: converged.machines() == [], "the destruction begins")
    process.send_signal(signal.SIGINT)
    code, err = end(process)
    assert code == 130
    assert "run the same command again" in err
    assert converged.infra("destroy", "--auto-approve").code == 0
    with converged.cloud() as cloud:
        assert cloud.leftovers("shop") == ([], [])


def _wait_for_the_call(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    while "creating" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.5)  # it is told just before; a stop in between is heeded at once


def _processor_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
