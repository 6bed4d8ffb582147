"""`infra apply` is killed with SIGKILL at random moments, again and again; then it is let finish."""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.faults import Fault
from tests.cli.shell import INFRA, Shell, cluster, db, web

pytestmark = [pytest.mark.crash, pytest.mark.slow]

KILLS = 50
SEED = 7
START_SECONDS = 0.7
"""An apply does nothing to the world before it has been imported and has read its files."""


def kill_apply(shell: Shell, chance: random.Random) -> bool:
    """Begin an apply and kill it somewhere in its life; tell whether it was still alive."""
    process = subprocess.Popen(
        [*INFRA, "apply", "--auto-approve", "--allow-mass-destroy"],
        cwd=shell.work,
        env=shell.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(START_SECONDS * chance.uniform(0.8, 1.0) + chance.expovariate(1 / 0.6))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def declared(chance: random.Random) -> dict[str, Any]:
    """Change what is wanted, and how the cloud behaves."""
    provider: dict[str, Any] = {"boot_time": "150ms", "provision_delay": chance.choice(["0s", "150ms"])}
    provider["listing_lag"] = chance.choice(["0s", "0s", "400ms"])
    image = chance.choice(["a1", "a2", "a3"])
    return cluster(
        provider=provider,
        web=web(chance.choice([2, 3, 4]), image=image, rollout={"max_surge": chance.choice([1, 2])}),
        db=db("db-1", "db-2", image=chance.choice(["a1", "a2"])),
    )


def check(shell: Shell, wanted: dict[str, Any], disks: dict[str, str | None]) -> None:
    """Everything that is declared is there, once, and nothing else."""
    machines = shell.machines()
    names = {f"web-{m.tags['infrakit.slot']}" if "infrakit.logical_id" not in m.tags else m.name for m in machines}
    assert len(names) == len(machines), "a slot is filled twice"
    by_group = {name: [m for m in machines if m.tags["infrakit.group"] == name] for name in wanted["groups"]}
    assert sum(map(len, by_group.values())) == len(machines), "a machine of no group"
    assert len(by_group["web"]) == wanted["groups"]["web"]["size"]
    assert sorted(m.name for m in by_group["db"]) == ["db-1", "db-2"]
    status = shell.infra("status", "--json").json["clusters"][0]
    assert status["converged"]
    assert {m["version"] for g in status["groups"] for m in g["machines"]} == {"current"}
    now = {m.name: m.disk for m in by_group["db"]}
    assert not disks or now == disks, "a named member lost its data disk"
    disks.update(now)


def test_fifty_kills_leave_exactly_what_is_declared(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    shell = Shell(tmp_path)
    shell.work.mkdir()
    killed, disks, wanted = 0, {}, declared(chance)  # type: ignore[var-annotated]
    shell.write(wanted)
    while killed < KILLS:
        if chance.random() < 0.5:
            wanted = declared(chance)
            shell.write(wanted)
        if shell.database.exists() and chance.random() < 0.2:
            with shell.cloud() as cloud:
                cloud.fail(chance.choice([Call.PROVISION, Call.DESTROY]), Fault.LOST_REPLY)
        killed += kill_apply(shell, chance)
        if chance.random() < 0.15:
            shutil.rmtree(shell.state, ignore_errors=True)
        if killed % 10 == 0:
            done = shell.infra("apply", "--auto-approve", "--allow-mass-destroy")
            assert done.code == 0, done
            check(shell, wanted, disks)
    assert shell.infra("destroy", "--auto-approve").code == 0
    assert shell.machines() == []
    print(f"{killed} kills, seed {SEED}", file=sys.stderr)
