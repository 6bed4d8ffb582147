"""Runs the real controller for minutes while everything changes, and says whether it missed or gathered anything.

Files are changed, machines killed, the controller reads all anew (SIGHUP), is killed (kill -9) and begun again. Now
and then nothing is done for a moment: then the cloud must become what the files declare.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from tests.cli.shell import Shell
from tests.soak.running import Running, Sample
from tests.soak.town import Town
from tests.soak.verdict import Verdict, judge

CLUSTERS: Final = 5
GROUPS: Final = 4
_ROUND_SECONDS: Final = 30.0
_SETTLES_WITHIN_SECONDS: Final = 90.0
_LINES_SHOWN: Final = 40
_KILLED_AFTER: Final = 0.25
"""The share of the time after which the controller is killed."""


class Soak:
    """One run."""

    def __init__(self, directory: Path, minutes: float, seed: int) -> None:
        self.chance = Random(seed)
        self.shell = Shell(directory)
        self.town = Town(self.shell, CLUSTERS, GROUPS, self.chance)
        self.running = Running(self.shell, [f"town{number}.yml" for number in range(CLUSTERS)])
        self.seconds = minutes * 60.0
        self.began = time.monotonic()
        self.samples: list[Sample] = []
        self.resting: list[Sample] = []
        self.changes = 0
        self.kills = 0
        self.longest_seconds = 0.0

    def run(self) -> Verdict:
        self.running.begin()
        try:
            self._settle()
            killed = False
            while self._elapsed() < self.seconds:
                self._stir()
                if not killed and self._elapsed() > self.seconds * _KILLED_AFTER:
                    killed = True
                    self._say("kill -9, and begin again")
                    self.running.kill()
                    self.town.change()
                    self.running.begin()
                self._settle()
            code = self.running.stop()
        finally:
            if self.running.lives:
                self.running.kill()
        return judge(self.samples, self.resting, code, self.running.complaints)

    def _stir(self) -> None:
        """Change files and kill machines for a while."""
        ends_at = time.monotonic() + _ROUND_SECONDS
        reloads_at = time.monotonic() + self.chance.uniform(0.0, _ROUND_SECONDS)
        while (now := time.monotonic()) < ends_at:
            if self.chance.random() < 0.3:
                self.town.change()
                self.changes += 1
            if self.chance.random() < 0.2:
                self._kill_a_machine()
            if now >= reloads_at:
                reloads_at = ends_at
                self.running.reload()
            self._sample()
            time.sleep(1.0)

    def _kill_a_machine(self) -> None:
        machines = self.shell.machines()
        if machines:
            command = [sys.executable, "-m", "infrakit_providers.simulated", str(self.shell.database), "kill"]
            victim = self.chance.choice(machines).id
            killed = subprocess.run(
                [*command, victim], env=self.shell.environment(), capture_output=True, check=False
            )
            self.kills += not killed.returncode  # it may be gone by then

    def _settle(self) -> None:
        """Wait until the cloud is as declared. SystemExit with the differences where it does not become so."""
        began = time.monotonic()
        while (differences := self._differences()) and time.monotonic() < began + _SETTLES_WITHIN_SECONDS:
            self._sample()
            time.sleep(0.5)
        if differences:
            raise SystemExit(f"MISSED after {_SETTLES_WITHIN_SECONDS:.0f}s:\n" + "\n".join(self._told(differences)))
        self.town.bury()
        took = time.monotonic() - began
        self.longest_seconds = max(self.longest_seconds, took)
        self.resting.append(self.running.sample(self.began))
        rests = self.resting[-1]
        self._say(
            f"as declared after {took:.1f}s: {self.changes} changes, {self.kills} machines killed; "
            f"{rests.rss_mib:.1f} MiB, {rests.descriptors} descriptors, {rests.threads} threads, "
            f"{rests.files} files of {rests.state_mib:.1f} MiB"
        )

    def _told(self, differences: Mapping[tuple[str, str], str]) -> Iterator[str]:
        for place, text in differences.items():
            yield f"{'/'.join(place)}: {text}"
            yield from self.running.said_of(*place)[-_LINES_SHOWN:]

    def _differences(self) -> Mapping[tuple[str, str], str]:
        if not self.running.lives:
            raise SystemExit("the controller has ended:\n" + "\n".join(self.running.complaints[-20:]))
        return self.town.differences()

    def _sample(self) -> None:
        if self.running.lives:
            self.samples.append(self.running.sample(self.began))

    def _elapsed(self) -> float:
        return time.monotonic() - self.began

    def _say(self, text: str) -> None:
        print(f"{self._elapsed():6.0f}s  {text}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="what is changed and killed, and in which order")
    options = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="soak-") as directory:
        soak = Soak(Path(directory), options.minutes, options.seed)
        verdict = soak.run()
    print(verdict.table)
    events = ", ".join(f"{count} {event}" for event, count in sorted(soak.running.events.items()))
    print(
        f"{soak.changes} changes and {soak.kills} deaths, each time as declared within {soak.longest_seconds:.0f}s; "
        f"{soak.running.life} lives; events: {events}"
    )
    for failure in verdict.failures:
        print(f"FAILED  {failure}")
    return 1 if verdict.failures else 0


if __name__ == "__main__":
    sys.exit(main())
