"""What the program says of itself, and how it answers what it does not understand."""

import json
import subprocess
import sys

import pytest

from infrakit_py import __version__
from tests.cli.shell import INFRA, Shell, cluster, db, web

COMMANDS = {
    *("apply", "completion", "destroy", "doctor", "iam", "plan", "plugins", "protect", "replace", "rollout"),
    *("schema", "status", "unprotect", "validate", "version"),
}


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["apply", "--help"], ["destroy", "-h"]], ids=" ".join)
def test_help_explains_and_succeeds(arguments: list[str], shell: Shell) -> None:
    result = shell.infra(*arguments)
    assert result.code == 0
    assert result.out.startswith("Usage: infra")
    assert result.err == ""


def test_help_lists_every_command_and_every_exit_code(shell: Shell) -> None:
    out = shell.infra("--help").out
    listed = [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines()]
    assert listed == sorted(listed)
    assert set(listed) >= COMMANDS
    assert all(code in out for code in ("0 done", "1 failed", "2 changes", "64 wrong usage", "130 interrupted"))


def test_help_imports_nothing_that_is_slow(shell: Shell) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *INFRA[1:], "--help"],
        env=shell.environment(),
        cwd=shell.work,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    slow = ("boto3", "google", "libvirt", "pydantic", "rich", "yaml", "structlog", "infrakit_py.app")
    assert [name for name in sorted(imported) if name.startswith(slow)] == []
    assert "infrakit_py.cli" in imported


def test_the_version_is_the_package_s(shell: Shell) -> None:
    assert shell.infra("version").out.startswith(f"infrakit-py {__version__} (Python ")
    assert __version__ in shell.infra("--version").out


def test_an_unknown_command_is_answered_with_the_nearest(shell: Shell) -> None:
    result = shell.infra("aply")
    assert result.code == 64
    assert "no such command 'aply'; did you mean 'apply'?" in result.err


def test_an_unknown_option_is_answered_with_the_nearest(shell: Shell) -> None:
    result = shell.infra("apply", "--auto-aprove")
    assert result.code == 64
    assert "--auto-approve" in result.err
    assert "Traceback" not in result.err


def test_no_command_at_all_shows_the_help(shell: Shell) -> None:
    result = shell.infra()
    assert result.code == 64
    assert "Commands:" in result.err


def test_the_schema_knows_the_installed_plugins(shell: Shell) -> None:
    schema = shell.infra("schema").json
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "boot_time" in json.dumps(schema)


def test_plugins_are_listed_with_the_package_they_come_from(shell: Shell) -> None:
    result = shell.infra("plugins")
    assert result.code == 0
    assert any(line.split()[:3] == ["provider", "simulated", "infrakit-py"] for line in result.out.splitlines())
    listed = {(entry["kind"], entry["name"]): entry for entry in shell.infra("plugins", "--json").json}
    assert {("provider", "simulated"), ("flavor", "vanilla"), ("policy", "rolling")} <= listed.keys()
    assert listed["provider", "simulated"]["error"] == ""


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(name: str, shell: Shell) -> None:
    result = shell.infra("completion", name)
    assert result.code == 0
    assert "_INFRA_COMPLETE" in result.out


def complete(shell: Shell, words: str) -> list[str]:
    """Return what bash would offer for the last word."""
    asked = {"_INFRA_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    result = shell.infra(environment=asked)
    assert result.err == ""
    return [line.split(",")[1] for line in result.out.splitlines() if line]


def test_completion_completes_commands(shell: Shell) -> None:
    assert complete(shell, "infra pl") == ["plan", "plugins"]
    assert complete(shell, "infra rollout re") == ["resume"]


def test_completion_completes_the_groups_of_the_file_that_is_given_or_there(shell: Shell) -> None:
    shell.write(cluster(web=web(), worker=web(), db=db()))
    shell.write(cluster("other", api=web()), file="other.yml")
    assert complete(shell, "infra plan -g w") == ["web", "worker"]
    assert complete(shell, "infra plan other.yml --group ") == ["api"]
    assert complete(shell, "infra apply -f other.yml -g a") == ["api"]
    assert complete(shell, "infra status . -g ") == ["web", "worker", "db", "api"]
    assert complete(shell, "infra protect other.yml -g ") == ["api"]


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\xff\xfe",
        b"groups: [web",
        b"- web",
        b"groups: {web: {}, 7: {}, [a]: {}}",
        b"[" * 5000,
        b"a: !x y",
    ],
    ids=["none", "empty", "no text", "half written", "a list", "odd keys", "too deep", "a tag"],
)
def test_completion_never_fails_nor_says_anything_of_a_file_that_it_cannot_read(
    content: bytes | None, shell: Shell
) -> None:
    if content is not None:
        (shell.work / "cluster.yml").write_bytes(content)
    assert set(complete(shell, "infra plan -g ")) <= {"web"}
