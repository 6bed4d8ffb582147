"""A pseudo-terminal with `infra` in it: what a person sees, types and interrupts."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.shell import INFRA, Shell

_SIGNALS = ("env", "--default-signal=INT")
"""Whoever is started in the background of a shell is deaf to Ctrl-C, and so are its children."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """One command at work in a terminal."""

    def __init__(self, process: "subprocess.Popen[bytes]", descriptor: int) -> None:
        self.process = process
        self.raw = ""
        self._descriptor = descriptor

    @property
    def shown(self) -> str:
        """All that was shown so far, without colours and movements of the cursor."""
        return _CONTROL.sub("", self.raw).replace("\r", "")

    def expect(self, text: str, seconds: float = 30.0) -> None:
        """Read until a text was shown."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            if time.monotonic() >= deadline or not self._read(1.0):
                raise AssertionError(f"{text!r} was never shown:\n{self._where_it_hangs()}")

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def end(self, seconds: float = 30.0) -> int:
        """Read on until the command has ended; return its exit code."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._read(1.0):
            pass
        try:
            return self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self._where_it_hangs()}") from None

    def _where_it_hangs(self) -> str:
        """End the command by a signal at which it shows what its threads do."""
        self.process.send_signal(signal.SIGABRT)
        while self._read(1.0):
            pass
        return self.shown[-6000:]

    def _read(self, seconds: float) -> bool:
        """Read what is there, or becomes there soon; False at the end."""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # Linux: EIO, when the last process has left the terminal
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)


@contextmanager
def terminal(shell: Shell, *arguments: str, columns: int = 160) -> Iterator[Terminal]:
    """Run a command in a terminal; Ctrl-C typed into it interrupts the command."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [*_SIGNALS, "setsid", "--ctty", "--wait", sys.executable, "-X", "faulthandler", *INFRA[1:], *arguments],
        cwd=shell.work,
        env=shell.environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
