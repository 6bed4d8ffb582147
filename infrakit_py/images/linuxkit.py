"""Calling the user's `linuxkit`: found, its version known, run in a fresh directory with a time limit.

Only the kernel+initrd output is asked for, and never with a list of parts in it (`--no-sbom`): it is the one bootable
form that needs neither docker nor a virtual machine, and that comes out the same each time.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Final

from infrakit_py.errors import InfrakitError
from infrakit_py.model.quantities import format_duration
from infrakit_py.model.spec import Image, Recipe

PROGRAM: Final = "INFRAKIT_LINUXKIT"
LEAST_VERSION: Final = (1, 2)
"""The first release whose `linuxkit build` knows `--no-sbom`. Source: linuxkit's release notes, v1.2.0."""
HOW_TO_GET: Final = (
    "install it from https://github.com/linuxkit/linuxkit/releases, or say where it is in INFRAKIT_LINUXKIT;"
    " images that were built elsewhere can be declared by kernel, initrd and cmdline"
)
_VERSION: Final = re.compile(r"version\s+(v?(\d+)\.(\d+)\S*|\S+)")
_VERSION_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1
_SHOWN_LINES: Final = 6
_NAME: Final = "image"
_SUFFIXES: Final[Mapping[str, str]] = {"kernel": "-kernel", "initrd": "-initrd.img", "cmdline": "-cmdline"}
"""How `linuxkit build` calls what it makes. Source: its moby/output.go, format kernel+initrd."""

Told = Callable[[str], None]
"""Hears each line that the program writes."""


class BuildError(InfrakitError):
    """An image could not be built. The hint says where the log is, or what to install."""


class End(StrEnum):
    """How a program came to its end."""

    BY_ITSELF = "by itself"
    TIMED_OUT = "timed out"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class LinuxKit:
    """A `linuxkit` that is installed. `version` is as it writes it; a build ends when `stop` is set."""

    program: Path
    version: str
    environment: Mapping[str, str]
    stop: Flag = field(default_factory=Flag)

    def build(self, image: Image, recipe: Recipe, out: Path, log: Path, told: Told) -> Mapping[str, Path]:
        """Build into the empty directory `out`, and return the file of each part. BuildError where that fails."""
        arguments = ("--no-sbom", "--format", "kernel+initrd", "--dir", str(out), "--name", _NAME)
        self._run(image, recipe, arguments, log, told)
        return {part: out / f"{_NAME}{suffix}" for part, suffix in _SUFFIXES.items()}

    def list_parts(self, image: Image, recipe: Recipe, out: Path, log: Path, told: Told) -> Path:
        """Build once more, as an archive that holds a list of parts, and return the archive."""
        self._run(image, recipe, ("--format", "tar", "--dir", str(out), "--name", _NAME), log, told)
        return out / f"{_NAME}.tar"

    def _run(self, image: Image, recipe: Recipe, arguments: Sequence[str], log: Path, told: Told) -> None:
        file = Path(recipe.file)
        command = [
            str(self.program),
            "build",
            *arguments,
            "--arch",
            image.architecture,
            *recipe.build_args,
            f"./{file.name}",
        ]
        limit = recipe.time_limit_seconds
        watch = Watch(limit, self.stop)
        code, said, end = _run_logged(command, file.parent, self.environment, log, told, watch)
        if end is End.TIMED_OUT:
            raise BuildError(
                f"image {image.name}: linuxkit was not ready after {format_duration(limit)}",
                hint=f"raise build_timeout of the image; its output is in {log}",
            )
        if end is End.STOPPED:
            raise BuildError(f"image {image.name}: its build was stopped")
        if code:
            why = "; ".join(_reasons(said)) or f"exit code {code}"
            raise BuildError(f"image {image.name}: linuxkit could not build {recipe.file}: {why}", hint=f"see {log}")


def find_linuxkit(environment: Mapping[str, str]) -> LinuxKit | None:
    """Return the `linuxkit` of $INFRAKIT_LINUXKIT or of the PATH; None where there is none.

    BuildError for one that does not run, or is too old.
    """
    named = environment.get(PROGRAM)
    found = shutil.which(named or "linuxkit", path=environment.get("PATH", os.defpath))
    if found is None:
        if named:
            raise BuildError(f"{PROGRAM} names {named}, which is no program", hint=HOW_TO_GET)
        return None
    program = Path(found).absolute()
    return LinuxKit(program, _version(program, environment), environment)


def require_linuxkit(environment: Mapping[str, str], what_for: str) -> LinuxKit:
    """Return the `linuxkit` that there is. BuildError that says how to get one where there is none."""
    found = find_linuxkit(environment)
    if found is None:
        raise BuildError(f"{what_for}: linuxkit is needed, and not on the PATH", hint=HOW_TO_GET)
    return found


def _version(program: Path, environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            (str(program), "version"),
            capture_output=True,
            text=True,
            errors="replace",
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            timeout=_VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise BuildError(f"{program} does not run: {exc}", hint=HOW_TO_GET) from exc
    match = _VERSION.search(done.stdout)
    if done.returncode or match is None:
        raise BuildError(f"{program} does not say its version, so it is no linuxkit", hint=HOW_TO_GET)
    version, major, minor = match.groups()
    if major is not None and (int(major), int(minor)) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise BuildError(f"{program} is linuxkit {version}; at least v{least} is needed", hint=HOW_TO_GET)
    return str(version)


def _run_logged(
    command: Sequence[str], directory: Path, environment: Mapping[str, str], log: Path, told: Told, watch: "Watch"
) -> tuple[int, Sequence[str], End]:
    """Run a command to its end, its output going to the log and to who is told. Return how it ended.

    Whatever it started ends with it: they are a group of processes of their own.
    """
    said: list[str] = []
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as exc:
        raise BuildError(f"{command[0]} does not run: {exc}", hint=HOW_TO_GET) from exc
    with watch.over(process), log.open("a") as file:
        for line in process.stdout or ():
            file.write(line)
            said.append(line.rstrip())
            told(said[-1])
        # Not reaped yet: its number must stay its own until all of its group are gone.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process.wait(), said, watch.end


class Watch:
    """Ends a program that takes too long, or that is not wanted any more."""

    def __init__(self, limit_seconds: float, stop: Flag) -> None:
        self.end = End.BY_ITSELF
        self._limit_seconds = limit_seconds
        self._stop = stop

    @contextmanager
    def over(self, process: "subprocess.Popen[str]") -> Iterator[None]:
        """Watch over a program as long as the context is open; afterwards it has ended, however that was."""
        gone = Flag()
        watcher = Thread(target=self._watch, args=(process, gone), name="watch-linuxkit", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            gone.set()
            watcher.join()
            _kill(process)
            if process.stdout is not None:
                process.stdout.close()
            process.wait()

    def _watch(self, process: "subprocess.Popen[str]", gone: Flag) -> None:
        waited = 0.0
        while not gone.wait(_LOOK_SECONDS):
            waited += _LOOK_SECONDS
            if self._stop.is_set() or waited >= self._limit_seconds:
                self.end = End.STOPPED if self._stop.is_set() else End.TIMED_OUT
                _kill(process)
                return


def _kill(process: "subprocess.Popen[str]") -> None:
    """End a program and all that it started and that is still there."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _reasons(said: Sequence[str]) -> Sequence[str]:
    """Return the lines that say why: those that logrus marks as fatal or errors, else the last ones."""
    lines = [line.strip() for line in said if line.strip()]
    marked = [line for line in lines if re.match(r"(FATA|ERRO)\W|.*level=(fatal|error)|Error:", line)]
    return (marked or lines)[-_SHOWN_LINES:]
