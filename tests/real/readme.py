"""The commands of a README, and what it says that they print: a promise that a test can hold it to."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.real.operator import APPLY_SECONDS, Operator

_CONSOLE: Final = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT: Final = "$ "
_WHATEVER: Final = "…"


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and lines that it prints in this order, perhaps others between them. `…` stands for any text."""

    command: str
    expected: tuple[str, ...]

    def missing_from(self, printed: str) -> str | None:
        """Return the first expected line that was not printed; None where all were."""
        lines = iter(printed.splitlines())
        for expected in self.expected:
            pattern = re.compile(".*".join(map(re.escape, expected.rstrip().split(_WHATEVER))))
            if not any(pattern.fullmatch(line.rstrip()) for line in lines):
                return expected
        return None


def read_steps(readme: Path) -> Iterator[Step]:
    """Yield the commands after `$ ` in the blocks that are marked as `console`, with the lines that follow them."""
    for block in _CONSOLE.findall(readme.read_text()):
        for part in f"\n{block}".split(f"\n{_PROMPT}")[1:]:
            command, *rest = re.split(r"(?<!\\)\n", part)
            yield Step(command, tuple(line for line in rest if line.strip() and line.strip() != _WHATEVER))


def follow(operator: Operator, readme: Path) -> Iterator[Step]:
    """Run the commands of a README one after the other, beside the cluster file; each is yielded before it runs.

    What it must print is what the README says that it prints.
    """
    for step in read_steps(readme):
        yield step
        done = operator.host.run(
            ["sh", "-c", f"exec 2>&1\n{step.command}"],
            env=operator.environment,
            cwd=operator.directory,
            check=False,
            timeout=APPLY_SECONDS,
        )
        print(f"$ {step.command}", done.stdout, sep="\n")
        assert done.returncode == 0, f"{step.command}: exit {done.returncode}\n{done.stdout}"
        assert (missing := step.missing_from(done.stdout)) is None, f"{step.command}: does not say {missing!r}"
