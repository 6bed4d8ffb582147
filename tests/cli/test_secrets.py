"""User data may hold secrets: they reach the machines, and nothing that anybody reads or that is stored."""

from pathlib import Path

from tests.cli.shell import Result, Shell, cluster, db, web

SECRET = "hunter2-marker"


def test_user_data_appears_nowhere(shell: Shell) -> None:
    flavor = {"kind": "vanilla", "user_data": f"password={SECRET} host={{{{ instance.name }}}}"}
    results: list[Result] = []
    for image in ("a1", "a2"):
        shell.write(cluster(web=web(2, image=image, flavor=flavor), db=db("db-1", flavor=flavor)))
        results += [
            shell.infra("validate", "--json", "--debug"),
            shell.infra("plan", "--full", "--debug"),
            shell.infra("plan", "--json"),
            shell.infra("apply", "--auto-approve", "--debug"),
            shell.infra("status", "--debug"),
            shell.infra("status", "--json"),
        ]
    results += [shell.infra("apply", "--auto-approve", "--json"), shell.infra("destroy", "--auto-approve", "--debug")]
    assert [result.code for result in results] == [0] * len(results)
    assert not any(SECRET in str(result) for result in results)
    assert SECRET.encode() not in b"".join(_stored(shell.state))


def test_a_secret_from_the_environment_appears_in_no_message(shell: Shell) -> None:
    shell.write(cluster(web={**web(image="${env:TOKEN}"), "size": "${env:TOKEN}"}))
    result = shell.infra("apply", "--auto-approve", "--debug", environment={"TOKEN": SECRET})
    assert result.code == 64
    assert "${env:TOKEN}" in result.err
    assert SECRET not in str(result)


def test_a_template_that_cannot_be_filled_in_is_not_quoted_with_its_secret(shell: Shell) -> None:
    flavor = {"user_data": f"password: {SECRET}\nhost: {{{{ instance.nmae }}}}\n"}
    shell.write(cluster(web=web(flavor=flavor)))
    result = shell.infra("apply", "--auto-approve", "--debug")
    assert result.code == 64
    assert "nmae" in result.err
    assert SECRET not in str(result)


def _stored(directory: Path) -> list[bytes]:
    files = [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
    assert files
    return files
