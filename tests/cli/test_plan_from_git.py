"""`infra plan --from-git`: what a pull request would change, as text, JSON and Markdown."""

import re
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cli.shell import Result, Shell, cluster, web

WHO = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")


@dataclass(frozen=True)
class Branch:
    """A terminal in a repository whose `main` declares two of `web`, on a branch that leaves it."""

    shell: Shell

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *WHO, *arguments], cwd=self.shell.work, check=True, capture_output=True, text=True
        )
        return done.stdout

    def commit(self, document: dict[str, Any] | str, file: str = "cluster.yml") -> None:
        if isinstance(document, str):
            (self.shell.work / file).write_text(document)
        else:
            self.shell.write(document, file=file)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "a change")

    def declared(self, size: int, name: str = "shop") -> dict[str, Any]:
        """Return a cluster whose machines are where the shell's are, whatever directory its file lies in."""
        return cluster(name, provider={"database": str(self.shell.database)}, web=web(size))

    def plan(self, *arguments: str, commits: str = "main..HEAD") -> Result:
        return self.shell.infra("plan", "--from-git", commits, *arguments)


@pytest.fixture
def branch(shell: Shell) -> Branch:
    made = Branch(shell)
    made.git("init", "-q", "-b", "main")
    made.commit(made.declared(2))
    assert shell.infra("apply", "--auto-approve").code == 0
    made.git("checkout", "-q", "-b", "more")
    return made


def test_a_cluster_that_changed_is_planned_as_its_last_commit_declares_it(branch: Branch) -> None:
    branch.commit(branch.declared(3))
    branch.shell.write(branch.declared(9))  # what is not committed does not count
    result = branch.plan("--detailed-exitcode")
    assert result.code == 2 and result.out.endswith("\nPlan: +1 create\n")
    assert "Cluster shop (cluster.yml)" in result.out


def test_what_main_changed_since_is_no_change_of_the_branch(branch: Branch) -> None:
    branch.commit(branch.declared(2, "other"), "other.yml")
    branch.git("checkout", "-q", "main")
    branch.commit(branch.declared(5))
    branch.git("checkout", "-q", "more")
    document = branch.plan("--json", "cluster.yml", "other.yml").json
    assert [one["cluster"] for one in document["clusters"]] == ["other"]
    assert document["unchanged"] == ["shop"]


def test_a_cluster_that_is_not_declared_any_more_is_told_of_and_not_planned(branch: Branch) -> None:
    branch.commit(branch.declared(2, "other"))
    document = branch.plan("--json").json
    assert document["left"] == ["shop"]
    assert "their machines stay as they are: shop" in branch.plan().out


def test_markdown_is_a_table_with_the_plan_folded_below(branch: Branch) -> None:
    branch.commit(branch.declared(3))
    result = branch.plan("--format", "markdown")
    assert result.code == 0
    assert result.out.startswith("<!-- infra plan -->\n\n### infra plan: 1 cluster, +1 create\n")
    assert "| shop | web | 2 of 2 ready | +1 create | 2 of 3 | " in result.out
    folded = re.search(r"<details><summary>shop: \+1 create</summary>\n\n```text\n(.*?)\n```\n", result.out, re.S)
    assert folded is not None and "+ create   web-2  2 of 3 wanted" in folded[1]


def test_of_a_branch_that_changes_nothing_markdown_says_so(branch: Branch) -> None:
    branch.commit("hello", "README")
    result = branch.plan("--format", "markdown", "--detailed-exitcode")
    assert result.code == 0
    assert "### infra plan: no cluster changes" in result.out and "Declared as before: shop." in result.out


def test_mistakes_are_a_table_too_and_the_exit_code_is_that_of_an_invalid_file(branch: Branch) -> None:
    branch.commit("kind: Cluster\n")
    result = branch.plan("--format", "markdown")
    assert result.code == 64
    assert "nothing can be planned" in result.out and "| `cluster.yml:1:1` | missing key 'groups' |" in result.out


def test_a_base_that_holds_mistakes_makes_all_clusters_changed_ones(branch: Branch) -> None:
    branch.git("checkout", "-q", "main")
    branch.commit("kind: Cluster\n")
    branch.git("checkout", "-q", "-b", "repaired")
    branch.commit(branch.declared(2))
    assert [one["cluster"] for one in branch.plan("--json").json["clusters"]] == ["shop"]


@pytest.mark.parametrize(
    ("commits", "file", "code", "message"),
    [
        ("main", "cluster.yml", 64, "is no range of commits"),
        ("nowhere..HEAD", "cluster.yml", 1, "no commit 'nowhere'"),
        ("main..HEAD", "/etc/cluster.yml", 64, "lies in no commit"),
        ("main..HEAD", "none.yml", 64, "none.yml: cannot be read"),
        ("--upload-pack=x..HEAD", "cluster.yml", 1, "is no revision"),
    ],
)
def test_what_cannot_be_read_is_said(branch: Branch, commits: str, file: str, code: int, message: str) -> None:
    result = branch.plan(file, commits=commits)
    assert result.code == code and message in result.err, result


def test_outside_a_repository_there_is_no_range(shell: Shell) -> None:
    shell.write(cluster(web=web(1)))
    result = shell.infra("plan", "--from-git", "main..HEAD")
    assert result.code == 1 and "not a git repository" in result.err
