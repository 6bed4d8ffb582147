"""`simulate`: a change is rehearsed in virtual time, with faults, and nothing real is touched."""

from typing import Any
from xml.etree import ElementTree

import pytest

from tests.cli.shell import Result, Shell, cluster, db, web

SLOW: dict[str, Any] = {"boot_time": "40s"}


def declare(shell: Shell, **rollout: Any) -> None:
    """Write old.yml, where `web` has image a1, and new.yml, where it has a2. Machines take 40s to boot."""
    health = {"tcp": 80, "interval": "5s", "grace": "60s"}
    shell.write(cluster(provider=SLOW, web=web(health=health, rollout=rollout)), file="old.yml")
    shell.write(cluster(provider=SLOW, web=web(image="a2", health=health, rollout=rollout)), file="new.yml")


def rehearsed(shell: Shell, *arguments: str) -> Any:
    """Return the one cluster's document of the rehearsal of old.yml becoming new.yml."""
    (document,) = shell.infra("simulate", "new.yml", "--from-file", "old.yml", "--json", *arguments).json["clusters"]
    return document


def kinds(document: Any) -> list[str]:
    return [event["event"] for event in document["events"]]


def test_a_change_from_one_file_to_another_is_rehearsed_without_any_cloud(shell: Shell) -> None:
    declare(shell)
    before = shell.tree()
    result = shell.infra("simulate", "new.yml", "--from-file", "old.yml")
    assert result.code == 0, result
    assert "Rehearsal of cluster shop (new.yml), beginning with all as old.yml declares, seed 0" in result.out
    assert "machines boot in about 40s" in result.out
    assert "created    web-3: to replace web-0 (image a1 → a2)" in result.out
    assert "lowest ready 3 (floor 3), most machines 4 (size 3, surge 1)" in result.out
    assert result.out.endswith("shop: converged after 2m1s\n")
    assert shell.tree() == before
    assert not shell.database.exists()


def test_the_same_seed_prints_the_same_to_the_byte(shell: Shell) -> None:
    spread = {"boot_time": {"min": "10s", "max": "60s"}}
    shell.write(cluster(provider=spread, web=web(5), db=db()))
    arguments = ("simulate", "--from", "nothing", "--full", "--fault", "never-boot=50%@web")
    first, again, other = (shell.infra(*arguments, "--seed", seed).out for seed in ("3", "3", "4"))
    assert first == again
    assert first.partition("\n")[2] != other.partition("\n")[2]


def test_what_is_current_in_reality_is_current_in_the_rehearsal(converged: Shell) -> None:
    result = converged.infra("simulate")
    assert result.code == 0, result
    assert "beginning with what is there now" in result.out
    assert "  nothing happens\n" in result.out
    assert result.out.endswith("shop: converged after 0s\n")


def test_a_rehearsal_on_what_is_there_changes_nothing(converged: Shell) -> None:
    converged.write(cluster(web=web(5, image="a2"), db=db(image="a2")))
    machines, before = converged.machines(), converged.tree()
    result = converged.infra("simulate")
    assert result.code == 0, result
    assert "image a1 → a2" in result.out
    assert converged.machines() == machines
    assert converged.tree() == before


def test_a_sick_machine_that_is_there_is_sick_in_the_rehearsal(converged: Shell) -> None:
    (sick,) = (machine for machine in converged.machines() if machine.name == "web-1")
    with converged.cloud() as cloud:
        cloud.set_sick(sick.id, sick=True)
    out = converged.infra("simulate").out
    assert "to replace web-1 (connection refused (simulated))" in out
    assert "shop: converged" in out


def test_a_sick_image_is_rolled_back_to_what_really_was_the_last_good_version(converged: Shell) -> None:
    new = web(image="a2", rollout={"on_failure": "rollback"})
    converged.write(cluster(web={**new, "health": {**new["health"], "grace": "5s"}}, db=db()))
    result = converged.infra("simulate", "--fault", "sick-image@a2")
    assert result.code == 1
    assert "rollback     1 new machine failed" in result.out
    assert "Group web: rolled back after" in result.out
    assert "lowest ready 3 (floor 3)" in result.out
    assert "shop: rolled back after" in result.out


