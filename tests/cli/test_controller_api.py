"""A controller is told by HTTP what to keep, and tells where it stands; what files declare is left to them."""

import json
import signal
import socket
import time
from typing import Any

from tests.cli.served_site import OTHER, READ, WRITE, Site, configured, declared, served, tokens
from tests.cli.shell import Shell, eventually, web
from tests.cli.test_controller import Start, start
from tests.cli.test_controller_git import Team, team
from tests.cli.told import Told

__all__ = ["start", "team"]  # fixtures


def web_ids(shell: Shell) -> list[str]:
    return sorted(machine.id for machine in shell.machines())


def has(shell: Shell, count: int) -> None:
    eventually(lambda: len(shell.machines()) == count, f"{count} machines")


def converges(site: Site, image: str, count: int) -> None:
    def so() -> bool:
        found = site.shell.machines()
        return len(found) == count and {machine.row.image_name for machine in found} == {image}

    eventually(so, f"{count} machines of {image}")


def test_without_a_token_nothing_is_read_or_written_and_with_one_to_read_nothing_is_written(
    shell: Shell, start: Start
) -> None:
    site = served(shell, start)
    body = {"files": {"cluster.yml": json.dumps(declared(shell, web=web(1)))}, "main": ["cluster.yml"]}
    for path in ("/v1/clusters", "/v1/events", "/metrics", "/v1/events/stream"):
        assert site.http("GET", path).status == 401, path
        assert site.http("GET", path, OTHER).status == 401, path
    assert site.http("GET", "/healthz").status == 200
    assert site.http("POST", "/v1/apply", body=body).status == 401
    assert site.http("POST", "/v1/apply", OTHER, body).status == 401
    assert site.http("POST", "/v1/apply", READ, body).status == 403
    assert site.http("GET", "/v1/clusters", READ).json["clusters"] == []
    assert site.http("POST", "/v1/apply", WRITE, body).status == 200
    has(shell, 1)
    assert site.http("DELETE", "/v1/clusters/shop?prune=true", READ).status == 403
    assert site.http("POST", "/v1/clusters/shop/groups/web/scale", READ, {"size": 3}).status == 403
    site.http("GET", "/v1/clusters/shop", READ)
    assert len(shell.machines()) == 1
    refused = [line for line in audit(shell) if line["result"] == "refused"]
    assert {line["action"] for line in refused} >= {"apply", "withdraw", "scale"}


def test_an_api_without_tokens_can_be_read_by_this_machine_and_told_nothing(shell: Shell, start: Start) -> None:
    shell.write(declared(shell, web=web(1)))
    site = Site(shell, start(shell, "--listen", "127.0.0.1:0", "--json"))
    has(shell, 1)
    assert [one["cluster"] for one in site.http("GET", "/v1/clusters").json["clusters"]] == ["shop"]
    assert site.http("POST", "/v1/clusters/shop/groups/web/scale", body={"size": 3}).status in (401, 403)
    assert site.http("POST", "/v1/clusters/shop/groups/web/scale", WRITE, {"size": 3}).status in (401, 403)
    assert len(shell.machines()) == 1


def test_what_is_applied_scaled_and_withdrawn_by_the_api_becomes_so(shell: Shell, start: Start) -> None:
    site = served(shell, start)
    shell.write(declared(shell, web=web(2)))
    applied = site.infra("apply", "--auto-approve", "--wait")
    assert applied.code == 0, applied
    has(shell, 2)
    scaled = site.infra("scale", "--cluster", "shop", "web=3")
    assert scaled.code == 0, scaled
    has(shell, 3)
    assert site.infra("wait", "--cluster", "shop").code == 0
    withdrawn = site.infra("withdraw", "--auto-approve", "shop")
    assert withdrawn.code == 0, withdrawn
    site.controller.says("its machines stay as they are")
    left = web_ids(shell)
    assert len(left) == 3
    assert site.infra("apply", "--auto-approve", "--wait").code == 0
    has(shell, 2)
    assert set(web_ids(shell)) < set(left)
    pruned = site.infra("withdraw", "--prune", "--auto-approve", "shop")
    assert pruned.code == 0, pruned
    has(shell, 0)
    site.controller.says("its machines are gone")
    eventually(lambda: site.http("GET", "/v1/clusters", READ).json["clusters"] == [], "nothing is declared")
    actions = [(line["actor"], line["action"]) for line in audit(shell) if line["role"] is not None]
    assert actions == [("writer", action) for action in ("apply", "scale", "withdraw", "apply", "withdraw")]


