"""Whatever is wrong with a file: every mistake with its place, exit code 64, and nothing is made or touched."""

import shutil
from pathlib import Path

import pytest

from tests.cli.forked import start
from tests.cli.shell import ROOT, Result, Shell

BROKEN = ROOT / "tests" / "loading" / "broken"
FILES = sorted(path.name for path in BROKEN.glob("*.yml"))
OWN_PLUGINS = {"machine-review.yml", "plugins.yml", "unknown-keys.yml", "wrong-types.yml"}
"""Their expected messages are those of made-up plugins."""


def run(shell: Shell, *arguments: str) -> Result:
    output = shell.root / "output"
    environment = shell.environment({"TWO": "2", "SECRET": "s3cr3t"})
    process = start(arguments, directory=shell.work, environment=environment, output=output)
    process.join(30)
    assert process.exitcode is not None, "it did not end"
    return Result(process.exitcode, "", output.read_text())


@pytest.mark.parametrize("command", [["validate"], ["apply", "--auto-approve"]], ids=lambda command: command[0])
@pytest.mark.parametrize("file", FILES)
def test_every_mistake_is_shown_and_nothing_is_touched(file: str, command: list[str], shell: Shell) -> None:
    shutil.copytree(BROKEN, shell.work, dirs_exist_ok=True)
    before = shell.tree()
    result = run(shell, *command, file)
    assert result.code == 64, result
    *shown, last = result.err.splitlines()
    assert last == f"{len(shown)} mistake{'s' * (len(shown) != 1)}; nothing was touched"
    if file in OWN_PLUGINS:
        assert shown and all(line.startswith(f"{file}:") for line in shown)
    else:
        assert shown == (BROKEN / file).with_suffix(".expected").read_text().splitlines()
    (shell.root / "output").unlink()
    assert shell.tree() == before


def test_a_broken_file_hinders_a_good_one_beside_it(shell: Shell) -> None:
    shutil.copytree(BROKEN, shell.work, dirs_exist_ok=True)
    shutil.copy(ROOT / "examples" / "quickstart" / "cluster.yml", shell.work / "good.yml")
    result = shell.infra("apply", "--auto-approve", "good.yml", "tab.yml")
    assert result.code == 64
    assert result.err.startswith("tab.yml:")
    assert not shell.state.exists()
    assert not Path(shell.work, ".infrakit").exists()