def test_a_sick_image_stops_a_rollout_that_may_not_go_back(shell: Shell) -> None:
    declare(shell)
    document = rehearsed(shell, "--fault", "sick-image@a2")
    summary = document["summary"]
    assert (summary["end"], summary["converged"]) == ("failed", False)
    assert summary["groups"]["web"]["phase"] == "stopped"
    assert "1 new machine failed" in summary["groups"]["web"]["reason"]
    assert kinds(document)[-2:] == ["unhealthy", "stopped"]


def test_a_fault_strikes_when_it_is_said_to_and_the_damage_is_counted(shell: Shell) -> None:
    declare(shell)
    document = rehearsed(shell, "--fault", "kill=2@web+10s")
    struck = [event for event in document["events"] if event["event"] in ("fault", "dead")]
    assert [(event["at"], event["event"]) for event in struck] == [(10.0, "fault"), (10.0, "dead"), (10.0, "dead")]
    web_summary = document["summary"]["groups"]["web"]
    assert (web_summary["phase"], web_summary["floor"], web_summary["lowest_ready"]) == ("converged", 3, 1)


def test_where_all_is_as_declared_only_faults_happen(shell: Shell) -> None:
    declare(shell)
    result = shell.infra("simulate", "old.yml", "--from", "converged", "--fault", "sicken@web+1h")
    assert result.code == 0, result
    assert "beginning with all as declared" in result.out
    lines = [line.split() for line in result.out.splitlines() if " web  " in line]
    assert lines[0][:3] == ["+1h", "web", "fault"]
    assert lines[1][2] == "unhealthy"


def test_steps_and_bakes_are_told(shell: Shell) -> None:
    declare(shell, steps=[1], bake="10m")
    result = shell.infra("simulate", "new.yml", "--from-file", "old.yml")
    assert result.code == 0, result
    assert "step       1 of 2: up to 1 of 3 new" in result.out
    assert "baking     1 of 3 bake for 10m" in result.out


def test_health_commands_and_drains_reach_nobody(shell: Shell) -> None:
    witness = shell.work / "witness"
    health = {"command": ["touch", str(witness)], "interval": "1s"}
    flavor = {"kind": "vanilla", "drain": {"port": 9}}
    shell.write(cluster(web=web(health=health, flavor=flavor)), file="old.yml")
    shell.write(cluster(web=web(image="a2", health=health, flavor=flavor)), file="new.yml")
    document = rehearsed(shell)
    assert document["summary"]["converged"]
    assert kinds(document).count("draining") == 3
    assert "retry" not in kinds(document)
    assert not witness.exists()


def test_machines_of_another_provider_are_rehearsed_on_without_it(shell: Shell) -> None:
    spec = cluster(web=web(machine={"vcpus": 2, "memory": "1GiB"}))
    spec["providers"] = {"sim": {"plugin": "libvirt", "uri": "qemu+ssh://nowhere.invalid/system"}}
    shell.write(spec)
    result = shell.infra("simulate", "--from", "nothing", "--boot-time", "25s")
    assert result.code == 0, result
    assert "sim (libvirt): machines boot in about 25s" in result.out
    assert result.out.endswith("shop: converged after 25s\n")


def test_json_has_events_samples_and_a_summary(shell: Shell) -> None:
    declare(shell)
    document = rehearsed(shell)
    assert (document["cluster"], document["from"], document["seed"]) == ("shop", "old.yml", 0)
    assert document["assumptions"]["sim"]["boot_seconds"] == 40.0
    assert kinds(document)[:2] == ["creating", "created"]
    first, *_, last = document["samples"]
    numbers = {"ready_old": 3, "ready_new": 0, "starting": 0, "unhealthy": 0, "leaving": 0}
    assert first == {"at": 0.0, "group": "web", **numbers}
    assert last == {"at": document["summary"]["seconds"], "group": "web", **numbers, "ready_old": 0, "ready_new": 3}
    assert document["summary"]["groups"]["web"]["most_machines"] == 4


def test_only_the_named_groups_are_rehearsed(shell: Shell) -> None:
    shell.write(cluster(web=web(), db=db()))
    (document,) = shell.infra("simulate", "--from", "nothing", "--json", "-g", "db").json["clusters"]
    assert set(document["summary"]["groups"]) == {"db"}


@pytest.mark.long
def test_a_long_course_is_cut_short_unless_all_of_it_is_asked_for(shell: Shell) -> None:
    shell.write(cluster(provider=SLOW, web=web(20)), file="old.yml")
    shell.write(cluster(provider=SLOW, web=web(20, image="a2")), file="new.yml")
    short, full = (
        shell.infra("simulate", "new.yml", "--from-file", "old.yml", *more).out for more in ((), ("--full",))
    )
    assert "17 destroyed" in short or "created, 1" in short
    assert len(short.splitlines()) < 40
    assert full.count("  destroyed ") == 20
    assert len(full.splitlines()) > 60