def test_a_rollout_that_is_paused_by_the_api_waits_until_it_is_resumed(shell: Shell, start: Start) -> None:
    site = served(shell, start)
    shell.write(declared(shell, web=web(2)))
    assert site.infra("apply", "--auto-approve", "--wait").code == 0
    before = web_ids(shell)
    paused = site.infra("rollout", "pause", "--cluster", "shop", "--reason", "lunch")
    assert paused.code == 0, paused
    shell.write(declared(shell, web=web(2, image="a2")))
    assert site.infra("apply", "--auto-approve").code == 0
    site.controller.says("lunch")
    eventually(
        lambda: "paused" in site.infra("rollout", "status", "--cluster", "shop").out, "it is seen to be paused"
    )
    assert web_ids(shell) == before
    assert site.infra("rollout", "resume", "--cluster", "shop").code == 0
    converges(site, "a2", 2)
    assert not set(before) & set(web_ids(shell))


def test_an_apply_that_expects_another_revision_than_the_one_in_force_changes_nothing(
    shell: Shell, start: Start
) -> None:
    site = served(shell, start)
    shell.write(declared(shell, web=web(1)))
    assert site.infra("apply", "--auto-approve", "--expected", "shop=0").code == 0
    shell.write(declared(shell, web=web(3)))
    late = site.infra("apply", "--auto-approve", "--expected", "shop=0")
    assert late.code == 1
    assert "revision 1" in late.err
    assert site.infra("apply", "--auto-approve", "--expected", "shop=1").code == 0
    has(shell, 3)


def test_mistakes_in_what_is_applied_are_told_with_their_places_and_nothing_is_taken_up(
    shell: Shell, start: Start
) -> None:
    site = served(shell, start)
    shell.write(declared(shell, web=web(-1)))
    refused = site.infra("apply", "--auto-approve", "--no-check")
    assert refused.code == 64
    assert "cluster.yml:" in refused.err
    assert site.http("GET", "/v1/clusters", READ).json["clusters"] == []


def test_a_cluster_of_files_is_not_changed_by_the_api_but_for_a_size_that_stays_until_the_file_changes(
    shell: Shell, start: Start
) -> None:
    shell.write(declared(shell, web=web(2)))
    site = served(shell, start, sources={"files": ["cluster.yml"]})
    has(shell, 2)
    for refused in (site.infra("apply", "--auto-approve"), site.infra("withdraw", "--auto-approve", "shop")):
        assert refused.code != 0
        assert "is declared by files" in refused.err
    assert site.infra("scale", "--cluster", "shop", "web=3").code == 0
    has(shell, 3)
    site.controller.kill()
    site.controller = start(shell, "--config", "controller.yml", "--json")
    site.controller.says('"converged"')
    path = shell.work / "cluster.yml"
    path.write_text("# nothing new\n" + path.read_text())
    time.sleep(3.0)  # in real time: longer than a change takes to be noticed
    assert len(shell.machines()) == 3
    shell.write(declared(shell, web=web(2, image="a2")))
    converges(site, "a2", 2)


def test_sighup_takes_other_tokens_and_another_source(shell: Shell, start: Start) -> None:
    shell.write(declared(shell, web=web(1)), file="one/shop.yml")
    shell.write({**declared(shell, web=web(1)), "metadata": {"name": "other"}}, file="two/other.yml")
    site = served(shell, start, sources={"files": ["one"]})
    has(shell, 1)
    configured(shell, sources={"files": ["two"]})
    tokens(shell, f"someone write {OTHER}")
    site.reload()
    site.controller.says("read anew")
    has(shell, 2)
    assert site.http("GET", "/v1/clusters", READ).status == 401
    assert {one["cluster"] for one in site.http("GET", "/v1/clusters", OTHER).json["clusters"]} >= {"other"}
    assert site.infra("scale", "--cluster", "other", "web=2", token=OTHER).code == 0
    has(shell, 3)


def test_a_configuration_that_became_wrong_is_told_of_and_the_one_before_stays(shell: Shell, start: Start) -> None:
    shell.write(declared(shell, web=web(1)))
    site = served(shell, start, sources={"files": ["cluster.yml"]})
    has(shell, 1)
    configured(shell, sources={"files": ["cluster.yml"]}, parallelism="many")
    site.reload()
    site.controller.says("controller.yml")
    shell.write(declared(shell, web=web(2)))
    has(shell, 2)
    assert site.controller.process.poll() is None
    assert site.http("GET", "/v1/clusters", READ).status == 200


