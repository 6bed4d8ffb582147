"""Waiting for a commit: what a pipeline's job after a merge does, so that its result is the commit's status."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.cli.controlled import Controlled, controlled
from tests.cli.shell import cluster, web
from tests.cli.test_controller_git import WHO


@dataclass(frozen=True)
class Ops:
    """A controller that follows a bare repository, and a clone in which somebody works."""

    site: Controlled
    clone: Path

    def push(self, text: str) -> str:
        """Push a change of the cluster file, and return the commit's whole hash."""
        (self.clone / "shop.yml").write_text(text)
        return _committed(self.clone)

    def shop(self, size: int) -> str:
        return yaml.safe_dump(self.site.cluster("shop", web=web(size)), sort_keys=False)


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ops]:
    root = tmp_path_factory.mktemp("ops")
    bare, clone = root / "origin.git", root / "clone"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
    subprocess.run(["git", "clone", "-q", str(bare), str(clone)], check=True, capture_output=True)
    database = root / "there" / "work" / ".infrakit" / "simulated.db"
    first = cluster("shop", provider={"database": str(database)}, web=web(1))
    (clone / "shop.yml").write_text(yaml.safe_dump(first, sort_keys=False))
    _committed(clone)
    with controlled(root, {"git": {"url": str(bare), "branch": "main", "poll": "200ms"}}) as site:
        yield Ops(site, clone)


def _committed(clone: Path) -> str:
    for command in (["add", "-A"], ["commit", "-q", "-m", "a change"], ["push", "-q", "origin", "HEAD:main"]):
        subprocess.run(["git", *WHO, *command], cwd=clone, check=True, capture_output=True)
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_commit_is_waited_for_until_its_clusters_are_as_it_says(ops: Ops) -> None:
    commit = ops.push(ops.shop(3))
    result = ops.site.infra("wait", "--commit", commit, "--timeout", "60s")
    assert result.code == 0, result
    assert result.out.endswith(f"commit {commit[:12]}: converged\n")
    assert ops.site.machines("shop") == ["web-0", "web-1", "web-2"]
    assert ops.site.infra("wait", "--commit", commit[:10].upper(), "--timeout", "60s").code == 0
    sources = ops.site.infra("sources").out
    assert f"(git): {commit[:12]} is in force" in sources
    status = ops.site.infra("status").out
    assert f"commit {commit[:12]}" in status.splitlines()[0]


def test_a_refused_commit_ends_the_waiting_with_its_mistakes(ops: Ops) -> None:
    good = ops.push(ops.shop(2))
    assert ops.site.infra("wait", "--commit", good, "--timeout", "60s").code == 0
    commit = ops.push(ops.shop(2).replace("size:", "sise:"))
    result = ops.site.infra("wait", "--commit", commit, "--timeout", "60s")
    assert result.code == 1, result
    assert "shop.yml:" in result.err
    assert "unknown key 'sise'" in result.err
    assert result.err.endswith(f"commit {commit[:12]}: refused\n")
    told = ops.site.infra("wait", "--commit", commit, "--json").json_lines[-1]
    assert (told["end"], told["commit"]) == ("refused", commit)
    assert any("unknown key 'sise'" in mistake for mistake in told["mistakes"])
    assert ops.site.infra("wait", "--commit", good, "--timeout", "60s").code == 0, "the good one is still in force"
    assert ops.site.infra("wait", "--timeout", "60s").code == 1, "what is declared last is refused"
    shown = ops.site.infra("sources").out
    assert f"refused {commit[:12]}" in shown
    assert "unknown key 'sise'" in shown
    assert ops.site.infra("sources", "--json").json["sources"][0]["refusal"]["version"].startswith(commit[:12])


def test_a_commit_that_never_comes_is_given_up(ops: Ops) -> None:
    result = ops.site.infra("wait", "--commit", "0123456789abcdef", "--timeout", "1s")
    assert result.code == 1
    assert "commit 0123456789ab: timed out" in result.err
    assert "is in force, not 0123456789ab" in result.err


def test_a_cluster_of_a_repository_is_changed_there(ops: Ops) -> None:
    ops.site.here.write(ops.site.cluster("shop", web=web(9)))
    result = ops.site.infra("apply", "cluster.yml")
    assert result.code == 64
    assert "change it there" in result.err
