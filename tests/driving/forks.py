"""`infra` as processes, one at a time, that die where they are told to.

A process that starts anew imports for longer than it works. So an ancestor imports everything once, and forks: a
module that runs `fork_forever` when it is the program is such an ancestor.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infrakit_py.app import root
from infrakit_py.app.workbench import Workbench
from infrakit_py.stores.sqlite import SqliteStore

POLL_SECONDS: Final = 0.1
"""How often a group that waits is looked at where machines boot in a moment."""
_TIMEOUT_SECONDS: Final = 60.0
_FOR_ALL: Final = (
    "infrakit_groups.flavors.vanilla",
    "infrakit_py.cli.apply",
    "infrakit_py.cli.changing",
    "infrakit_py.cli.destroy",
    "infrakit_py.cli.failure",
    "infrakit_py.app.looking",
)
"""What the ancestor imports, and its forks therefore need not."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is to do, and how it is unlike a good one.

    `dies_at`: the method of its store at whose `nth` call it is killed, `before` or `after` the work. `forgetful`: it
    makes up anew, for each call, what makes the same launch of two calls.
    """

    arguments: Sequence[str]
    directory: str
    environment: Mapping[str, str]
    output: str
    dies_at: str = ""
    nth: int = 1
    when: str = "before"
    forgetful: bool = False


@dataclass
class Forks:
    """The ancestor, and the one process that it has at a time."""

    process: "subprocess.Popen[str]"
    pid: int = 0

    def start(self, order: Order) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({name: getattr(order, name) for name in Order.__slots__}) + "\n")
        self.process.stdin.flush()
        self.pid = self._number()

    def end(self) -> int:
        """Wait for the process to end, and return its exit code: negative if it was killed."""
        return self._number()

    def run(self, order: Order) -> int:
        self.start(order)
        return self.end()

    def kill(self) -> None:
        """Kill the process, and return once it is no more."""
        pid = self.pid  # once it has ended, somebody else may start the next one
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while Path(f"/proc/{pid}").exists():  # its parent reaps it
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@contextmanager
def forks(module: str) -> Iterator[Forks]:
    """Start an ancestor."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-m", module],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Forks(process)
        finally:
            process.kill()


def fork_forever(modules: Sequence[str], forget: Callable[[], None]) -> None:
    """Import, then read orders, and answer each with the process's id, and with its exit code when it has ended.

    `forget` makes a process forgetful.
    """
    for module in (*_FOR_ALL, *modules):
        importlib.import_module(module)
    for line in sys.stdin:
        order = Order(**json.loads(line))
        pid = os.fork()
        if not pid:
            _obey(order, forget)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        sys.stdout.flush()


def _obey(order: Order, forget: Callable[[], None]) -> None:
    """Become `infra`."""
    code: object = 70
    try:
        from infrakit_py.cli import main

        os.chdir(order.directory)
        os.environ.clear()
        os.environ.update(order.environment)
        output = os.open(order.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream, descriptor in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
            os.dup2(descriptor, stream)
        Workbench.engine.__kwdefaults__ = {**(Workbench.engine.__kwdefaults__ or {}), "poll_seconds": POLL_SECONDS}
        if order.dies_at:
            setattr(root, "SqliteStore", _doomed(order))  # noqa: B010  # it is nothing that `root` offers
        if order.forgetful:
            forget()
        sys.argv = ["infra", *order.arguments]
        main()
    except SystemExit as exc:
        code = exc.code
    finally:
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 0)


def _doomed(order: Order) -> type[SqliteStore]:
    """Return a store that kills its process."""
    work: Callable[..., Any] = getattr(SqliteStore, order.dies_at)
    made: list[str] = []

    def write(self: SqliteStore, *arguments: Any) -> Any:
        if order.dies_at in ("record", "forget") and not arguments[0]:
            return work(self, *arguments)  # nothing is written
        made.append(order.dies_at)
        if len(made) == order.nth and order.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = work(self, *arguments)
        if len(made) == order.nth and order.when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return type("DoomedStore", (SqliteStore,), {order.dies_at: write})
