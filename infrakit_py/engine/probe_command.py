"""Running a health check's command where this program runs: within its time, and leaving no process behind."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import PurePath
from typing import Final

from infrakit_py.engine.probe_network import Deadline
from infrakit_py.errors import ProviderError
from infrakit_py.model import tags
from infrakit_py.model.instance import Instance, Member

_CANNOT_RUN: Final = (126, 127)
"""What shells, env and the like end with when there is no such program, or none that can be executed."""
_KEPT_BYTES: Final = 4096
_READ_BYTES: Final = 64 * 1024
"""All that a pipe holds, so that one read after the end misses nothing."""
_REASON_LETTERS: Final = 200
_SHORTEST_PAUSE_SECONDS: Final = 0.001
_LONGEST_PAUSE_SECONDS: Final = 0.05
_REAP_SECONDS: Final = 1.0


def ask_command(command: Sequence[str], instance: Instance, timeout_seconds: float) -> str | None:
    """Return None if the command ends with 0, else the last line that it printed, or that it took too long.

    ProviderError where it cannot run: there is no such program, or something else ended it.
    """
    what = f"command {PurePath(command[0]).name}"
    deadline = Deadline.after(timeout_seconds)
    try:
        process = _start(command, {**os.environ, **_environment(instance)})
    except (OSError, ValueError) as exc:
        raise ProviderError(f"cannot run {what} here: {getattr(exc, 'strerror', None) or exc}") from exc
    try:
        printed = _follow(process, deadline)
    except TimeoutError:
        return f"{what}: timed out"
    except ChildProcessError as exc:  # whoever started this program had it ignore the ends of its children
        raise ProviderError(f"cannot tell by {what}: its exit code is lost") from exc
    finally:
        _end(process)
    return _judged(what, process.returncode, _last_line(printed))


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start it in a session of its own: no terminal to ask for a password at, and a group to end as a whole."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def _environment(instance: Instance) -> Mapping[str, str]:
    return {
        "INFRAKIT_CLUSTER": instance.tags.get(tags.CLUSTER, ""),
        "INFRAKIT_GROUP": instance.tags.get(tags.GROUP, ""),
        "INFRAKIT_MACHINE": Member(instance, provider="").name,
        "INFRAKIT_INSTANCE": instance.id,
        "INFRAKIT_ADDRESS": instance.addresses[0] if instance.addresses else "",
        "INFRAKIT_ADDRESSES": ",".join(instance.addresses),
    }


def _follow(process: subprocess.Popen[bytes], deadline: Deadline) -> bytes:
    """Return the end of what the command printed, once it has ended. TimeoutError if it has not by the deadline.

    A child that it left behind may hold the pipe open for ever, so the end of the output is no sign of anything.
    """
    kept = b""
    pause = _SHORTEST_PAUSE_SECONDS
    while True:
        ended = _has_ended(process)
        printed = _read(process)
        kept = (kept + printed)[-_KEPT_BYTES:]
        if ended:
            return kept
        time.sleep(min(pause, deadline.left()))
        pause = _SHORTEST_PAUSE_SECONDS if printed else min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Tell, and leave it a zombie: until it is waited for, its number names its group and nobody else's."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _read(process: subprocess.Popen[bytes]) -> bytes:
    """Return what is there already."""
    if process.stdout is None:
        return b""
    os.set_blocking(process.stdout.fileno(), False)
    try:
        return os.read(process.stdout.fileno(), _READ_BYTES)
    except BlockingIOError:
        return b""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the command and of the children that stayed in its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdout is not None:
        process.stdout.close()
    with suppress(subprocess.TimeoutExpired):  # one that became another user cannot be killed
        process.wait(_REAP_SECONDS)


def _judged(what: str, code: int, said: str) -> str | None:
    if code == 0:
        return None
    if code < 0:
        raise ProviderError(f"cannot tell by {what}: signal {-code} ended it")
    if code in _CANNOT_RUN:
        raise ProviderError(f"cannot run {what} here: {said or f'exit code {code}'}")
    return f"{what}: {said or f'exit code {code}'}"


def _last_line(printed: bytes) -> str:
    """Return the last line with something on it, fit for a terminal."""
    lines = [line.strip() for line in printed.decode(errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return "".join(letter if letter.isprintable() else " " for letter in last[:_REASON_LETTERS])
