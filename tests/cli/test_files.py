"""Which files a command reads, and what it makes of them."""

from pathlib import Path

import pytest

from tests.cli.shell import Shell, cluster, web


def declared(shell: Shell, *arguments: str | Path, stdin: str | None = None) -> list[str]:
    result = shell.infra("validate", "--json", *arguments, stdin=stdin)
    assert result.code == 0, result
    return [found["cluster"] for found in result.json]


def test_a_valid_file_is_said_to_be_valid(shell: Shell) -> None:
    shell.write(cluster(web=web(2), cache=web(1)))
    result = shell.infra("validate")
    assert result.code == 0
    assert result.out == "cluster.yml: cluster shop is valid: 2 groups, 3 machines\n"


def test_files_are_named_by_position_by_option_or_both(shell: Shell) -> None:
    for name in ("one", "two", "three"):
        shell.write(cluster(name), file=f"{name}.yml")
    assert declared(shell, "one.yml", "-f", "two.yml", "--file", "three.yml") == ["one", "two", "three"]


def test_a_file_named_twice_is_read_once(shell: Shell) -> None:
    shell.write(cluster())
    assert declared(shell, "cluster.yml", "-f", "./cluster.yml", shell.work) == ["shop"]


def test_a_directory_stands_for_its_yaml_files_by_name(shell: Shell) -> None:
    shell.write(cluster("beta"), file="clusters/b.yaml")
    shell.write(cluster("alpha"), file="clusters/a.yml")
    shell.write(cluster("hidden"), file="clusters/.hidden.yml")
    (shell.work / "clusters" / "notes.txt").write_text("not: [yaml")
    assert declared(shell, "clusters") == ["alpha", "beta"]


def test_a_file_may_hold_several_clusters(shell: Shell) -> None:
    shell.write(cluster("one"), cluster("two"))
    assert declared(shell) == ["one", "two"]


def test_standard_input_may_be_the_file(shell: Shell) -> None:
    text = shell.write(cluster()).read_text()
    assert declared(shell, "-", stdin=text) == ["shop"]


@pytest.mark.parametrize("command", ["validate", "doctor", "plan", "apply", "status", "destroy"])
def test_without_any_file_a_command_says_what_it_looked_for(command: str, shell: Shell) -> None:
    result = shell.infra(command)
    assert result.code == 64
    assert "no cluster file given, and there is no ./cluster.yml" in result.err


def test_a_file_that_is_not_there_is_named(shell: Shell) -> None:
    result = shell.infra("plan", "nowhere.yml")
    assert result.code == 64
    assert result.err.startswith("nowhere.yml: cannot be read: No such file")


def test_several_clusters_are_applied_one_after_the_other(shell: Shell) -> None:
    shell.write(cluster("one", web=web(1)), cluster("two", web=web(2)))
    assert shell.infra("apply", "--auto-approve").code == 0
    assert [m.tags["infrakit.cluster"] for m in shell.machines()] == ["one", "two", "two"]


def test_variables_of_the_environment_are_filled_in(shell: Shell) -> None:
    shell.write(cluster(web=web(image="${env:IMAGE:-a1}")))
    assert "3 × a1" in shell.infra("plan").out
    assert "3 × a2" in shell.infra("plan", environment={"IMAGE": "a2"}).out


def test_a_variable_that_is_not_set_is_a_mistake_with_a_place(shell: Shell) -> None:
    shell.write(cluster(web=web(image="${env:IMAGE}")))
    result = shell.infra("apply", "--auto-approve")
    assert result.code == 64
    assert "the environment variable IMAGE is not set" in result.err
    assert result.err.startswith("cluster.yml:")
    assert not shell.state.exists()
