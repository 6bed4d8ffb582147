"""User data may hold secrets: they reach the machines, and nothing that anybody else reads."""

from tests.cli.shell import Result, Shell, cluster, db, web

SECRET = "hunter2-marker"


def test_user_data_appears_in_no_output_and_is_kept_for_its_owner_alone(shell: Shell) -> None:
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
            shell.infra("rollout", "status", "--debug"),
            shell.infra("rollout", "status", "--json"),
        ]
    results += [shell.infra("rollout", "history", *options) for options in ((), ("--json",))]
    results += [shell.infra("apply", "--auto-approve", "--json"), shell.infra("destroy", "--auto-approve", "--debug")]
    assert [result.code for result in results] == [0] * len(results)
    assert not any(SECRET in str(result) for result in results)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (shell.state, *shell.state.iterdir())}
    assert modes == {"state": 0o700, "state.db": 0o600, "shop.lock": 0o600}


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
