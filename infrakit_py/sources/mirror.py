"""A branch of a remote repository, mirrored here by `git fetch`, and its commits as directories of files.

Tokens reach git by its environment, never by its arguments or by a URL that a message could show.
"""

import base64
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from infrakit_py.errors import UsageError
from infrakit_py.sources.git import GitError, Repository, run_git

TOKEN: Final = "INFRAKIT_GIT_TOKEN"
_FETCH_SECONDS: Final = 300.0
_MIRROR, _TREES, _CURRENT = "mirror.git", "trees", "current"
_PASSWORD: Final = re.compile(r"(?<=://)[^/\s]+@")


@dataclass(frozen=True, slots=True)
class Remote:
    """Which branch of which repository. `allowed_signers`: who must have signed the commits; see ssh-keygen(1)."""

    url: str
    branch: str = "main"
    allowed_signers: Path | None = None

    @property
    def shown(self) -> str:
        """The URL without what may be a password."""
        return _PASSWORD.sub("", self.url)


class Mirror:
    """The mirror of one remote in a directory of its own. One process at a time uses it."""

    def __init__(self, directory: Path, remote: Remote, environment: Mapping[str, str]) -> None:
        name = hashlib.sha256(f"{remote.url}\n{remote.branch}".encode()).hexdigest()[:16]
        self._directory = directory / name
        self._remote = remote
        self._environment = _with_token(environment, remote)
        self._repository = Repository(self._directory / _MIRROR)

    @property
    def shown(self) -> str:
        """The repository and the branch, without what may be a password."""
        return f"{self._remote.shown} {self._remote.branch}"

    def fetch(self) -> str:
        """Ask the remote, and return the commit that the branch is at. GitError where that fails; nothing is lost."""
        self._make()
        branch = self._remote.branch
        try:
            run_git(
                self._repository.directory,
                *("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--end-of-options"),
                *(self._remote.url, f"+refs/heads/{branch}:refs/heads/{branch}"),
                environment=self._environment,
                seconds=_FETCH_SECONDS,
            )
        except GitError as exc:
            said = str(exc).replace(self._remote.url, self._remote.shown)
            raise GitError(f"cannot fetch {branch} of {self._remote.shown}: {said}", hint=exc.hint) from exc
        return self._repository.commit(f"refs/heads/{branch}")

    def verify(self, commit: str) -> None:
        """Raise GitError unless one of the allowed signers has signed the commit, if there are any."""
        signers = self._remote.allowed_signers
        if signers is None:
            return
        if not signers.is_file():
            raise GitError(f"{signers} does not exist: no commit can be trusted")
        # git goes by the signature's own kind: without programs for the others only ssh signatures can be good.
        nobody = ("gpg.program", "gpg.openpgp.program", "gpg.x509.program")
        options = [option for name in nobody for option in ("-c", f"{name}=false")]
        options += ["-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={signers.absolute()}"]
        try:
            run_git(self._repository.directory, *options, "verify-commit", commit, environment=self._environment)
        except GitError as exc:
            raise GitError(f"commit {commit[:12]} is not signed by any of {signers}") from exc

    def tree(self, commit: str) -> Path:
        """Return a directory with a commit's files, whole. It stays until another one is put in force."""
        place = self._directory / _TREES / commit
        if not place.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
            try:
                self._repository.export(commit, scratch)
                scratch.rename(place)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        return place

    @property
    def current(self) -> Path:
        """The path of the commit in force, the same for all commits: what does not change is called the same."""
        return self._directory / _CURRENT

    @property
    def in_force(self) -> str:
        """The commit that was put in force last, also by another process before; empty where none was."""
        try:
            return Path(os.readlink(self.current)).name if self.current.is_dir() else ""
        except OSError:
            return ""

    def put_in_force(self, commit: str) -> None:
        """Let `current` be a commit's files, and delete those of all others but the one before."""
        before = self.in_force
        scratch = self._directory / f".{_CURRENT}-{os.getpid()}"
        scratch.unlink(missing_ok=True)
        scratch.symlink_to(self.tree(commit), target_is_directory=True)
        scratch.replace(self.current)
        for tree in (self._directory / _TREES).glob("*"):
            if tree.name not in (commit, before):
                shutil.rmtree(tree, ignore_errors=True)

    def subject(self, commit: str) -> str:
        """Return the first line of a commit's message."""
        return self._repository.subject(commit)

    def _make(self) -> None:
        directory = self._repository.directory
        if (directory / "HEAD").exists():
            return
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        run_git(directory, "init", "--quiet", "--bare", "--initial-branch=main", environment=self._environment)


def _with_token(environment: Mapping[str, str], remote: Remote) -> Mapping[str, str]:
    """Let git send the token of $INFRAKIT_GIT_TOKEN to the remote's own https server, and to no other.

    UsageError for a remote to which it would go in the clear.
    """
    own = {**os.environ, **environment}
    token = own.pop(TOKEN, "")
    parts = urlsplit(remote.url)
    if not token or parts.scheme not in ("http", "https"):
        return own
    if parts.scheme == "http":
        raise UsageError(
            f"{TOKEN} is set, and {remote.shown} would show it to everybody on the way", hint="use https"
        )
    header = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    server = f"https://{parts.netloc.rpartition('@')[2]}/"
    first = int(own.get("GIT_CONFIG_COUNT") or 0)
    values = {f"http.{server}.extraHeader": f"Authorization: Basic {header}", "http.followRedirects": "false"}
    for number, (key, value) in enumerate(values.items(), first):
        own |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {**own, "GIT_CONFIG_COUNT": str(first + len(values))}
