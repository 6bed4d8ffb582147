"""`infra controller --git`: a branch is followed; what is good is taken up, what is not is refused with its place."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.equipped import Equipped
from tests.cli.shell import Shell, cluster, eventually, web
from tests.cli.test_controller import Start, start
from tests.images_room.programs import linuxkit

__all__ = ["start"]  # a fixture

WHO = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")


@dataclass(frozen=True)
class Team:
    """A terminal for the controller, a bare repository that it follows, and a clone in which somebody works."""

    shell: Shell

    @property
    def bare(self) -> Path:
        return self.shell.root / "origin.git"

    @property
    def clone(self) -> Path:
        return self.shell.root / "clone"

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *WHO, *arguments], cwd=self.clone, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def push(self, document: dict[str, Any] | str, *options: str) -> str:
        """Push a change of clusters/shop.yml, and return its commit."""
        file = self.clone / "clusters" / "shop.yml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "a change", *options)
        self.git("push", "-q", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")[:12]

    def follow(self, start: Start, *options: str) -> Any:
        return start(self.shell, "--git", str(self.bare), "--poll", "200ms", *options, "clusters")

    def declared(self, size: int) -> dict[str, Any]:
        """Return a cluster whose machines are where the shell's are, whatever directory its file lies in."""
        return cluster(provider={"database": str(self.shell.database)}, web=web(size))

    def sizes(self) -> int:
        return len(self.shell.machines())


@pytest.fixture
def team(shell: Shell) -> Team:
    made = Team(shell)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(made.bare)], check=True)
    subprocess.run(["git", "clone", "-q", str(made.bare), str(made.clone)], check=True, capture_output=True)
    return made


def test_what_is_pushed_is_taken_up_and_a_broken_commit_is_refused_until_it_is_reverted(
    team: Team, start: Start
) -> None:
    first = team.push(team.declared(1))
    controller = team.follow(start)
    controller.says(f"commit {first} (a change)")
    controller.says("converged")
    second = team.push(team.declared(2))
    controller.says(f"in force   commit {second}")
    eventually(lambda: team.sizes() == 2, "two machines")
    broken = team.push(yaml.safe_dump(team.declared(5)).replace("groups:", "gruops:"))
    controller.says(f"refused    commit {broken} (a change); {second} stays in force")
    controller.says("clusters/shop.yml:1:1: missing key 'groups'")
    assert team.sizes() == 2
    team.git("revert", "--no-edit", "HEAD")
    team.git("push", "-q", "origin", "HEAD:main")
    controller.says(f"in force   commit {team.git('rev-parse', 'HEAD')[:12]}")
    team.push(team.declared(3))
    eventually(lambda: team.sizes() == 3, "three machines")


def test_a_restart_while_the_newest_commit_is_broken_goes_on_with_the_last_good_one(team: Team, start: Start) -> None:
    good = team.push(team.declared(1))
    controller = team.follow(start)
    controller.says("converged")
    controller.kill()
    team.push("kind: Cluster\n")
    again = team.follow(start)
    again.says(f"{good} stays in force")
    again.says("converged")
    team.push(team.declared(2))
    eventually(lambda: team.sizes() == 2, "two machines")


def test_a_repository_that_cannot_be_reached_changes_nothing_and_is_told_of_once(team: Team, start: Start) -> None:
    team.push(team.declared(1))
    controller = team.follow(start)
    controller.says("converged")
    away = team.bare.rename(team.shell.root / "away.git")
    controller.says("stays in force")
    away.rename(team.bare)
    controller.says("the repository answers again")
    assert controller.out.count("unreachable") == 1 and team.sizes() == 1
    team.push(team.declared(2))
    eventually(lambda: team.sizes() == 2, "two machines")


def test_a_cluster_that_leaves_the_repository_loses_no_machine(team: Team, start: Start) -> None:
    team.push(team.declared(2))
    controller = team.follow(start)
    controller.says("converged")
    document = team.declared(1)
    document["metadata"]["name"] = "other"
    team.push(document)
    controller.says("nobody declares it any more: its machines stay as they are")
    eventually(lambda: team.sizes() == 3, "the new cluster's machine, and the old one's")


