"""`infra controller --git` reaches repositories by ssh and https, and keeps to itself what it is let in by."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.git_hosts import SSHD, HttpsHost, SshHost, https_host, ssh_host
from tests.cli.shell import Shell, eventually
from tests.cli.test_controller import Start, start
from tests.cli.test_controller_git import Team, team
from tests.cli.told import Told

__all__ = ["start", "team"]  # fixtures

TOKEN = "gh0-a-token-of-the-git-host"
OTHER_TOKEN = "gh0-a-token-of-nobody"
RECORDER = """#!/bin/sh
printf '%s\\n' "$*" >> {record}
exec {git} "$@"
"""


def told(team: Team, **more: str) -> Shell:
    return Told(team.shell.root, more=more)


@pytest.fixture
def by_ssh(tmp_path: Path) -> Iterator[SshHost]:
    missing = [program for program in (SSHD, "ssh", "ssh-keygen") if shutil.which(program) is None]
    if missing:
        text = f"not installed: {', '.join(missing)} (Debian: openssh-server)"
        if os.environ.get("INFRAKIT_REQUIRE_REAL") == "1":
            pytest.fail(text, pytrace=False)
        pytest.skip(text)
    with ssh_host(tmp_path / "ssh") as host:
        yield host


@pytest.fixture
def by_https(team: Team, tmp_path: Path) -> Iterator[HttpsHost]:
    with https_host(team.shell.root, tmp_path / "https", TOKEN) as host:
        yield host


def test_a_branch_is_followed_by_ssh(team: Team, by_ssh: SshHost, start: Start) -> None:
    first = team.push(team.declared(1))
    shell = told(team, GIT_SSH_COMMAND=by_ssh.command())
    controller = start(shell, "--git", by_ssh.url(team.bare), "--poll", "200ms", "clusters")
    controller.says(f"in force   commit {first}")
    controller.says("converged")
    second = team.push(team.declared(2))
    controller.says(f"in force   commit {second}")
    eventually(lambda: team.sizes() == 2, "two machines")


@pytest.mark.parametrize(
    ("key", "hosts", "why"),
    [("stranger", "hosts", "Permission denied"), ("known", "other_hosts", "Host key verification failed")],
    ids=["a key that the host does not know", "a host with another key"],
)
def test_who_is_not_let_in_by_ssh_is_told_so_and_waits_for_no_answer(
    team: Team, by_ssh: SshHost, key: str, hosts: str, why: str
) -> None:
    team.push(team.declared(1))
    shell = told(team, GIT_SSH_COMMAND=by_ssh.command(key, hosts))
    result = shell.infra("controller", "--git", by_ssh.url(team.bare), "clusters")
    assert result.code == 1
    assert "cannot fetch main of ssh://" in result.err
    assert why in result.err
    assert team.sizes() == 0


def test_a_branch_is_followed_by_https_with_a_token_that_no_process_list_and_no_message_shows(
    team: Team, by_https: HttpsHost, start: Start
) -> None:
    record = recorded(team)
    first = team.push(team.declared(1))
    shell = with_token(team, by_https, TOKEN)
    controller = start(shell, "--git", by_https.url(team.bare), "--poll", "200ms", "clusters")
    controller.says(f"in force   commit {first}")
    controller.says("converged")
    second = team.push(team.declared(2))
    controller.says(f"in force   commit {second}")
    eventually(lambda: team.sizes() == 2, "two machines")
    assert by_https.served > 0 and by_https.refused == 0
    by_https.token = "another, from now on"
    controller.says("stays in force")
    by_https.token = TOKEN
    controller.says("the repository answers again")
    assert "fetch" in record.read_text()
    said = controller.out + controller.err + record.read_text()
    assert TOKEN not in said
    kept = [path for path in team.shell.root.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert kept == []


def test_who_has_the_wrong_token_is_told_so_without_it_and_waits_for_no_answer(
    team: Team, by_https: HttpsHost
) -> None:
    team.push(team.declared(1))
    result = with_token(team, by_https, OTHER_TOKEN).infra("controller", "--git", by_https.url(team.bare), "clusters")
    assert result.code == 1
    assert f"cannot fetch main of {by_https.url(team.bare)}" in result.err
    assert OTHER_TOKEN not in result.out + result.err
    assert by_https.refused > 0 and by_https.served == 0


def test_a_server_whose_certificate_nobody_vouches_for_is_not_given_the_token(
    team: Team, by_https: HttpsHost
) -> None:
    team.push(team.declared(1))
    shell = told(team, INFRAKIT_GIT_TOKEN=TOKEN)
    result = shell.infra("controller", "--git", by_https.url(team.bare), "clusters")
    assert result.code == 1 and "certificate" in result.err
    assert by_https.refused == by_https.served == 0


def with_token(team: Team, host: HttpsHost, token: str) -> Shell:
    path = f"{team.shell.root / 'bin'}:{os.environ['PATH']}"
    return told(team, INFRAKIT_GIT_TOKEN=token, GIT_SSL_CAINFO=str(host.certificate), PATH=path)


def recorded(team: Team) -> Path:
    """Put a `git` first on the PATH that writes down what it is called with. Return where."""
    record, program = team.shell.root / "record", team.shell.root / "bin" / "git"
    program.parent.mkdir()
    git = shutil.which("git")
    program.write_text(RECORDER.format(record=record, git=git))
    program.chmod(0o755)
    return record