def test_what_does_not_end_in_time_ends_with_the_time(shell: Shell) -> None:
    declare(shell)
    result = shell.infra(
        "simulate", "new.yml", "--from-file", "old.yml", "--timeout", "1m", "--fault", "kill@web+50s"
    )
    assert result.code == 1
    assert "shop: timed out after 1m" in result.out


def test_pictures_are_well_formed_and_say_in_words_what_they_show(shell: Shell) -> None:
    declare(shell, on_failure="rollback")
    fault = ("--fault", "sick-image@a2")
    shell.infra("simulate", "new.yml", "--from-file", "old.yml", "--svg", "a.svg", "--html", "a.html", *fault)
    svg = ElementTree.fromstring((shell.work / "a.svg").read_text())
    space = {"svg": "http://www.w3.org/2000/svg"}
    described = svg.findtext("svg:desc", namespaces=space)
    assert described is not None
    assert "Group web: rolled back, lowest ready 3 (floor 3)" in described
    assert "rollback" in {element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")}
    page = (shell.work / "a.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "<td>rollback</td>" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_the_faults_there_are_are_listed(shell: Shell) -> None:
    result = shell.infra("simulate", "--fault", "help")
    assert result.code == 0
    assert "no-capacity  " in result.out
    assert "zone TARGET" in result.out


MISTAKES = {
    "kind": (("--fault", "kil@web"), "no fault 'kil'; did you mean 'kill'?"),
    "after": (("--fault", "kill@web+3x"), "not a duration: '3x'"),
    "amount": (("--fault", "kill=lots@web"), "not an amount: 'lots'"),
    "form": (("--fault", "=3"), "write KIND[=AMOUNT][@TARGET][+AFTER]"),
    "impossible": (("--fault", "never-boot=2"), "never-boot: cannot be 2"),
    "nobody": (("--fault", "kill@wbe"), "no machine of 'wbe' that it could strike"),
    "timeout": (("--timeout", "soon"), "not a duration: 'soon'"),
    "interval": (("--interval", "0s"), "must be longer than nothing"),
    "beginnings": (("--from", "nothing"), "use one of them"),
    "beginning": (("--from", "yesterday"), "'yesterday' is not one of"),
    "group": (("-g", "wbe"), "no group 'wbe'"),
}


@pytest.mark.parametrize(("arguments", "told"), MISTAKES.values(), ids=MISTAKES.keys())
def test_wrong_usage_is_told_and_nothing_is_rehearsed(arguments: tuple[str, ...], told: str, shell: Shell) -> None:
    declare(shell)
    result: Result = shell.infra("simulate", "new.yml", "--from-file", "old.yml", *arguments)
    assert result.code == 64, result
    assert told in result.err


def test_a_beginning_that_declares_another_cluster_is_no_beginning(shell: Shell) -> None:
    declare(shell)
    shell.write(cluster("other", web=web()), file="other.yml")
    result = shell.infra("simulate", "new.yml", "--from-file", "other.yml")
    assert result.code == 64
    assert "other.yml: declares no cluster 'shop' (there is other)" in result.err


def test_a_beginning_that_does_not_come_about_is_told(shell: Shell) -> None:
    shell.write(cluster(provider={"quota": 1}, web=web()))
    result = shell.infra("simulate", "--from", "converged")
    assert result.code == 64
    assert "cannot begin with what does not converge: group web: " in result.err


def test_a_target_that_nothing_is_called_is_noted(shell: Shell) -> None:
    declare(shell)
    out = shell.infra("simulate", "new.yml", "--from-file", "old.yml", "--fault", "sick-image@a9").out
    assert "no group, zone, image or machine here is called 'a9'" in out


def test_what_cannot_be_seen_cannot_be_rehearsed(shell: Shell) -> None:
    spec = cluster(web=web(machine={"vcpus": 2}))
    spec["providers"] = {"sim": {"plugin": "libvirt", "uri": "qemu+unix:///system?socket=/nowhere"}}
    shell.write(spec)
    result = shell.infra("simulate")
    assert result.code == 1
    assert "provider sim: " in result.err