def test_with_allowed_signers_a_commit_counts_only_if_one_of_them_signed_it(team: Team, start: Start) -> None:
    keys = team.shell.root / "keys"
    keys.mkdir()
    for name in ("alice", "mallory"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    signers = keys / "allowed"
    signers.write_text(f"a@example.com {(keys / 'alice.pub').read_text()}")
    team.git("config", "gpg.format", "ssh")
    team.git("config", "user.signingkey", str(keys / "alice.pub"))
    good = team.push(team.declared(1), "-S")
    controller = team.follow(start, "--allowed-signers", str(signers))
    controller.says(f"in force   commit {good}")
    controller.says("converged")
    unsigned = team.push(team.declared(2))
    controller.says(f"commit {unsigned} is not signed by any of")
    team.git("config", "user.signingkey", str(keys / "mallory.pub"))
    foreign = team.push(team.declared(3), "-S")
    controller.says(f"commit {foreign} is not signed by any of")
    assert team.sizes() == 1
    team.git("config", "user.signingkey", str(keys / "alice.pub"))
    team.push(team.declared(4), "-S")
    eventually(lambda: team.sizes() == 4, "four machines")


def test_a_link_that_leads_out_of_the_repository_hinders_nobody_who_does_not_need_it(
    team: Team, start: Start
) -> None:
    (team.clone / "evil").symlink_to("/etc/passwd")
    (team.clone / "up").symlink_to("../../..")
    team.push(team.declared(1))
    controller = team.follow(start)
    controller.says("converged")
    (team.clone / "clusters/other.yml").symlink_to("/etc/passwd")
    team.push(team.declared(2))
    eventually(lambda: team.sizes() == 2, "two machines")


def test_while_the_repository_is_away_a_restart_goes_on_with_what_was_in_force(team: Team, start: Start) -> None:
    good = team.push(team.declared(1))
    controller = team.follow(start)
    controller.says("converged")
    controller.kill()
    away = team.bare.rename(team.shell.root / "away.git")
    again = team.follow(start)
    again.says(f"{good} stays in force")
    again.says("converged")
    away.rename(team.bare)
    team.push(team.declared(2))
    eventually(lambda: team.sizes() == 2, "two machines")


@pytest.mark.long
def test_a_commit_counts_once_its_images_are_built_and_the_newest_comes_last(team: Team, start: Start) -> None:
    yaml_file = team.clone / "clusters" / "images" / "web.yml"
    yaml_file.parent.mkdir(parents=True)
    document = team.declared(1)
    document["images"] = {"a1": {"linuxkit": "images/web.yml"}}
    yaml_file.write_text('kernel: {image: "linuxkit/kernel:1"}\n')
    bin_directory = team.shell.root / "bin"
    linuxkit(bin_directory)
    shell = Equipped(team.shell.root)
    first = team.push(document)
    controller = start(shell, "--git", str(team.bare), "--poll", "200ms", "clusters")
    controller.says("converged")
    linuxkit(bin_directory, body="time.sleep(2)")
    yaml_file.write_text('kernel: {image: "linuxkit/kernel:2"}\n')
    second = team.push(document)
    controller.says(f"new        commit {second}")
    document["groups"]["web"]["size"] = 3
    third = team.push(document)
    controller.says(f"in force   commit {third}")
    eventually(lambda: team.sizes() == 3, "three machines of the newest commit")
    linuxkit(bin_directory, body='print("FATA[0000] no such image", file=sys.stderr); sys.exit(1)')
    yaml_file.write_text('kernel: {image: "linuxkit/kernel:3"}\n')
    broken = team.push(document)
    controller.says(f"refused    commit {broken} (a change); {third} stays in force")
    controller.kill()
    again = start(shell, "--git", str(team.bare), "--poll", "200ms", "clusters")
    again.says(f"{third} stays in force")
    again.says("converged")
    assert team.sizes() == 3 and first != third


def test_a_token_goes_to_nobody_in_the_clear(team: Team) -> None:
    token = {"INFRAKIT_GIT_TOKEN": "s3cret"}
    result = team.shell.infra("controller", "--git", "http://127.0.0.1:1/x.git", environment=token)
    assert result.code == 64 and "use https" in result.err and "s3cret" not in result.err + result.out


def test_a_branch_or_repository_that_is_not_there_is_an_error_without_its_password(team: Team) -> None:
    team.push(team.declared(1))
    nowhere = team.shell.infra("controller", "--git", str(team.bare), "--branch", "nope", "clusters")
    assert nowhere.code == 1 and "cannot fetch nope of" in nowhere.err
    secret = team.shell.infra("controller", "--git", "https://me:hunter2@127.0.0.1:1/x.git")
    assert secret.code == 1 and "cannot fetch main of https://127.0.0.1:1/x.git" in secret.err
    assert "hunter2" not in secret.err + secret.out
    outside = team.shell.infra("controller", "--git", str(team.bare), "/etc")
    assert outside.code == 64 and "lies in no commit" in outside.err
