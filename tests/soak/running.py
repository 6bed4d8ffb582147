"""The controller as a process: begun, killed, begun again; what it says, and what it takes of the machine."""

import json
import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO, Final

import psutil

from tests.cli.shell import Shell

_ENDS_WITHIN_SECONDS: Final = 60.0
_LINES_KEPT: Final = 2000


@dataclass(frozen=True, slots=True)
class Sample:
    """What the controller took at one moment. `life`: which of its processes."""

    at: float
    life: int
    rss_mib: float
    descriptors: int
    threads: int
    files: int
    state_mib: float


class Running:
    """One controller, which may have several lives."""

    def __init__(self, shell: Shell, files: Sequence[str | Path]) -> None:
        self._shell = shell
        self._files = files
        self._process: subprocess.Popen[str] | None = None
        self.life = 0
        self.events: Counter[str] = Counter()
        self.complaints: list[str] = []
        self._latest: deque[str] = deque(maxlen=_LINES_KEPT)

    def begin(self) -> None:
        self.life += 1
        self._process = process = self._shell.start("controller", *self._files, "--json")
        for stream in (process.stdout, process.stderr):
            Thread(target=self._hear, args=(stream,), daemon=True).start()

    @property
    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def reload(self) -> None:
        self._send(signal.SIGHUP)

    def kill(self) -> None:
        self._send(signal.SIGKILL)
        self._wait()

    def stop(self) -> int:
        """Let it end at a safe point, and return its exit code."""
        self._send(signal.SIGTERM)
        return self._wait()

    def sample(self, began: float) -> Sample:
        assert self._process is not None
        seen = psutil.Process(self._process.pid)
        files = [path for path in self._shell.state.rglob("*") if path.is_file()]
        with seen.oneshot():
            return Sample(
                time.monotonic() - began,
                self.life,
                seen.memory_info().rss / 2**20,
                seen.num_fds(),
                seen.num_threads(),
                len(files),
                sum(path.stat().st_size for path in files) / 2**20,
            )

    def said_of(self, cluster: str, group: str) -> list[str]:
        """Return what it has said lately of a group."""
        return [line for line in self._latest if f'"cluster": "{cluster}"' in line and f'"group": "{group}"' in line]

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _wait(self) -> int:
        assert self._process is not None
        return self._process.wait(_ENDS_WITHIN_SECONDS)

    def _hear(self, stream: IO[str]) -> None:
        for line in stream:
            self._latest.append(line.rstrip())
            try:
                self.events[json.loads(line).get("event", "?")] += 1
            except (ValueError, AttributeError):
                self.complaints.append(line.rstrip()[:300])
