import shutil
from pathlib import Path

import pytest

from tests.cli.shell import Shell, cluster, db, web
from tests.cli.vendor import install

CONVERGED = cluster(web=web(), db=db())


def _shell(root: Path) -> Shell:
    for directory in ("work", "home"):
        (root / directory).mkdir()
    return Shell(root)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A terminal in an empty directory."""
    return _shell(tmp_path)


@pytest.fixture(scope="session")
def _converged_once(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = _shell(tmp_path_factory.mktemp("converged"))
    shell.write(CONVERGED)
    result = shell.infra("apply", "--auto-approve")
    assert result.code == 0, result
    return shell


@pytest.fixture
def converged(_converged_once: Shell, tmp_path: Path) -> Shell:
    """A terminal in a directory whose cluster.yml (three of `web`, three of `db`, on image a1) has converged."""
    shutil.copytree(_converged_once.root, tmp_path, dirs_exist_ok=True)
    return Shell(tmp_path)


@pytest.fixture
def customer(shell: Shell) -> Shell:
    """A terminal where a third party's provider plugin, `vendor`, is installed as well."""
    site = shell.root / "site"
    install(site)
    return Shell(shell.root, (site,))