def test_what_was_in_force_is_kept_by_a_controller_that_begins_with_a_broken_file(shell: Shell, start: Start) -> None:
    shell.write(declared(shell, web=web(1)))
    site = served(shell, start, sources={"files": ["cluster.yml"]})
    has(shell, 1)
    site.controller.says('"converged"')
    site.controller.kill()
    good = (shell.work / "cluster.yml").read_text()
    (shell.work / "cluster.yml").write_text(good.replace("size: 1", "size: -1"))
    site.controller = start(shell, "--config", "controller.yml", "--json")
    site.controller.says("what they declared before is kept")
    (victim,) = web_ids(shell)
    with shell.cloud() as cloud:
        cloud.stop(victim)
    eventually(lambda: len(web_ids(shell)) == 1 and victim not in web_ids(shell), "it is healed")
    (status,) = site.http("GET", "/v1/sources", READ).json["sources"]
    assert "cluster.yml:" in status["refusal"]["reason"]
    (shell.work / "cluster.yml").write_text(good.replace("size: 1", "size: 2"))
    has(shell, 2)


def test_a_broken_file_ends_a_controller_that_has_nothing_to_keep(shell: Shell) -> None:
    shell.write(declared(shell, web=web(-1)))
    configured(shell, sources={"files": ["cluster.yml"]})
    result = shell.infra("controller", "--config", "controller.yml")
    assert result.code == 64
    assert "cluster.yml:" in result.err


SECRETS = {
    "a token to read": READ,
    "a token to write": WRITE,
    "user data in the file": "user-data-of-the-file-3141",
    "a variable in user data": "value-of-a-variable-2718",
    "a token of the Git host": "token-of-the-git-host-1618",
    "a password in a URL": "password-in-the-url-1414",
    "a webhook's secret": "secret-of-the-webhook-1732",
}


def test_secrets_are_nowhere_to_be_seen(team: Team, start: Start) -> None:
    shell = team.shell
    variable, token = SECRETS["a variable in user data"], SECRETS["a token of the Git host"]
    text = f"{SECRETS['user data in the file']} ${{env:SECRET}}"
    document = declared(shell, web=web(2, flavor={"user_data": text}))
    team.push(document)
    (shell.work / "hook").write_text(SECRETS["a webhook's secret"])
    (shell.work / "hook").chmod(0o600)
    url = f"file://me:{SECRETS['a password in a URL']}@localhost{team.bare}"
    more = {"sources": {"git": {"url": url, "paths": ["clusters"], "poll": "200ms"}}}
    configured(shell, **more, api={"webhook_secret_file": "hook"}, log={"level": "debug"})
    told = Told(shell.root, more={"SECRET": variable, "INFRAKIT_GIT_TOKEN": token})
    site = Site(told, start(told, "--config", "controller.yml", "--json"))
    has(shell, 2)
    site.controller.says('"converged"')
    team.push(json.dumps(declared(shell, web=web(-2, flavor={"user_data": text}))))
    site.controller.says('"refused"')
    seen = [site.infra("status").out, site.infra("status", "--json").out, site.infra("events", "--json").out]
    for path in ("/v1/clusters/shop", "/v1/sources", "/v1/events", "/metrics", "/openapi.json", "/v1/controllers"):
        answer = site.http("GET", path, READ)
        assert answer.status == 200, path
        seen.append(answer.body)
    seen += [site.http("GET", f"/v1/clusters/shop/{part}", READ).body for part in ("revisions", "history")]
    site.http("POST", "/webhooks/git", "", {}, **{"X-Gitlab-Token": SECRETS["a webhook's secret"]})
    site.http("GET", "/v1/clusters", OTHER)
    assert site.controller.end(signal.SIGTERM) == 0
    seen += [site.controller.out, site.controller.err, (shell.work / "audit.jsonl").read_text()]
    found = {name: number for name, secret in SECRETS.items() for number, one in enumerate(seen) if secret in one}
    assert found == {}
    assert OTHER not in "".join(seen)


def test_systemd_is_told_when_it_is_ready_that_it_turns_and_that_it_stops(shell: Shell, start: Start) -> None:
    shell.write(declared(shell, web=web(1)))
    address = shell.root / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(address))
        notify.settimeout(20.0)
        told = Told(shell.root, more={"NOTIFY_SOCKET": str(address)})
        controller = start(told, "cluster.yml")
        assert notify.recv(1000) == b"READY=1"
        assert notify.recv(1000) == b"WATCHDOG=1"
        assert controller.end(signal.SIGTERM) == 0
        notify.setblocking(False)
        assert drained(notify)[-1] == b"STOPPING=1"
    assert controller.process.returncode == 0


def drained(notify: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(notify.recv(1000))
        except BlockingIOError:
            return found


def audit(shell: Shell) -> list[Any]:
    return [json.loads(line) for line in (shell.work / "audit.jsonl").read_text().splitlines()]
