"""Other processes on the same simulated cloud: `python -m tests.simulated.processes JOB DIRECTORY NUMBER`."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

from infrakit_py.clock import SystemClock
from infrakit_py.model import tags
from infrakit_py.spi.provider import DestroyRequest
from tests.simulated.worlds import World, open_world, request

CAPACITY = 60
DATABASE = "cloud/simulated.db"


def start(job: str, directory: Path, number: int = 0) -> "subprocess.Popen[str]":
    """Start a process that does a job."""
    command = [sys.executable, "-m", __name__, job, str(directory), str(number)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def open_shared(directory: Path) -> World:
    return open_world({"zones": {"a": CAPACITY}}, path=directory / DATABASE, clock=SystemClock())


def same_tokens(world: World, number: int) -> None:
    """Provision the machines that all the others provision too, and print their ids."""
    del number
    for start_at in range(0, 50, 5):
        print(*world.boot(*range(start_at, start_at + 5)), sep="\n")


def churn(world: World, number: int) -> None:
    """Provision and destroy for ever; begin with a line that says so."""
    print("begun", flush=True)
    for incarnation in itertools.count():
        wanted = [request(slot, group=f"g{number}", incarnation=incarnation, user_data=b"x") for slot in range(12)]
        world.provider.provision(wanted)
        mine = [one.id for one in world.provider.describe("c") if one.tags[tags.GROUP] == f"g{number}"]
        world.provider.destroy([DestroyRequest(id_, "c", f"g{number}") for id_ in mine[3:]])


if __name__ == "__main__":
    shared = open_shared(Path(sys.argv[2]))
    {"same_tokens": same_tokens, "churn": churn}[sys.argv[1]](shared, int(sys.argv[3]))
    shared.provider.close()
