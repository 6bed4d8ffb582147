"""`infra apply` is killed with SIGKILL at random moments of its work, again and again; then it is let finish."""

import random
import shutil
import time
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.faults import Fault
from tests.cli.forked import start
from tests.cli.shell import TIMEOUT_SECONDS, Shell, cluster, db, web

pytestmark = [pytest.mark.crash, pytest.mark.slow]

SEED = 7
NAMES = ("db-1", "db-2", "db-3")
LAG_SECONDS = 0.3
APPLY = ("apply", "--auto-approve", "--allow-mass-destroy")


class Operator:
    """Somebody who edits, applies and kills."""

    def __init__(self, shell: Shell, chance: random.Random) -> None:
        self.shell = shell
        self.chance = chance
        self.output = shell.root / "output"
        self.life_seconds = 0.5
        self.wanted: dict[str, Any] = {}
        self.disks: dict[str, str | None] = {}
        self.kills = 0
        self.surplus_may_pass = False

    def edit(self) -> None:
        """Change what is wanted, and how the cloud behaves: an image, a size, or both."""
        choose = self.chance.choice
        before = self.wanted.get("groups", {"web": {"size": 3, "image": "a1"}, "db": {"image": "a1"}})
        size, image = before["web"]["size"], before["web"]["image"]
        what = choose(["size", "image", "both"])
        provider = {
            "boot_time": {"min": "20ms", "max": "80ms"},
            "provision_delay": choose(["0s", "60ms"]),
            "listing_lag": choose(["0s", "0s", f"{LAG_SECONDS}s"]),
            "destroy_time": choose(["0s", "50ms"]),
        }
        health = {"tcp": 80, "interval": "50ms", "grace": "30s"}
        self.wanted = cluster(
            provider=provider,
            web=web(
                choose([2, 3, 4, 5]) if what != "image" else size,
                choose(["a1", "a2", "a3"]) if what != "size" else image,
                health=health,
                rollout={"max_surge": choose([1, 2]), "max_unavailable": choose([0, 1])},
            ),
            db=db(*NAMES, image=choose(["a1", "a2"]) if what != "size" else before["db"]["image"], health=health),
        )
        self.shell.write(self.wanted)

    def lose_a_reply(self) -> None:
        with self.shell.cloud() as cloud:
            cloud.fail(self.chance.choice([Call.PROVISION, Call.DESTROY, Call.TAG]), Fault.LOST_REPLY)

    def lose_the_state(self) -> None:
        shutil.rmtree(self.shell.state, ignore_errors=True)
        self.surplus_may_pass = True

    def apply_and_kill(self) -> None:
        """Begin an apply and kill it anywhere in its life, as long as that was when it was last let live."""
        began = time.monotonic()
        process = self._start(*APPLY)
        process.join(self.chance.uniform(0.0, self.life_seconds))
        if process.exitcode is None:
            process.kill()
            process.join()
            self.kills += 1
        else:
            self.life_seconds = max(0.3, time.monotonic() - began)

    def apply(self) -> None:
        """Let an apply finish, and look at the world."""
        began = time.monotonic()
        assert self._run(*APPLY) == 0, self.output.read_text()
        self.life_seconds = max(0.3, time.monotonic() - began)
        if self.surplus_may_pass:
            # Nobody remembered what was asked for and not listed yet: the cost is a surplus that passes.
            time.sleep(LAG_SECONDS)
            assert self._run(*APPLY) == 0, self.output.read_text()
            self.surplus_may_pass = False
        assert self._run("plan", "--detailed-exitcode") == 0, self.output.read_text()
        self._check(self.wanted["groups"])

    def _check(self, groups: Mapping[str, Any]) -> None:
        """Everything that is declared is there, once, on its image, and nothing else."""
        machines = self.shell.machines()
        by_group = {name: [m for m in machines if m.tags["infrakit.group"] == name] for name in groups}
        assert sum(map(len, by_group.values())) == len(machines), "a machine of no group"
        assert len({(m.tags["infrakit.group"], m.tags["infrakit.slot"]) for m in machines}) == len(machines)
        assert len(by_group["web"]) == groups["web"]["size"]
        assert sorted(m.name for m in by_group["db"]) == list(NAMES)
        for name, members in by_group.items():
            assert len({m.image for m in members}) == 1, f"{name} is on several images"
        disks = {m.name: m.disk for m in by_group["db"]}
        assert not self.disks or disks == self.disks, "a named member lost its data disk"
        self.disks = disks

    def _run(self, *arguments: str) -> int | None:
        process = self._start(*arguments)
        process.join(TIMEOUT_SECONDS)
        return process.exitcode

    def _start(self, *arguments: str) -> ForkServerProcess:
        self.output.unlink(missing_ok=True)
        environment = self.shell.environment()
        return start(arguments, directory=self.shell.work, environment=environment, output=self.output)


@pytest.mark.parametrize("kills", [8, pytest.param(50, marks=pytest.mark.long)])
def test_any_number_of_kills_leaves_exactly_what_is_declared(tmp_path: Path, kills: int) -> None:
    shell = Shell(tmp_path)
    shell.work.mkdir()
    chance = random.Random(SEED)
    operator = Operator(shell, chance)
    operator.edit()
    operator.apply()
    round_ = 0
    while operator.kills < kills:
        round_ += 1
        operator.edit()
        if chance.random() < 0.4:
            operator.lose_a_reply()
        for _ in range(chance.choice([1, 1, 2, 3])):
            operator.apply_and_kill()
            if chance.random() < 0.15:
                operator.lose_the_state()
        if round_ % 2 == 0:
            operator.apply()
    operator.apply()
    assert shell.infra("destroy", "--auto-approve").code == 0
    assert shell.machines() == []
    with shell.cloud() as cloud:
        assert cloud.leftovers("shop") == ([], [])
