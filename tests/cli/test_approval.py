"""Nothing is done that was not shown and approved, and nothing at all where one of several clusters cannot be."""

import subprocess
import sys

import pytest

from infrakit_providers.simulated.buckets import Call
from infrakit_providers.simulated.faults import Fault
from tests.cli.shell import Shell, cluster, web

BLIND_FOR_A_WHILE = """
import sys
from infrakit_providers.simulated.provider import SimulatedProvider
from infrakit_py.errors import Throttled
real, asked = SimulatedProvider.describe, [0]
def describe(self, cluster):
    asked[0] += 1
    if 2 <= asked[0] <= 7:
        raise Throttled("describe: over the limit")
    return real(self, cluster)
SimulatedProvider.describe = describe
sys.argv = ["infra", *sys.argv[1:]]
from infrakit_py.cli import main
main()
"""


def test_what_the_plan_could_not_see_is_not_acted_upon(shell: Shell) -> None:
    shell.write(cluster(web=web()))
    with shell.cloud() as cloud:
        cloud.fail(Call.DESCRIBE, Fault.TRANSIENT, 9)
    result = shell.infra("apply", "--auto-approve")
    assert result.code == 1
    assert "timed out" in result.err
    assert shell.machines() == []


@pytest.mark.parametrize("command", [["destroy", "--keep-data"], ["apply"]], ids=" ".join)
def test_nothing_is_done_unasked_after_a_look_that_failed(command: list[str], converged: Shell) -> None:
    before = converged.ids()
    script = converged.work / "blind.py"
    script.write_text(BLIND_FOR_A_WHILE)
    converged.write(cluster(web=web(5)))
    done = subprocess.run(
        [sys.executable, str(script), *command],
        cwd=converged.work,
        env=converged.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (1, 64)
    assert converged.ids() == before


@pytest.mark.parametrize("command", ["apply", "destroy"])
def test_a_group_that_one_cluster_lacks_stops_all_before_the_first(command: str, shell: Shell) -> None:
    shell.write(cluster("one", web=web()), file="a.yml")
    shell.write(cluster("two", api=web()), file="b.yml")
    result = shell.infra(command, "a.yml", "b.yml", "--group", "web", "--auto-approve")
    assert result.code == 64
    assert shell.machines() == []
