"""How long commands take to start: `python bench/startup.py`. User CPU time, best and median, against bare Python."""

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence

RUNS = 15
COMMANDS: dict[str, Sequence[str]] = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "infra --help": (sys.executable, "-m", "infrakit_py", "--help"),
    "infra plan --help": (sys.executable, "-m", "infrakit_py", "plan", "--help"),
    "infra version": (sys.executable, "-m", "infrakit_py", "version"),
    "infra validate (quickstart)": (
        sys.executable, "-m", "infrakit_py", "validate", "examples/quickstart/cluster.yml",
    ),
}  # fmt: skip


def user_seconds(command: Sequence[str]) -> float:
    """Run a command and return the user CPU seconds that it and its children took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def main() -> None:
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    print(f"{'command':<30} {'best ms':>8} {'median ms':>10} {'× python':>9}")
    bare = 0.0
    for name, command in COMMANDS.items():
        taken = [user_seconds(command) for _ in range(RUNS)]
        bare = bare or min(taken)
        print(f"{name:<30} {min(taken) * 1000:8.0f} {statistics.median(taken) * 1000:10.0f} {min(taken) / bare:9.1f}")


if __name__ == "__main__":
    main()
