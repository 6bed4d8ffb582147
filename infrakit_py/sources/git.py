"""Reads Git repositories by the `git` command: commits, and the files of one in a directory of their own.

No hook of a repository runs, and no submodule is followed.
"""

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from infrakit_py.errors import InfrakitError, UsageError

_TIME_LIMIT_SECONDS: Final = 120.0
_RANGE: Final = re.compile(r"(?P<base>[^.\s][^\s]*?)\.{2,3}(?P<head>[^.\s][^\s]*)?")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_QUIET: Final = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ADVICE": "0",
    "LC_ALL": "C",
}
_NOBODY_TO_ASK: Final = {"SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}
"""ssh asks no terminal either (OpenSSH 8.4 and later; see ssh(1)), unless somebody has said whom to ask."""
_REMOTE: Final = "Could not read from remote repository."


_ELSEWHERE: Final = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE"}
)
"""By these a hook's environment would lead to another repository than the one that is meant."""


class GitError(InfrakitError):
    """A repository cannot be read, or holds no such commit."""


@dataclass(frozen=True, slots=True)
class Range:
    """Two commits: where a branch left, and where it is."""

    base: str
    head: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on this machine. `prefix` is where in its tree one stands, empty at its top."""

    directory: Path
    prefix: str = ""

    @classmethod
    def around(cls, directory: Path) -> "Repository":
        """Return the repository that a directory lies in. GitError where it lies in none."""
        top = _git(directory, "rev-parse", "--show-toplevel").strip()
        prefix = _git(directory, "rev-parse", "--show-prefix").strip()
        return cls(Path(top), prefix.rstrip("/"))

    def commit(self, revision: str) -> str:
        """Return the full hash of the commit that a revision names. GitError where there is none."""
        if revision.startswith("-"):
            raise GitError(f"{revision!r} is no revision")
        asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        found = _git(self.directory, *asked, accept=(0, 1, 128))
        if not _COMMIT.fullmatch(found.strip()):
            raise GitError(f"{self.directory}: no commit {revision!r}")
        return found.strip()

    def range(self, written: str) -> Range:
        """Return the range that `BASE..HEAD` names; without HEAD it ends at the commit that is checked out.

        BASE counts as the commit where HEAD left it, as in a pull request. UsageError for anything else.
        """
        match = _RANGE.fullmatch(written)
        if match is None:
            raise UsageError(f"{written!r} is no range of commits", hint="write BASE..HEAD, as in origin/main..HEAD")
        head = self.commit(match["head"] or "HEAD")
        base = self.commit(match["base"])
        left = _git(self.directory, "merge-base", base, head, accept=(0, 1)).strip()
        return Range(left or base, head)

    def export(self, commit: str, into: Path) -> Path:
        """Write a commit's files below an empty directory, and return where one stands in them.

        The place may not be there in that commit. Links that lead out of the commit are left out.
        """
        archive = run_git(self.directory, "archive", "--format=tar", "--end-of-options", commit)
        try:
            with tarfile.open(fileobj=BytesIO(archive)) as tar:
                for member in tar:
                    _unpack(tar, member, into)
        except (tarfile.TarError, OSError) as exc:
            raise GitError(f"cannot write the files of commit {commit[:12]}: {exc}") from exc
        return into / self.prefix

    def subject(self, commit: str) -> str:
        """Return the first line of a commit's message."""
        return _git(self.directory, "log", "-1", "--format=%s", "--end-of-options", commit).strip()


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    """Write a directory, a file or a link below `into`.

    A link that leads out of it is left out: who needs the file that it leads to misses it.
    """
    if _leaves(member.name):
        raise tarfile.ExtractError(f"{member.name} lies elsewhere")
    target = into / member.name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
    elif member.issym() and not _leaves(os.path.join(os.path.dirname(member.name), member.linkname)):
        target.symlink_to(member.linkname)
    elif member.isfile() and (content := tar.extractfile(member)) is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(content, file)
        target.chmod(0o755 if member.mode & 0o111 else 0o644)


def _leaves(name: str) -> bool:
    """Tell whether a path leads out of the directory that it is seen from."""
    return os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir


def run_git(
    directory: Path,
    *arguments: str,
    accept: Sequence[int] = (0,),
    environment: Mapping[str, str] | None = None,
    seconds: float = _TIME_LIMIT_SECONDS,
) -> bytes:
    """Run git in a directory, and return what it writes. GitError where its exit code is none of those accepted."""
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env={**_NOBODY_TO_ASK, **_at_home(os.environ if environment is None else environment), **_QUIET},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError as exc:
        if not directory.is_dir():
            raise GitError(f"{directory} is no directory") from exc
        raise GitError("git is needed, and not on the PATH", hint="Debian: apt-get install git") from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise GitError(f"git {arguments[0]} did not end well: {exc}") from exc
    if done.returncode not in accept:
        why = _why(done.stderr.decode(errors="replace").strip().splitlines())
        raise GitError(f"{directory}: git: {why}")
    return done.stdout


def _why(said: Sequence[str]) -> str:
    """Return the line that says why git failed, with ssh's reason before it where that has one."""
    numbers = [number for number, line in enumerate(said) if line.startswith(("fatal: ", "error: "))]
    number = numbers[0] if numbers else len(said) - 1
    if number < 0:
        return "it found nothing"
    why = said[number].removeprefix("fatal: ").removeprefix("error: ")
    return f"{said[number - 1].strip()}: {why}" if why == _REMOTE and number else why


def _at_home(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in _ELSEWHERE}


def _git(directory: Path, *arguments: str, accept: Sequence[int] = (0,)) -> str:
    return run_git(directory, *arguments, accept=accept).decode(errors="replace")
