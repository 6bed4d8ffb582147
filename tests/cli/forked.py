"""`infra` in a process forked from one that has imported everything: no start-up time, so many more can be run."""

import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

_CONTEXT: Final = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "pytest",
        "infrakit_py.app",
        "infrakit_py.cli.apply",
        "infrakit_py.cli.changing",
        "infrakit_py.cli.failure",
        "infrakit_py.cli.validate",
        "infrakit_providers.simulated.provider",
        "infrakit_groups.flavors.vanilla",
        "infrakit_groups.policies",
        "tests.cli.forked",
        "tests.engine.harness",
    ]
)


def start(
    arguments: Sequence[str], *, directory: Path, environment: Mapping[str, str], output: Path
) -> ForkServerProcess:
    """Start `infra` in a directory; what it says is appended to a file."""
    process = _CONTEXT.Process(target=_infra, args=(list(arguments), directory, dict(environment), output))
    process.start()
    return process


def _infra(arguments: list[str], directory: Path, environment: dict[str, str], output: Path) -> None:
    from infrakit_py.cli import main

    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.argv = ["infra", *arguments]
    main()
