"""Deliberate bugs, each put into a copy of the program, to see that the simulation finds every one of them.

A bug that nobody would find says that an invariant or a fault is missing here.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

_ROOT: Final = Path(__file__).parents[2]
_COPIED: Final = ("infrakit_py", "groups", "providers", "tests")
_POLICIES: Final = "groups/infrakit_groups/policies"
_ENGINE: Final = "infrakit_py/engine"
_DAYS: Final = 12
_FOUND: Final = re.compile(r"FAILED seed (\d+): (.*) \(\d+ steps")


@dataclass(frozen=True, slots=True)
class Mutation:
    """A bug: in `file`, `old` (which is there once) becomes `new`. `hours`: it is looked for in runs of so many."""

    name: str
    file: str
    old: str
    new: str
    hours: float = 0.0


MUTATIONS: Final[Sequence[Mutation]] = (
    Mutation(
        "the floor is one too low",
        f"{_POLICIES}/bounds.py",
        "floor=max(0, count - unavailable)",
        "floor=max(0, count - unavailable - 1)",
    ),
    Mutation(
        "what is in flight takes no room",
        f"{_POLICIES}/rollout.py",
        "self.bounds.surge - present - len(roster.in_flight)",
        "self.bounds.surge - present",
    ),
    Mutation(
        "protection is not seen",
        "infrakit_py/model/instance.py",
        "return tags.is_protected(self.instance.tags)",
        "return False",
    ),
    Mutation(
        "steps do not hold a rollout",
        f"{_POLICIES}/gate.py",
        "cap = inf if step >= desired.count else step",
        "cap = inf",
    ),
    Mutation(
        "the budget forgets the other groups",
        f"{_ENGINE}/budget.py",
        "if name != group))",
        "if name == ''))",
    ),
    Mutation(
        "the mark of a drain is forgotten",
        f"{_POLICIES}/classify.py",
        "if member.draining_since is not None:",
        "if member.draining_since is not None and member.drained:",
    ),
    Mutation(
        "the quorum is off by one",
        f"{_POLICIES}/quorum.py",
        "min(count // 2 + 1, max(0, count - 1))",
        "min(count // 2, max(0, count - 1))",
    ),
    Mutation(
        "tokens depend on the revision",
        f"{_ENGINE}/execute.py",
        "tags.token(desired.cluster, desired.group, action.slot, action.incarnation)",
        "tags.token(f'{desired.cluster}{self.cluster.revision}', desired.group, action.slot, action.incarnation)",
    ),
    Mutation(
        "a listing that fails is taken for an empty one",
        f"{_ENGINE}/listings.py",
        "        for instance in retrying(self._clock, self._chance, timed_describe):\n",
        "        try:\n"
        "            instances = retrying(self._clock, self._chance, timed_describe)\n"
        "        except InfrakitError:\n"
        "            instances = []\n"
        "        for instance in instances:\n",
    ),
    Mutation(
        "a listing from before the last action is trusted",
        f"{_ENGINE}/listings.py",
        "known.turn > after_turn and 0",
        "0",
    ),
    Mutation(
        "a name is given again while its machine is leaving",
        f"{_POLICIES}/named.py",
        "        if assessed.member.logical_id is not None:",
        "        if assessed.member.logical_id is not None and assessed.condition is not Condition.LEAVING:",
    ),
    Mutation(
        "unknown health counts as not serving",
        f"{_POLICIES}/leaving.py",
        "may_serve = serves or victim.condition is Condition.UNKNOWN",
        "may_serve = serves",
    ),
    Mutation(
        "groups at rest list for themselves",
        f"{_ENGINE}/engine.py",
        "course.listed_seconds - _INSTANT_SECONDS if idles else 0.0",
        "0.0",
        hours=24.0,
    ),
    Mutation(
        "groups at rest trust old listings",
        f"{_ENGINE}/engine.py",
        "course.listed_seconds - _INSTANT_SECONDS if idles else 0.0",
        "3600.0 if idles else 0.0",
        hours=24.0,
    ),
    Mutation(
        "what machines answer is not heeded by groups at rest",
        f"{_ENGINE}/reconcile.py",
        "not (plan.converged and observation.all_well)",
        "not plan.converged",
        hours=24.0,
    ),
    Mutation(
        "machines that are no more are remembered for ever",
        f"{_ENGINE}/health.py",
        "or now - self._blind_at >= _LEFT_OVER_SECONDS",
        "",
        hours=24.0,
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/mutate-simulation", description="Put bugs into copies of the program and let seeds find them."
    )
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds each bug has to be found by")
    parser.add_argument("--only", default="", help="bugs whose name contains this")
    options = parser.parse_args(arguments)
    chosen = [mutation for mutation in MUTATIONS if options.only in mutation.name]
    missed = 0
    for mutation in chosen:
        began = time.monotonic()
        found = _hunt(mutation, options.seeds)
        missed += not found
        seconds = time.monotonic() - began
        print(f"{'found' if found else 'MISSED'}  {mutation.name}: {found or 'no seed'} ({seconds:.0f}s)", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} found")
    return 1 if missed else 0


def _hunt(mutation: Mutation, seeds: int) -> str:
    """Return the seed that finds a bug and what it says; empty if none does."""
    with TemporaryDirectory(prefix="mutant-") as directory:
        copy = Path(directory)
        for name in _COPIED:
            shutil.copytree(_ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        _apply(mutation, copy / mutation.file)
        command = [sys.executable, "-m", "tests.simulation", "--seeds", str(seeds), "--stop"]
        if mutation.hours:
            command += ["--hours", f"{mutation.hours:g}", "--seeds", str(_DAYS)]
        path = os.pathsep.join(str(copy / part) for part in (".", "providers", "groups"))
        ended = subprocess.run(
            command, cwd=copy, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
    if ended.returncode not in (0, 1):
        raise RuntimeError(f"{mutation.name}: the simulation did not run: {ended.stderr[-2000:]}")
    told = _FOUND.search(ended.stdout)
    return f"seed {told[1]}: {told[2]}" if told else ""


def _apply(mutation: Mutation, file: Path) -> None:
    text = file.read_text()
    if text.count(mutation.old) != 1:
        raise RuntimeError(f"{mutation.name}: {file.name} has {text.count(mutation.old)} places to change, not one")
    file.write_text(text.replace(mutation.old, mutation.new))


if __name__ == "__main__":
    sys.exit(main())
